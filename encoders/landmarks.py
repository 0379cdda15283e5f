"""A small landmark network: 68 points, the detector's five points, and whether the crop holds a face at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from encoders.detector import SeparableBlock, conv


@dataclass(frozen=True, eq=False)
class Landmarks:
    """``points68`` (B,68,2) and ``points5`` (B,5,2), x, y in [0, 1] of the crop's edges; ``logit`` (B,) face or not."""

    points68: Tensor
    points5: Tensor
    logit: Tensor


class LandmarkNet(nn.Module):
    """Landmarks of ``crop`` (B,3,S,S) float in [-1, 1], S = ``input_size``: an upright face.

    ``workbench.crop.landmark_quad`` is the square to cut. ``channels`` and ``depths`` per halving after the stem
    (MobileNet blocks); the last map is flattened, not pooled, because where things are is the answer. The 68 points
    are in the iBUG order.
    """

    def __init__(
        self,
        input_size: int = 96,
        channels: Sequence[int] = (16, 32, 64, 96, 128),
        depths: Sequence[int] = (1, 2, 3, 2),
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.stem = conv(3, channels[0], 3, 2)
        blocks: list[nn.Module] = []
        for i, depth in enumerate(depths):
            blocks.append(SeparableBlock(channels[i], channels[i + 1], 3, 2))
            blocks += [SeparableBlock(channels[i + 1], channels[i + 1]) for _ in range(depth)]
        self.body = nn.Sequential(*blocks)
        side = input_size // 2 ** (len(depths) + 1)
        self.squeeze = conv(channels[-1], 48)
        self.points = nn.Sequential(nn.Linear(48 * side * side, 128), nn.ReLU(inplace=True), nn.Linear(128, 73 * 2))
        self.face = nn.Sequential(nn.Linear(channels[-1], 32), nn.ReLU(inplace=True), nn.Linear(32, 1))

    def forward(self, crop: Tensor) -> Landmarks:
        x = self.body(self.stem(crop))
        points = self.points(self.squeeze(x).flatten(1)).unflatten(1, (73, 2)) * 0.2 + 0.5
        return Landmarks(points[:, :68], points[:, 68:], self.face(x.mean((2, 3)))[:, 0])
