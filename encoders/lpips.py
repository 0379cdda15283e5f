"""LPIPS v0.1 (Zhang et al. 2018, arXiv 1801.03924) with the AlexNet or the VGG16 trunk, and its masked form.

Keys are those of ``lpips`` 0.1.4, in which every head appears under two names. The trunks' weights are not ours to ship.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.inputs import check_images

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPSILON = 1e-10

# Per slice its layers, named by their place in torchvision's ``features``: (name, kind, inputs, outputs, kernel, stride, padding).
Layer = tuple[int, int, int, int, int, int]
ALEX: tuple[tuple[Layer, ...], ...] = (
    ((0, 3, 64, 11, 4, 2),), ((3, 64, 192, 5, 1, 2),), ((6, 192, 384, 3, 1, 1),), ((8, 384, 256, 3, 1, 1),),
    ((10, 256, 256, 3, 1, 1),),
)  # fmt: skip
ALEX_POOLS = (False, True, True, False, False)
VGG_WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _vgg() -> tuple[tuple[Layer, ...], ...]:
    slices, place, inputs = [], 0, 3
    for index, widths in enumerate(VGG_WIDTHS):
        place += index > 0
        layers: list[Layer] = []
        for width in widths:
            layers.append((place, inputs, width, 3, 1, 1))
            place, inputs = place + 2, width
        slices.append(tuple(layers))
    return tuple(slices)


class _Slice(nn.Module):
    def __init__(self, layers: Sequence[Layer], pool: nn.Module | None) -> None:
        super().__init__()
        self.pool = pool
        for place, inputs, outputs, kernel, stride, padding in layers:
            self.add_module(str(place), nn.Conv2d(inputs, outputs, kernel, stride, padding))

    def forward(self, x: Tensor) -> Tensor:
        for name, layer in self.named_children():
            x = layer(x) if name == "pool" else F.relu(layer(x))
        return x


class _Scaling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        return (image - self.get_buffer("shift")) / self.get_buffer("scale")


class _Head(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class LPIPS(nn.Module):
    """Perceptual distance of ``a`` and ``b`` (B,3,H,W) in [-1,1] -> (B,); ``trunk`` is "alex" or "vgg".

    ``levels`` gives the five terms (B,5); with ``mask`` (B or 1,1,H,W) in [0,1], averaged down to each level's size, only
    what lies under it counts (the mean is still over the whole frame).
    """

    def __init__(self, trunk: Literal["alex", "vgg"] = "vgg") -> None:
        super().__init__()
        slices = ALEX if trunk == "alex" else _vgg()
        self.scaling_layer = _Scaling()
        self.net = nn.Module()
        for index, layers in enumerate(slices):
            pooled = ALEX_POOLS[index] if trunk == "alex" else index > 0
            pool = (nn.MaxPool2d(3, 2) if trunk == "alex" else nn.MaxPool2d(2)) if pooled else None
            self.net.add_module(f"slice{index + 1}", _Slice(layers, pool))
        heads = [_Head(layers[-1][2]) for layers in slices]
        for index, head in enumerate(heads):
            self.add_module(f"lin{index}", head)
        self.lins = nn.ModuleList(heads)

    def features(self, image: Tensor) -> list[Tensor]:
        """The five levels' maps of ``image`` (B,3,H,W), each with unit length along its channels."""
        check_images(image)
        x, found = self.scaling_layer(image), []
        for part in self.net.children():
            x = part(x)
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON))
        return found

    def distances(self, a: Sequence[Tensor], b: Sequence[Tensor], mask: Tensor | None = None) -> Tensor:
        """The five terms (B,5) from two pictures' ``features``, so that those of a fixed target can be kept."""
        terms = []
        for head, one, other in zip(self.lins, a, b, strict=True):
            apart = (one - other).square()
            if mask is not None:
                apart = apart * F.interpolate(mask, apart.shape[2:], mode="area")
            terms.append(head(apart).mean((1, 2, 3)))
        return torch.stack(terms, 1)

    def levels(self, a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
        """The five terms (B,5)."""
        return self.distances(self.features(a), self.features(b), mask)

    def forward(self, a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.levels(a, b, mask).sum(1)
