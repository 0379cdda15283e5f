"""MobileFaceNet (arXiv 1804.07573): 128-d identity embedding of a 112 x 96 crop, a judge and a teacher, not shipped.

And ``LandmarkMobileFaceNet``, the 68-point network of the published identity-swapping code, with its keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

# (expansion, channels, repeats, stride of the first) of the bottlenecks.
SETTING = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
# Eyes, nose tip and mouth corners in a crop 96 wide and 112 high (SphereFace's template).
TEMPLATE = np.array(
    [[30.2946, 51.6963], [65.5318, 51.5014], [48.0252, 71.7366], [33.5493, 92.3655], [62.7299, 92.2041]], np.float64
)


class Block(nn.Module):
    """Convolution, batch norm and, unless ``linear``, PReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        *,
        depthwise: bool = False,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=inputs if depthwise else 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = None if linear else nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return x if self.prelu is None else self.prelu(x)


class Bottleneck(nn.Module):
    """Expand, depthwise, project; with a shortcut where sizes agree."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.connect = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            nn.Conv2d(inputs, hidden, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False),
            nn.BatchNorm2d(hidden),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.connect else self.conv(x)


class MobileFaceNet(nn.Module):
    """Crops (B,3,112,96) RGB scaled by (x - 127.5) / 128 -> embeddings (B,128), not normalised."""

    def __init__(self, grid: tuple[int, int] = (7, 6), dim: int = 128) -> None:
        super().__init__()
        self.conv1 = Block(3, 64, 3, 2, 1)
        self.dw_conv1 = Block(64, 64, 3, 1, 1, depthwise=True)
        blocks, width = [], 64
        for expansion, channels, repeats, stride in SETTING:
            for i in range(repeats):
                blocks.append(Bottleneck(width, channels, stride if i == 0 else 1, expansion))
                width = channels
        self.blocks = nn.Sequential(*blocks)
        self.conv2 = Block(128, 512, 1)
        self.linear7 = Block(512, 512, grid, depthwise=True, linear=True)
        self.linear1 = Block(512, dim, 1, linear=True)

    def forward(self, crops: Tensor) -> Tensor:
        x = self.blocks(self.dw_conv1(self.conv1(crops)))
        return self.linear1(self.linear7(self.conv2(x))).flatten(1)

    def embed(self, crops: Sequence[np.ndarray]) -> Tensor:
        """Unit embeddings (B,256) of uint8 crops (112,96,3): the picture's and its mirror image's, concatenated."""
        batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().sub(127.5).div(128)
        both = self(torch.cat([batch, batch.flip(3)]))
        return F.normalize(torch.cat(both.chunk(2), 1), dim=1)


def face_crop(image: np.ndarray, points5: np.ndarray) -> np.ndarray:
    """The (112,96,3) crop of ``image`` (H,W,3) uint8 whose ``points5`` (5,2) best fit the template (similarity, least squares)."""
    source = np.asarray(points5, np.float64)
    a = source - source.mean(0)
    b = TEMPLATE - TEMPLATE.mean(0)
    # The similarity as one complex factor: minimise |z a - b|^2.
    za, zb = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
    z = (np.conj(za) @ zb) / (np.conj(za) @ za)
    turn = np.array([[z.real, -z.imag], [z.imag, z.real]])
    shift = TEMPLATE.mean(0) - turn @ source.mean(0)
    flags = cv2.INTER_AREA if abs(z) < 1 else cv2.INTER_LINEAR
    return cv2.warpAffine(
        image, np.column_stack([turn, shift]), (96, 112), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )


class Plain(nn.Module):
    """Convolution and batch norm."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class Active(Plain):
    """Convolution, batch norm, PReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, groups)
        self.prelu = nn.PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.prelu(super().forward(x))


class DepthWise(nn.Module):
    """Expand to ``hidden`` channels, depthwise, project; ``residual`` adds the input."""

    def __init__(self, inputs: int, outputs: int, hidden: int, stride: int, *, residual: bool) -> None:
        super().__init__()
        self.conv = Active(inputs, hidden)
        self.conv_dw = Active(hidden, hidden, 3, stride, 1, hidden)
        self.project = Plain(hidden, outputs)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.conv_dw(self.conv(x)))
        return x + out if self.residual else out


class Chain(nn.Module):
    """``count`` residual units."""

    def __init__(self, channels: int, hidden: int, count: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(DepthWise(channels, channels, hidden, 1, residual=True) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class GlobalDepthWise(nn.Module):
    """One weight per channel and place, then a linear layer and a batch norm."""

    def __init__(self, channels: int, side: int, outputs: int) -> None:
        super().__init__()
        self.conv_6_dw = Plain(channels, channels, side, groups=channels)
        self.linear = nn.Linear(channels, outputs, bias=False)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.linear(self.conv_6_dw(x).flatten(1)))


class LandmarkMobileFaceNet(nn.Module):
    """Points of the published swapping code: forward ``crop`` (B,3,112,112) RGB in [0,1] -> (B,136), x and y in [0,1].

    The argument is their number; the method ``points`` takes whole pictures, as the published training does. The file is
    ``mobilefacenet_model_best.pth.tar``.
    """

    input_size = 112

    def __init__(self, points: int = 68) -> None:
        super().__init__()
        self.conv1 = Active(3, 64, 3, 2, 1)
        self.conv2_dw = Active(64, 64, 3, 1, 1, 64)
        self.conv_23 = DepthWise(64, 64, 128, 2, residual=False)
        self.conv_3 = Chain(64, 128, 4)
        self.conv_34 = DepthWise(64, 128, 256, 2, residual=False)
        self.conv_4 = Chain(128, 256, 6)
        self.conv_45 = DepthWise(128, 128, 512, 2, residual=False)
        self.conv_5 = Chain(128, 256, 2)
        self.conv_6_sep = Active(128, 512)
        self.output_layer = GlobalDepthWise(512, 7, 2 * points)

    def features(self, crop: Tensor) -> Tensor:
        """Last feature map (B,512,7,7)."""
        x = self.conv_34(self.conv_3(self.conv_23(self.conv2_dw(self.conv1(crop)))))
        return self.conv_6_sep(self.conv_5(self.conv_45(self.conv_4(x))))

    def forward(self, crop: Tensor) -> Tensor:
        return self.output_layer(self.features(crop))

    def points(self, image: Tensor, *, antialias: bool = False) -> Tensor:
        """Points (B,68,2) in [0,1] of ``image`` (B,3,H,W) in [-1,1], brought to 112 px as a whole, bilinear."""
        half = (image + 1) / 2
        small = F.interpolate(half, (self.input_size,) * 2, mode="bilinear", align_corners=False, antialias=antialias)
        return self(small).unflatten(1, (-1, 2))
