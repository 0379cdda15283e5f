"""LPIPS v0.1 (Zhang et al. 2018, arXiv 1801.03924) with the AlexNet or the VGG16 trunk, and its masked form.

Keys are those of ``lpips`` 0.1.4, in which every head appears under two names. The trunks' weights are not ours to ship.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
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


Trunk = Literal["alex", "vgg"]
SLICES: Mapping[Trunk, tuple[tuple[Layer, ...], ...]] = {"alex": ALEX, "vgg": _vgg()}


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


class Heads(nn.Module):
    """The five heads of ``trunk`` as their own file holds them."""

    def __init__(self, trunk: Trunk = "vgg") -> None:
        super().__init__()
        for index, layers in enumerate(SLICES[trunk]):
            self.add_module(f"lin{index}", _Head(layers[-1][2]))


class _Trunk(nn.Module):
    """The convolutions of an ImageNet classifier under torchvision's names; its dense layers are no part of LPIPS."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk: Trunk = trunk
        self.features = nn.Module()
        for place, inputs, outputs, kernel, stride, padding in itertools.chain.from_iterable(SLICES[trunk]):
            self.features.add_module(str(place), nn.Conv2d(inputs, outputs, kernel, stride, padding))


class VGG16Trunk(_Trunk):
    """VGG16's convolutions."""

    def __init__(self) -> None:
        super().__init__("vgg")


class AlexNetTrunk(_Trunk):
    """AlexNet's convolutions."""

    def __init__(self) -> None:
        super().__init__("alex")


class LPIPS(nn.Module):
    """Perceptual distance of ``a`` and ``b`` (B,3,H,W) in [-1,1] -> (B,); ``trunk`` is "alex" or "vgg".

    ``levels`` gives the five terms (B,5); with ``mask`` (B or 1,1,H,W) in [0,1], averaged down to each level's size, only
    what lies under it counts (the mean is still over the whole frame).
    """

    def __init__(self, trunk: Trunk = "vgg") -> None:
        super().__init__()
        slices = SLICES[trunk]
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

    @classmethod
    def of_parts(cls, trunk: VGG16Trunk | AlexNetTrunk, heads: Heads) -> LPIPS:
        """The whole of a trunk and its heads, which are published apart. Raises RuntimeError when they do not fit."""
        convolutions, linear = trunk.features.state_dict(), heads.state_dict()
        with torch.device("meta"):
            made = cls(trunk.trunk)
        made.scaling_layer = _Scaling()
        state = dict(made.scaling_layer.state_dict(prefix="scaling_layer."))
        for index, layers in enumerate(SLICES[trunk.trunk]):
            for place in (layer[0] for layer in layers):
                for part in ("weight", "bias"):
                    state[f"net.slice{index + 1}.{place}.{part}"] = convolutions[f"{place}.{part}"]
            weight = linear[f"lin{index}.model.1.weight"]
            state |= {f"lin{index}.model.1.weight": weight, f"lins.{index}.model.1.weight": weight}
        made.load_state_dict(state, strict=True, assign=True)
        return made.eval().requires_grad_(False)

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
