"""Where the face is in an aligned square: what a swap replaces in a photo, so that its hair and background stay sharp."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.parser import FACE_CLASSES

FACE = tuple(FACE_CLASSES.index(name) for name in ("mouth", "eyebrows", "eyes", "nose", "skin"))
GROW, FEATHER = 0.015, 0.05
"""In sides of the picture: how far beyond the parsed face, and the width of the seam."""


@torch.inference_mode()
def outline(parser: nn.Module, images: Tensor) -> Tensor:
    """Weight (1,S,S) in [0, 1] of the face of any of ``images`` (B,3,S,S) in [-1, 1], on their device; soft at the border.

    The new face may be larger than the old one or smaller: what either covers is replaced.
    """
    size = images.shape[-1]
    likely = parser(images).softmax(1)[:, list(FACE)].sum(1, keepdim=True)
    likely = F.interpolate(likely, (size, size), mode="bilinear", align_corners=False)
    mask = (likely.amax(0, keepdim=True) > 0.5).float()
    grow, reach = max(1, round(GROW * size)), max(1, round(FEATHER * size / 2))
    mask = F.max_pool2d(mask, 2 * grow + 1, 1, grow)
    for _ in range(2):
        mask = F.avg_pool2d(F.pad(mask, [reach] * 4, mode="replicate"), 2 * reach + 1, 1)
    return mask[0]
