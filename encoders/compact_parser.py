"""The starter family's face parser: a small U-Net (arXiv 1505.04597) with the classes of the published one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.compact import Trunk, resized
from encoders.inputs import check_images
from encoders.parser import FACE_CLASSES


class _Merge(nn.Module):
    def __init__(self, deep: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(deep + skip, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, deep: Tensor, skip: Tensor) -> Tensor:
        larger = F.interpolate(deep, skip.shape[2:], mode="nearest")
        return F.relu(self.norm(self.conv(torch.cat([larger, skip], 1))))


class CompactParser(nn.Module):
    """Soft parsing of an aligned face: ``image`` (B,3,H,W) RGB in [-1,1] -> logits (B,9,input_size,input_size).

    widths: channels at 1/2, 1/4, ... of ``input_size``; ``neck``: channels of the decoder at the same levels but the last.
    Where a pixel lies in the picture is an input too, as the faces are aligned. Classes are FACE_CLASSES.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 48, 64),
        neck: Sequence[int] = (24, 32, 48),
        *,
        input_size: int = 128,
    ) -> None:
        super().__init__()
        if len(neck) != len(widths) - 1:
            raise ValueError(f"{len(widths)} levels need {len(widths) - 1} decoder widths, {len(neck)} were given")
        self.input_size = input_size
        self.trunk = Trunk(widths)
        side = input_size >> len(widths)
        self.place = nn.Parameter(torch.zeros(1, widths[-1], side, side))
        self.merges = nn.ModuleList()
        deep = widths[-1]
        for skip, outputs in zip(reversed(widths[:-1]), reversed(neck), strict=True):
            self.merges.append(_Merge(deep, skip, outputs))
            deep = outputs
        # The last halving is undone by sub-pixel convolution, which is cheaper than a level at full size.
        self.head = nn.Sequential(nn.Conv2d(deep, 4 * len(FACE_CLASSES), 3, padding=1), nn.PixelShuffle(2))

    def forward(self, image: Tensor) -> Tensor:
        check_images(image)
        levels = self.trunk(resized(image, self.input_size))
        x = levels.pop() + self.place
        for merge in self.merges:
            x = merge(x, levels.pop())
        return self.head(x)
