"""The starter family's small convolutional networks: projector, attribute classifier, identity embedding.

They follow the roles of e4e (arXiv 2102.02766), the 40-attribute classifier and ArcFace (arXiv 1801.07698) at sizes a
CPU can train and run. Every network resizes its input itself, so callers pass images of any size.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def resized(image: Tensor, size: int) -> Tensor:
    """``image`` (B,3,H,W) at ``size`` px: area average when shrinking, bilinear when growing."""
    if image.shape[2] == size and image.shape[3] == size:
        return image
    if image.shape[2] % size == 0 and image.shape[3] % size == 0:
        return F.avg_pool2d(image, (image.shape[2] // size, image.shape[3] // size))
    return F.interpolate(image, (size, size), mode="bilinear", antialias=image.shape[2] > size, align_corners=False)


class Unit(nn.Module):
    """Two 3x3 convolutions with batch norm; the first may halve the size. ``residual`` adds a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, residual: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module | None = None
        self.residual = residual
        if residual and (stride != 1 or inputs != outputs):
            pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
            self.shortcut = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.residual:
            out = out + (x if self.shortcut is None else self.shortcut(x))
        return F.relu(out)


class Trunk(nn.Module):
    """Stem of stride 2 and one Unit of stride 2 per entry of ``widths`` after the first; returns every level's features."""

    def __init__(self, widths: Sequence[int], *, residual: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        pairs = itertools.pairwise(widths)
        self.units = nn.ModuleList(Unit(a, b, 2, residual=residual) for a, b in pairs)

    def forward(self, image: Tensor) -> list[Tensor]:
        levels = [self.stem(image)]
        for unit in self.units:
            levels.append(unit(levels[-1]))
        return levels


class AttributeNet(nn.Module):
    """CelebA's 40 attributes: image (B,3,H,W) in [-1, 1] -> logits (B,40).

    widths: channels at 1/2, 1/4, ... of ``input_size``. ``residual`` off gives the plain form of the judge.
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 48, 96, 192),
        *,
        input_size: int = 64,
        outputs: int = 40,
        residual: bool = True,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.trunk = Trunk(widths, residual=residual)
        self.head = nn.Sequential(
            nn.Linear(2 * widths[-1], 256), nn.ReLU(inplace=True), nn.Dropout(0.2), nn.Linear(256, outputs)
        )

    def features(self, image: Tensor) -> list[Tensor]:
        """Feature maps of every level, at 1/2, 1/4, ... of ``input_size``."""
        return self.trunk(resized(image, self.input_size))

    def classify(self, last: Tensor) -> Tensor:
        """Logits (B,40) from the last feature map."""
        return self.head(torch.cat([last.mean([2, 3]), last.amax([2, 3])], 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.classify(self.features(image)[-1])


class IdentityNet(nn.Module):
    """Identity embedding of an FFHQ-style crop: image (B,3,H,W) in [-1, 1] -> unit rows (B,dim).

    The middle ``crop`` of the picture (left, top, right, bottom as fractions) is what is looked at.
    """

    def __init__(
        self,
        widths: Sequence[int] = (24, 48, 96, 192),
        *,
        input_size: int = 64,
        dim: int = 128,
        crop: Sequence[float] = (0.1875, 0.21875, 0.8125, 0.84375),
    ) -> None:
        super().__init__()
        self.input_size, self.crop = input_size, tuple(crop)
        self.trunk = Trunk(widths)
        side = input_size >> len(widths)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * side * side, dim))

    def cropped(self, image: Tensor) -> Tensor:
        """The part of the picture that is looked at, (B,3,input_size,input_size)."""
        height, width = image.shape[2:]
        left, top, right, bottom = self.crop
        part = image[:, :, round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
        return resized(part, self.input_size)

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(self.head(self.trunk(self.cropped(image))[-1]), dim=1)


class CompactE4E(nn.Module):
    """Projector into W+: image (B,3,H,W) in [-1, 1] -> codes (B,n_latent,style_dim), the mean latent included.

    As in e4e one base code serves all rows and each row adds its own delta. The base code has a linear part read from a
    small thumbnail, which training starts from principal components, and a convolutional part. ``size`` is the generator's
    (it fixes the number of rows); ``input_size`` is what the convolutions see, ``size`` unless given.
    """

    def __init__(
        self,
        size: int,
        *,
        input_size: int | None = None,
        style_dim: int = 512,
        widths: Sequence[int] = (48, 96, 192, 256),
        thumbnail: int = 32,
        bottleneck: int = 512,
    ) -> None:
        super().__init__()
        self.input_size, self.thumbnail = input_size or size, thumbnail
        self.n_latent = 2 * (size.bit_length() - 1) - 2
        self.style_dim = style_dim
        self.linear = nn.Linear(3 * thumbnail * thumbnail, style_dim)
        self.trunk = Trunk(widths)
        side = self.input_size >> len(widths)
        self.squeeze = nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * side * side, bottleneck), nn.LeakyReLU(0.2))
        self.base = nn.Linear(bottleneck, style_dim)
        self.deltas = nn.Linear(bottleneck, (self.n_latent - 1) * style_dim)
        for layer in (self.base, self.deltas):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, image: Tensor) -> Tensor:
        linear = self.linear(resized(image, self.thumbnail).flatten(1))
        hidden = self.squeeze(self.trunk(resized(image, self.input_size))[-1])
        base = linear + self.base(hidden)
        deltas = self.deltas(hidden).reshape(-1, self.n_latent - 1, self.style_dim)
        return torch.cat([base[:, None], base[:, None] + deltas], 1)
