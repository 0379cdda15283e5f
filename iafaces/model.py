"""Our own component auto-encoder: content that never sees the components, and four embeddings that draw them.

After IA-FaceS (Huang, Tu, Xu, arXiv 2203.13097). Three things keep the parts apart by construction: the content encoder
reads a picture whose component boxes are filled in from around; a component is read as its difference from that filling; and
every way from an embedding to the picture goes through a soft mask of its own box.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iafaces.regions import BOXES, COMPONENTS, crop, place, soft_masks, surroundings
from stylegan2.layers import BiasLeakyReLU, EqualConv2d, EqualLinear
from workbench.errors import BadImage

KINDS = ("eye", "eye", "nose", "mouth")


@dataclass(frozen=True, eq=False)
class Code:
    """A face in parts: ``content`` (B,C,h,w) and ``nodes`` (B,4,D), one embedding per component."""

    content: Tensor
    nodes: Tensor


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    """Convolution of the same size, bias and leaky ReLU."""
    return nn.Sequential(EqualConv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False), BiasLeakyReLU(outputs))


class Residual(nn.Module):
    """Two convolutions added to their input, divided by sqrt(2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = conv(channels, channels), conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.second(self.first(x))) / math.sqrt(2)


class Reader(nn.Module):
    """One kind of component: crop (B,3,side,side) -> embedding (B,dim) of root mean square ``gain``."""

    def __init__(self, side: int, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(12, widths[0])]
        for a, b in itertools.pairwise(widths):
            layers += [nn.AvgPool2d(2), conv(a, b), conv(b, b)]
        self.trunk = nn.Sequential(*layers)
        last = side >> len(widths)
        self.head = EqualLinear(widths[-1] * last * last, dim)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, part: Tensor) -> Tensor:
        raw = self.head(self.trunk(F.pixel_unshuffle(part, 2)).flatten(1))
        return self.gain * raw * torch.rsqrt(raw.square().mean(1, keepdim=True) + 1e-6)


