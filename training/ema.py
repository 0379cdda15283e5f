"""Exponential moving average of a module's parameters, with its buffers copied."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """Keeps ``module``, a copy whose parameters follow the trained ones.

    The decay rises from 0.1 to ``decay`` as (1 + step) / (10 + step), so an early average is not the random start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards ``module`` after optimiser step ``step`` (from 0)."""
        keep = min(self.decay, (1 + step) / (10 + step))
        for mine, theirs in zip(self.module.parameters(), module.parameters(), strict=True):
            mine.lerp_(theirs, 1 - keep)
        for mine, theirs in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(theirs)
