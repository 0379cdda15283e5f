"""Putting the edit into the photo: masks that are exactly 0 outside, a feathered or a Laplacian seam."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Seam = Literal["feather", "laplacian"]
FLOOR = 0.02
"""A soft mask below this counts as outside: no parser gives an exact zero."""
FEATHER = 0.07
"""Width of the feather as a share of the picture's side."""
FINE_FEATHER = 0.03
"""The same where hair meets the background, which a wide one would tint."""


def dilated(mask: Tensor, reach: int) -> Tensor:
    """``mask`` (B,1,H,W) grown by ``reach`` px."""
    return F.max_pool2d(mask, 2 * reach + 1, 1, reach) if reach else mask


def smoothed(mask: Tensor, reach: int) -> Tensor:
    """``mask`` (B,1,H,W) under two box filters: a feather that ends ``2 * reach`` px outside."""
    for _ in range(2 if reach else 0):
        mask = F.avg_pool2d(F.pad(mask, [reach] * 4, mode="replicate"), 2 * reach + 1, 1)
    return mask


def alpha(mask: Tensor, *, hardened: bool, feather: float = FEATHER) -> Tensor:
    """Blend weights (B,1,H,W) in [0, 1] from a soft ``mask``, exactly 0 outside.

    ``hardened``: what the mask makes more likely than not, grown and feathered by ``feather`` (share of the picture's side)
    altogether; otherwise the mask itself, from FLOOR on.
    """
    if not hardened:
        return torch.where(mask < FLOOR, torch.zeros_like(mask), mask).clamp(0, 1)
    reach = max(1, round(feather * mask.shape[-1] / 3))
    return smoothed(dilated((mask > 0.5).to(mask), reach), reach).clamp(0, 1)


def _down(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2)


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def laplacian(front: Tensor, back: Tensor, weight: Tensor, levels: int = 4) -> Tensor:
    """Burt and Adelson's multi-resolution blend of ``front`` and ``back`` (B,3,H,W) under ``weight`` (B,1,H,W)."""
    if levels == 0 or front.shape[-1] % 2 or front.shape[-1] <= 8:
        return weight * front + (1 - weight) * back
    small_front, small_back = _down(front), _down(back)
    base = laplacian(small_front, small_back, _down(weight), levels - 1)
    detail = weight * (front - _up(small_front)) + (1 - weight) * (back - _up(small_back))
    return _up(base) + detail


def blended(front: Tensor, photo: Tensor, weight: Tensor, seam: Seam = "feather") -> Tensor:
    """``front`` over ``photo`` (B,3,H,W) under ``weight`` (B,1,H,W); where that is 0 the photo's very numbers stay."""
    mixed = weight * front + (1 - weight) * photo
    if seam == "laplacian":
        # Low frequencies of the front reach beyond the mask; the outermost part of the feather takes them back.
        inside = (4 * weight).clamp(max=1)
        mixed = inside * laplacian(front, photo, weight) + (1 - inside) * photo
    return torch.where(weight > 0, mixed.clamp(-1, 1), photo)
