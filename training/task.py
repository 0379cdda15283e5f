"""What a model must offer to be trained by ``training.loop``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from training.distributed import Ranks
from training.ema import Ema


@dataclass(frozen=True)
class Step:
    """One step's surroundings. All randomness comes from here, so a resumed run repeats the uninterrupted one.

    ``numpy`` draws for the whole global batch alike on every rank; ``torch`` is this rank's own; take ``part`` of it.
    """

    index: int
    total: int
    numpy: np.random.Generator
    torch: torch.Generator
    ranks: Ranks
    device: str
    autocast: bool

    def apply(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """Zero, backward, average over the ranks, step."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.ranks.average_gradients(p for group in optimizer.param_groups for p in group["params"])
        optimizer.step()

    def cosine(self, warmup: int = 0, floor: float = 0.0) -> float:
        """Learning-rate factor: linear over ``warmup`` steps, then half a cosine down to ``floor`` at ``total``."""
        if self.index < warmup:
            return (self.index + 1) / warmup
        progress = min(1.0, (self.index - warmup) / max(1, self.total - warmup))
        return floor + (1 - floor) * 0.5 * (1 + float(np.cos(np.pi * progress)))


class Task(Protocol):
    """Networks, optimisers, one step, and what is left behind."""

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    averaged: Iterable[str]

    def step(self, step: Step) -> dict[str, float | Tensor]:
        """Train once; returns numbers for the log (tensors are averaged over the ranks when they are logged)."""
        ...

    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray | None:
        """A picture (H,W,3) uint8 that shows how far it is, or None."""
        ...

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """Write usable weights from the averaged networks."""
        ...


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set every group's learning rate to ``factor`` times its ``base`` rate (its first rate)."""
    for group in optimizer.param_groups:
        group.setdefault("base", group["lr"])
        group["lr"] = group["base"] * factor
