"""Where and how much a picture changed: a map to look at, and numbers for inside and outside of what was meant to change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.face import to_uint8

FULL = 0.35
"""Change of a channel mean, of the range of 2, that is drawn at full strength."""
COLD, HOT = np.array([31, 111, 120], np.float32), np.array([226, 132, 60], np.float32)


@dataclass(frozen=True)
class Change:
    """Mean squared change per value (range 2) inside and outside of a mask, and the share of pixels that changed at all."""

    inside: float
    outside: float
    share: float


def strength(before: Tensor, after: Tensor) -> Tensor:
    """(H,W) in [0, 1]: mean change of the channels of two pictures (3,H,W) in [-1, 1], ``FULL`` being 1."""
    return ((after - before).abs().mean(0) / FULL).clamp(0, 1)


def picture(before: Tensor, after: Tensor) -> np.ndarray:
    """(H,W,3) uint8: ``before`` in pale grey, and over it in colour where ``after`` differs, orange where it differs most."""
    grey = to_uint8(before).astype(np.float32).mean(2, keepdims=True) * 0.45 + 135
    amount = strength(before, after).numpy()[..., None]
    colour = COLD + (HOT - COLD) * amount
    cover = np.sqrt(amount)
    return (grey * (1 - cover) + colour * cover).round().astype(np.uint8)


def measure(before: Tensor, after: Tensor, mask: Tensor | None) -> Change:
    """Numbers for two pictures (3,H,W); ``mask`` (1,H,W) is positive where change was meant, None for everywhere."""
    squared = (after - before).square().mean(0)
    meant = torch.ones_like(squared) if mask is None else (mask[0] > 0).to(squared)
    inside = float((squared * meant).sum() / meant.sum().clamp_min(1))
    outside = float((squared * (1 - meant)).sum() / (1 - meant).sum().clamp_min(1))
    return Change(inside, outside, float((squared > 0).float().mean()))
