"""A small landmark network: 68 points, the detector's five points, and whether the crop holds a face at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.detector import SeparableBlock, conv

# Order of the points of a mirror image.
FLIP5 = [1, 0, 2, 4, 3]
FLIP68 = [
    *range(16, -1, -1),
    *range(26, 16, -1),
    *range(27, 31),
    *range(35, 30, -1),
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65),
]


@dataclass(frozen=True, eq=False)
class Landmarks:
    """``points68`` (B,68,2) and ``points5`` (B,5,2), x, y in [0, 1] of the crop's edges; ``logit`` (B,) face or not."""

    points68: Tensor
    points5: Tensor
    logit: Tensor


def unmirrored(landmarks: Landmarks) -> Landmarks:
    """Landmarks read off mirror images, as points of the crops themselves."""
    both = [
        torch.stack([1 - points[..., 0], points[..., 1]], -1)[:, order]
        for points, order in ((landmarks.points68, FLIP68), (landmarks.points5, FLIP5))
    ]
    return Landmarks(both[0], both[1], landmarks.logit)


class LandmarkNet(nn.Module):
    """Landmarks of ``crop`` (B,3,S,S) float in [-1, 1], S = ``input_size``: an upright face.

    ``workbench.crop.landmark_quad`` is the square to cut. ``channels`` and ``depths`` per halving after the stem
    (MobileNet blocks); maps at strides 8 to 32 are fused, and each point is the mean place under a soft map of its own
    (integral regression, arXiv:1711.08229) plus a small correction. The 68 points are in the iBUG order.
    """

    def __init__(
        self,
        input_size: int = 96,
        channels: Sequence[int] = (16, 32, 64, 96, 128),
        depths: Sequence[int] = (1, 2, 3, 2),
        neck: int = 64,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.stem = conv(3, channels[0], 3, 2)
        self.stages = nn.ModuleList()
        for i, depth in enumerate(depths):
            blocks: list[nn.Module] = [SeparableBlock(channels[i], channels[i + 1], 3, 2)]
            blocks += [SeparableBlock(channels[i + 1], channels[i + 1]) for _ in range(depth)]
            self.stages.append(nn.Sequential(*blocks))
        self.lateral = nn.ModuleList(conv(c, neck, act=False) for c in channels[2:])
        self.smooth = SeparableBlock(neck, neck)
        self.maps = nn.Conv2d(neck, 73, 1)
        side = input_size // 8
        self.prior = nn.Parameter(torch.zeros(73, side, side))
        self.correction = nn.Linear(channels[-1], 73 * 2)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        self.face = nn.Sequential(nn.Linear(channels[-1], 32), nn.ReLU(inplace=True), nn.Linear(32, 1))

    def forward(self, crop: Tensor) -> Landmarks:
        x, fused = self.stem(crop), []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i >= 1:
                fused.append(self.lateral[i - 1](x))
        deep = fused[2]
        for m in (fused[1], fused[0]):
            deep = m + F.interpolate(deep, size=m.shape[2:], mode="nearest")
        soft = (self.maps(self.smooth(deep)) + self.prior).flatten(2).softmax(-1)
        pooled = x.mean((2, 3))
        points = soft @ places(self.prior.shape[1]).to(soft)
        points = points + 0.1 * self.correction(pooled).unflatten(1, (73, 2))
        return Landmarks(points[:, :68], points[:, 68:], self.face(pooled)[:, 0])


def places(side: int) -> Tensor:
    """(side * side, 2) x, y of the soft maps' cells, rows first, reaching a little beyond the crop."""
    line = torch.linspace(-0.1, 1.1, side)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2)
