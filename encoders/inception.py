"""InceptionV3 (arXiv 1512.00567) without its classifier, as the two published attribute encoders use it.

The two differ in three things, which ``convention`` chooses: ``torch`` takes pictures in [0,255], counts the zero padding in
the average pools and has a gain in its batch norms; ``keras`` takes [-1,1], does not count it and has none.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.inputs import check_images

CONVENTIONS = ("torch", "keras")


class CentredNorm(nn.Module):
    """Batch norm with a bias and without a gain, the form of Keras' applications; ``momentum`` as in nn.BatchNorm2d."""

    def __init__(self, channels: int, eps: float = 1e-3, momentum: float = 0.01) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.eps, self.momentum = eps, momentum

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, None, self.bias, self.training, self.momentum, self.eps
        )


class Unit(nn.Module):
    """Convolution without bias, norm, ReLU."""

    def __init__(self, keras: bool, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, 0, bias=False)
        self.bn = CentredNorm(outputs) if keras else nn.BatchNorm2d(outputs, eps=1e-3)

    def same(self) -> Unit:
        """Pad so that the size stays."""
        height, width = self.conv.kernel_size
        self.conv.padding = (height // 2, width // 2)
        return self

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class Mixed(nn.Module):
    """Parallel branches, concatenated. ``branches`` are chains of names of units; a fork is a tuple of two names at the end.

    ``pool`` is what the last branch does first: "average" or "peak" (a maximum; both of stride 1, then the unit
    ``branch_pool``), or "max" (stride 2, alone). ``counted``: an average counts the zero padding; else as the convention has it.
    """

    def __init__(
        self,
        keras: bool,
        inputs: int,
        units: Mapping[str, tuple[int | None, int, int | tuple[int, int], int]],
        branches: tuple[tuple[str | tuple[str, str], ...], ...],
        pool: str,
        counted: bool | None = None,
    ) -> None:
        super().__init__()
        self.branches, self.pool, self.counted = branches, pool, not keras if counted is None else counted
        for name, (width, outputs, kernel, stride) in units.items():
            unit = Unit(keras, inputs if width is None else width, outputs, kernel, stride)
            self.add_module(name, unit if stride == 2 else unit.same())

    def forward(self, x: Tensor) -> Tensor:
        out = []
        for chain in self.branches:
            y = x
            for name in chain:
                y = self._fork(name, y) if isinstance(name, tuple) else self.get_submodule(name)(y)
            out.append(y)
        if self.pool == "max":
            out.append(F.max_pool2d(x, 3, 2))
        else:
            peak = self.pool == "peak"
            pooled = F.max_pool2d(x, 3, 1, 1) if peak else F.avg_pool2d(x, 3, 1, 1, count_include_pad=self.counted)
            out.append(self.get_submodule("branch_pool")(pooled))
        return torch.cat(out, 1)

    def _fork(self, names: tuple[str, str], x: Tensor) -> Tensor:
        return torch.cat([self.get_submodule(name)(x) for name in names], 1)


def _a(keras: bool, inputs: int, pooled: int, counted: bool | None = None) -> Mixed:
    units = {
        "branch1x1": (None, 64, 1, 1),
        "branch5x5_1": (None, 48, 1, 1),
        "branch5x5_2": (48, 64, 5, 1),
        "branch3x3dbl_1": (None, 64, 1, 1),
        "branch3x3dbl_2": (64, 96, 3, 1),
        "branch3x3dbl_3": (96, 96, 3, 1),
        "branch_pool": (None, pooled, 1, 1),
    }
    chains = (("branch1x1",), ("branch5x5_1", "branch5x5_2"), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"))
    return Mixed(keras, inputs, units, chains, "average", counted)


def _b(keras: bool, inputs: int) -> Mixed:
    units = {
        "branch3x3": (None, 384, 3, 2),
        "branch3x3dbl_1": (None, 64, 1, 1),
        "branch3x3dbl_2": (64, 96, 3, 1),
        "branch3x3dbl_3": (96, 96, 3, 2),
    }
    chains = (("branch3x3",), ("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"))
    return Mixed(keras, inputs, units, chains, "max")


def _c(keras: bool, middle: int, counted: bool | None = None) -> Mixed:
    wide, high = (1, 7), (7, 1)
    units = {
        "branch1x1": (None, 192, 1, 1),
        "branch7x7_1": (None, middle, 1, 1),
        "branch7x7_2": (middle, middle, wide, 1),
        "branch7x7_3": (middle, 192, high, 1),
        "branch7x7dbl_1": (None, middle, 1, 1),
        "branch7x7dbl_2": (middle, middle, high, 1),
        "branch7x7dbl_3": (middle, middle, wide, 1),
        "branch7x7dbl_4": (middle, middle, high, 1),
        "branch7x7dbl_5": (middle, 192, wide, 1),
        "branch_pool": (None, 192, 1, 1),
    }
    double = tuple(f"branch7x7dbl_{i}" for i in range(1, 6))
    return Mixed(
        keras, 768, units, (("branch1x1",), ("branch7x7_1", "branch7x7_2", "branch7x7_3"), double), "average", counted
    )


def _d(keras: bool) -> Mixed:
    units = {
        "branch3x3_1": (None, 192, 1, 1),
        "branch3x3_2": (192, 320, 3, 2),
        "branch7x7x3_1": (None, 192, 1, 1),
        "branch7x7x3_2": (192, 192, (1, 7), 1),
        "branch7x7x3_3": (192, 192, (7, 1), 1),
        "branch7x7x3_4": (192, 192, 3, 2),
    }
    chains = (("branch3x3_1", "branch3x3_2"), tuple(f"branch7x7x3_{i}" for i in range(1, 5)))
    return Mixed(keras, 768, units, chains, "max")


def _e(keras: bool, inputs: int, pool: str = "average", counted: bool | None = None) -> Mixed:
    units = {
        "branch1x1": (None, 320, 1, 1),
        "branch3x3_1": (None, 384, 1, 1),
        "branch3x3_2a": (384, 384, (1, 3), 1),
        "branch3x3_2b": (384, 384, (3, 1), 1),
        "branch3x3dbl_1": (None, 448, 1, 1),
        "branch3x3dbl_2": (448, 384, 3, 1),
        "branch3x3dbl_3a": (384, 384, (1, 3), 1),
        "branch3x3dbl_3b": (384, 384, (3, 1), 1),
        "branch_pool": (None, 192, 1, 1),
    }
    chains = (
        ("branch1x1",),
        ("branch3x3_1", ("branch3x3_2a", "branch3x3_2b")),
        ("branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")),
    )
    return Mixed(keras, inputs, units, chains, pool, counted)


class InceptionEncoder(nn.Module):
    """Attribute code (B,2048), not normalised, of ``image`` (B,3,H,W) RGB in [-1,1]; the picture is brought to 299 px inside.

    ``convention`` "torch" has the keys of the published port, ``model.0`` ... ``model.17``; "keras" the same without gains.
    ``dropout`` is active in training, as in the port. Raises ValueError for another convention.
    """

    input_size = 299
    dim = 2048

    def __init__(self, convention: str = "torch", dropout: float = 0.5) -> None:
        super().__init__()
        if convention not in CONVENTIONS:
            raise ValueError(f"convention must be one of {CONVENTIONS}, not {convention!r}")
        self.convention = convention
        k = convention == "keras"
        self.model = nn.Sequential(
            Unit(k, 3, 32, 3, 2),
            Unit(k, 32, 32, 3),
            Unit(k, 32, 64, 3).same(),
            nn.MaxPool2d(3, 2),
            Unit(k, 64, 80, 1),
            Unit(k, 80, 192, 3),
            nn.MaxPool2d(3, 2),
            _a(k, 192, 32),
            _a(k, 256, 64),
            _a(k, 288, 64),
            _b(k, 288),
            _c(k, 128),
            _c(k, 160),
            _c(k, 160),
            _c(k, 192),
            _d(k),
            _e(k, 1280),
            _e(k, 2048),
            nn.AdaptiveAvgPool2d(1),
            nn.Dropout(dropout),
        )

    def resized(self, image: Tensor) -> Tensor:
        """``image`` at 299 px: bilinear, half-pixel centres, no antialiasing."""
        check_images(image)
        return F.interpolate(image, size=(self.input_size,) * 2, mode="bilinear", align_corners=False)

    def prepared(self, image: Tensor) -> Tensor:
        """What the first convolution sees of ``image`` (B,3,H,W) in [-1,1]."""
        resized = self.resized(image)
        return resized if self.convention == "keras" else (resized + 1) * 127.5

    def forward(self, image: Tensor) -> Tensor:
        return self.model(self.prepared(image)).flatten(1)
