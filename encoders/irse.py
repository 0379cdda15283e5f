"""IR and IR-SE networks of ArcFace (Deng et al. 2019, arXiv 1801.07698) with the keys of the published files.

``stem`` and ``body`` are shared by the identity network (``Backbone``) and the e4e encoder. Squeeze-and-excitation
is Hu et al. 2018, arXiv 1709.01507.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from encoders.inputs import check_images

UNITS: dict[int, tuple[int, int, int, int]] = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)


class SqueezeExcitation(nn.Module):
    """Rescale each channel of (B,C,H,W) by a gate in (0,1) read off the pooled map; ``reduction`` is the squeeze."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.adaptive_avg_pool2d(x, 1)
        return x * self.fc2(F.relu(self.fc1(pooled))).sigmoid()


class Unit(nn.Module):
    """Improved residual unit (B,inputs,H,W) -> (B,outputs,H/stride,W/stride), squeeze-and-excitation when ``se``."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, se: bool) -> None:
        super().__init__()
        if inputs == outputs:
            self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        else:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        layers: list[nn.Module] = [
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        if se:
            layers.append(SqueezeExcitation(outputs))
        self.res_layer = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


def stem() -> nn.Sequential:
    """The input layer: (B,3,H,W) -> (B,64,H,W)."""
    return nn.Sequential(nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64))


def body(num_layers: int = 50, mode: str = "ir_se") -> nn.Sequential:
    """The units after the stem: (B,64,H,W) -> (B,512,H/16,W/16); ``mode`` "ir" or "ir_se". Raises ValueError."""
    if num_layers not in UNITS:
        raise ValueError(f"number of layers must be one of {sorted(UNITS)}, not {num_layers}")
    if mode not in ("ir", "ir_se"):
        raise ValueError(f"mode must be 'ir' or 'ir_se', not {mode!r}")
    units: list[nn.Module] = []
    channels = 64
    for width, count in zip(WIDTHS, UNITS[num_layers], strict=True):
        for index in range(count):
            units.append(Unit(channels, width, 2 if index == 0 else 1, se=mode == "ir_se"))
            channels = width
    return nn.Sequential(*units)


class Backbone(nn.Module):
    """ArcFace embedding of aligned faces: forward ``face`` (B,3,S,S) RGB in [-1,1] -> (B,512) rows of unit length.

    ``input_size`` S is 112 or 224. Raises ValueError for other sizes, layers or modes, and for images of another size.
    """

    def __init__(
        self,
        input_size: int = 112,
        num_layers: int = 50,
        mode: str = "ir_se",
        drop_ratio: float = 0.4,
        affine: bool = True,
    ) -> None:
        super().__init__()
        if input_size not in (112, 224):
            raise ValueError(f"input size must be 112 or 224, not {input_size}")
        self.input_size = input_size
        self.input_layer = stem()
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Dropout(drop_ratio),
            nn.Flatten(),
            nn.Linear(512 * (input_size // 16) ** 2, 512),
            nn.BatchNorm1d(512, affine=affine),
        )
        self.body = body(num_layers, mode)

    def embed(self, face: Tensor) -> Tensor:
        """Unit-length embedding (B,512) of ``face`` (B,3,input_size,input_size) RGB in [-1,1]."""
        check_images(face, self.input_size)
        return F.normalize(self.output_layer(self.body(self.input_layer(face))), dim=1)

    def forward(self, face: Tensor) -> Tensor:
        return self.embed(face)