class ComponentEncoder(nn.Module):
    """Image (B,3,size,size) in [-1, 1] -> Code. Both eyes share one reader; the right one is read mirrored.

    widths: channels at 1/2, 1/4, ... of ``size``; the last is the content's side. ``content``: its channels; the first of them
    are the covered picture at half ``size``, folded, the others are learned. ``crop``: side of the component crops. ``margin``:
    how far a crop reaches beyond its box, ``feather``: width of the masks' edges, fractions of the image. Raises BadImage for
    a picture of another size.
    """

    def __init__(
        self,
        size: int,
        *,
        widths: Sequence[int] = (32, 64, 128),
        content: int = 96,
        dim: int = 256,
        crop: int = 32,
        readers: Sequence[int] = (32, 64, 128),
        margin: float = 0.02,
        feather: float = 0.03,
    ) -> None:
        super().__init__()
        self.size, self.crop, self.feather = size, crop, feather
        self.boxes = tuple((a - margin, b - margin, c + margin, d + margin) for a, b, c, d in BOXES)
        layers: list[nn.Module] = [conv(4 * 4, widths[0]), Residual(widths[0])]
        for a, b in itertools.pairwise(widths):
            layers += [nn.AvgPool2d(2), conv(a, b), Residual(b)]
        self.trunk = nn.Sequential(*layers)
        self.block = size // 2 // (size >> len(widths))
        self.head = EqualConv2d(widths[-1], content - 3 * self.block**2, 1)
        self.readers = nn.ModuleDict({kind: Reader(crop, readers, dim) for kind in dict.fromkeys(KINDS)})

    def parts(self, image: Tensor, masks: Tensor, filling: Tensor) -> list[Tensor]:
        """Four crops (B,3,crop,crop) of what the components add to their surroundings; the right eye mirrored."""
        # A crop shows its own component only: what it saw of a neighbour would travel with it.
        difference = image - filling
        size = (self.crop, self.crop)
        cut = [crop(difference * mask, box, size) for mask, box in zip(masks, self.boxes, strict=True)]
        cut[1] = cut[1].flip(3)
        return cut

    def prepared(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The masks (4,H,W) and the filling (B,3,H,W) of ``image``."""
        if image.ndim != 4 or image.shape[2:] != (self.size, self.size):
            raise BadImage(
                f"This network reads aligned faces of {self.size} x {self.size} pixels, not {tuple(image.shape)}; resize them first."
            )
        masks = soft_masks(self.size, self.feather, self.feather / 2).to(image)
        return masks, surroundings(image, masks)

    def nodes(self, image: Tensor) -> Tensor:
        """The embeddings (B,4,D) alone."""
        masks, filling = self.prepared(image)
        return self.read(self.parts(image, masks, filling))

    def read(self, parts: Sequence[Tensor]) -> Tensor:
        """Embeddings (B,4,D) of four crops."""
        count = len(parts[0])
        eyes = self.readers["eye"](torch.cat([parts[0], parts[1]]))
        rows = [eyes[:count], eyes[count:], self.readers["nose"](parts[2]), self.readers["mouth"](parts[3])]
        return torch.stack(rows, 1)

    def forward(self, image: Tensor) -> Code:
        masks, filling = self.prepared(image)
        cover = masks.sum(0, keepdim=True).expand(len(image), -1, -1, -1)
        seen = torch.cat([torch.lerp(image, filling, cover), cover], 1)
        copied = F.pixel_unshuffle(F.avg_pool2d(seen[:, :3], 2), self.block)
        content = torch.cat([copied, self.head(self.trunk(F.pixel_unshuffle(seen, 2)))], 1)
        return Code(content, self.read(self.parts(image, masks, filling)))


class Gate(nn.Module):
    """Residual component adaptive modulation: x (1 + sum of mask_i h_i(node_i)); h begins at zero.

    The masks are a partition of unity, so overlapping components share a place and nothing is gated outside them.
    """

    def __init__(self, dim: int, channels: int) -> None:
        super().__init__()
        heads = {kind: EqualLinear(dim, channels) for kind in dict.fromkeys(KINDS)}
        for head in heads.values():
            nn.init.zeros_(head.weight)
        self.heads = nn.ModuleDict(heads)

    def forward(self, x: Tensor, nodes: Tensor, masks: Tensor) -> Tensor:
        values = torch.stack([self.heads[kind](nodes[:, i]) for i, kind in enumerate(KINDS)], 1)
        gates = torch.einsum("bic,ihw->bchw", values, masks)
        return torch.addcmul(x, x, gates)


class Seed(nn.Module):
    """The layout of one kind of component: embedding (B,dim) -> features (B,channels,8,8), to be placed in its box."""

    def __init__(self, dim: int, hidden: int, channels: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.start = EqualLinear(dim, hidden * 16, activate=True)
        self.grow = conv(hidden, channels)
        self.end = EqualConv2d(channels, channels, 3, padding=1)

    def forward(self, node: Tensor) -> Tensor:
        x = self.start(node).reshape(-1, self.hidden, 4, 4)
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return self.end(self.grow(x))


class Level(nn.Module):
    """Doubles the size: convolution, bilinear growth, gated residual block, gated picture."""

    def __init__(self, inputs: int, outputs: int, dim: int) -> None:
        super().__init__()
        self.change = conv(inputs, outputs)
        self.gates = nn.ModuleList(Gate(dim, outputs) for _ in range(3))
        self.first, self.second = conv(outputs, outputs), conv(outputs, outputs)
        self.picture = EqualConv2d(outputs, 3, 1)
        nn.init.zeros_(self.picture.weight)

    def grow(self, x: Tensor) -> Tensor:
        """(B,inputs,h,w) -> (B,outputs,2h,2w)."""
        return F.interpolate(self.change(x), scale_factor=2, mode="bilinear", align_corners=False)

    def forward(self, x: Tensor, nodes: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.first(self.gates[0](x, nodes, masks))
        x = (x + self.second(self.gates[1](inner, nodes, masks))) / math.sqrt(2)
        return x, self.picture(self.gates[2](x, nodes, masks))


class ComponentDecoder(nn.Module):
    """Code -> image (B,3,size,size), about [-1, 1].

    widths: channels at the content's side and at every doubling of it up to ``size``. Components enter at the first doubling
    as placed layouts, and from there on as gates, ToRGB included.
    """

    def __init__(
        self,
        size: int,
        *,
        content: int = 96,
        dim: int = 256,
        widths: Sequence[int] = (128, 96, 48, 24),
        seed: int = 96,
        feather: float = 0.03,
    ) -> None:
        super().__init__()
        self.size, self.feather = size, feather
        self.copied = 3 * (2 ** (len(widths) - 2)) ** 2
        self.start = nn.Sequential(conv(content, widths[0]), Residual(widths[0]))
        self.levels = nn.ModuleList(Level(a, b, dim) for a, b in itertools.pairwise(widths))
        self.seeds = nn.ModuleDict({kind: Seed(dim, seed, widths[1]) for kind in dict.fromkeys(KINDS)})

    def layout(self, nodes: Tensor, masks: Tensor) -> Tensor:
        """(B,C,s,s): each component's features in its box."""
        side = masks.shape[1]
        total = None
        for i, kind in enumerate(KINDS):
            patch = self.seeds[kind](nodes[:, i])
            # The right eye is drawn as a left one and mirrored, as it was read.
            patch = patch.flip(3) if COMPONENTS[i] == "r_eye" else patch
            drawn = place(patch, BOXES[i], side) * masks[i]
            total = drawn if total is None else total + drawn
        assert total is not None
        return total

    def forward(self, code: Code, *, until: int | None = None) -> Tensor:
        """The picture, or with ``until`` the one of the level with that side."""
        x, nodes = self.start(code.content), code.nodes
        picture: Tensor | None = None
        for level in self.levels:
            assert isinstance(level, Level)
            x = level.grow(x)
            masks = soft_masks(x.shape[2], self.feather, self.feather / 2).to(x)
            if picture is None:
                x = x + self.layout(nodes, masks)
            x, drawn = level(x, nodes, masks)
            if picture is not None:
                drawn = drawn + F.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
            if drawn.shape[2] == self.size // 2:
                folded = code.content[:, : self.copied]
                drawn = drawn + F.pixel_shuffle(folded, drawn.shape[2] // folded.shape[2])
            picture = drawn
            if drawn.shape[2] == until:
                break
        assert picture is not None
        return picture


class ComponentAutoencoder(nn.Module):
    """Encoder and decoder of one training: image (B,3,size,size) -> image. ``encoder``, ``decoder``: their arguments."""

    def __init__(self, size: int, *, encoder: Mapping[str, Any], decoder: Mapping[str, Any]) -> None:
        super().__init__()
        self.size = size
        self.encoder, self.decoder = ComponentEncoder(size, **encoder), ComponentDecoder(size, **decoder)

    def encode(self, image: Tensor) -> Code:
        """The parts of ``image`` (B,3,size,size)."""
        return self.encoder(image)

    def nodes(self, image: Tensor) -> Tensor:
        """The embeddings (B,4,D) of ``image`` alone."""
        return self.encoder.nodes(image)

    def decode(self, code: Code) -> Tensor:
        """The picture (B,3,size,size) of ``code``."""
        return self.decoder(code)

    def forward(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))
