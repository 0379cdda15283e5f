"""A training run that gets minutes of processor time instead of steps: for the small networks of the alignment."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

Losses = Callable[[nn.Module, np.random.Generator], dict[str, Tensor]]


class TimedRun:
    """AdamW with a cosine over the minutes spent, EMA of weights and buffers, a checkpoint a minute, a JSON-lines log.

    A run that was stopped goes on from ``out/last.pt`` with the random numbers of its step; ``minutes`` counts the
    processor time of all its parts together. Every step draws from ``default_rng((seed, step))``.
    """

    def __init__(
        self, model: nn.Module, out: Path, minutes: float, *, lr: float, weight_decay: float, ema: float, seed: int
    ) -> None:
        self.model, self.out, self.minutes, self.lr, self.decay, self.seed = model, out, minutes, lr, ema, seed
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
        self.step, self.spent = 0, 0.0
        out.mkdir(parents=True, exist_ok=True)
        if (out / "last.pt").is_file():
            kept = torch.load(out / "last.pt", weights_only=True)
            model.load_state_dict(kept["model"])
            self.average.load_state_dict(kept["average"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.step, self.spent = kept["step"], kept["spent"]

    def save(self) -> None:
        """Write ``last.pt`` whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "spent": self.spent,
        }
        torch.save(state, self.out / "last.part")
        (self.out / "last.part").replace(self.out / "last.pt")

    def run(self, losses: Losses) -> nn.Module:
        """Train until the minutes are spent; returns the averaged model in eval mode."""
        mark, saved, sums, count = time.process_time(), time.monotonic(), {}, 0
        while self.spent < self.minutes * 60:
            part = min(self.spent / (self.minutes * 60), 1.0)
            warm = min(1.0, (self.step + 1) / 100)
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part)))
            self.model.train()
            terms = losses(self.model, np.random.default_rng((self.seed, self.step)))
            total = torch.stack(list(terms.values())).sum()
            self.optimizer.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
            self.optimizer.step()
            self.step += 1
            self.blend()
            now = time.process_time()  # not the clock on the wall: a busy machine must not cut the schedule short
            self.spent, mark = self.spent + now - mark, now
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            count += 1
            if count == 50:
                line = {
                    "step": self.step,
                    "minutes": round(self.spent / 60, 2),
                    "lr": self.optimizer.param_groups[0]["lr"],
                }
                line |= {name: round(value / count, 5) for name, value in sums.items()}
                with (self.out / "log.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                sums, count = {}, 0
            if time.monotonic() - saved > 60:
                self.save()
                saved = time.monotonic()
        self.save()
        return self.average

    @torch.no_grad()
    def blend(self) -> None:
        """Move the average towards the model; early on faster, so that it forgets the beginning."""
        keep = min(self.decay, (1 + self.step) / (10 + self.step))
        for mine, new in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(new, 1 - keep)
            else:
                mine.copy_(new)
