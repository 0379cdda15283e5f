"""The one training loop: any Task, one or several ranks, bf16, EMA, exact resume, JSON-lines log, sample grids."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from training.distributed import Ranks
from training.ema import Ema
from training.task import Step, Task
from workbench.errors import BadCheckpoint


@dataclass(frozen=True)
class Schedule:
    """How long to train and how often to look. ``minutes`` stops an unfinished run cleanly; a later one goes on."""

    steps: int
    minutes: float | None = None
    log_every: int = 50
    save_every: int = 500
    ema: float = 0.999
    seed: int = 0
    bf16: bool = False


def step_rngs(seed: int, index: int, rank: int) -> tuple[np.random.Generator, torch.Generator]:
    """The generators of one step: numpy's shared by the ranks, torch's own to this rank; torch's global one is seeded too."""
    shared = np.random.default_rng([seed, index])
    own = int(np.random.default_rng([seed, index, rank, 1]).integers(2**62))
    torch.manual_seed(own)
    return shared, torch.Generator().manual_seed(own)


def save_checkpoint(path: Path, body: dict[str, Any]) -> None:
    """Write atomically; a run killed meanwhile finds the older checkpoint."""
    part = path.with_suffix(".part")
    torch.save(body, part)
    os.replace(part, path)


def run(task: Task, schedule: Schedule, folder: Path, *, ranks: Ranks, device: str = "cpu", resume: bool = True) -> int:
    """Train ``task`` in ``folder`` (checkpoint.pt, log.jsonl, grids, exported weights); returns the steps done in all."""
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.pt"
    ema = {name: Ema(task.modules[name], schedule.ema) for name in task.averaged}
    index = 0
    if resume and checkpoint.is_file():
        body = torch.load(checkpoint, map_location=device, weights_only=True)
        index = body["step"]
        try:
            # A network that a longer schedule adds (a discriminator for its last stage) begins fresh.
            for name, module in task.modules.items():
                if name in body["modules"]:
                    module.load_state_dict(body["modules"][name])
            for name, optimizer in task.optimizers.items():
                if name in body["optimizers"]:
                    optimizer.load_state_dict(body["optimizers"][name])
            for name, average in ema.items():
                average.module.load_state_dict(body["ema"][name])
        except (KeyError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise BadCheckpoint(
                f"'{checkpoint}' was made with other settings ({reason}); use those, another folder, or begin afresh."
            ) from error
    started, logged, first = time.monotonic(), time.monotonic(), index

    def keep() -> None:
        if not ranks.main:
            return
        body = {
            "step": index,
            "modules": {n: m.state_dict() for n, m in task.modules.items()},
            "optimizers": {n: o.state_dict() for n, o in task.optimizers.items()},
            "ema": {n: e.module.state_dict() for n, e in ema.items()},
        }
        save_checkpoint(checkpoint, body)
        picture = task.grid(ema)
        if picture is not None:
            Image.fromarray(picture).save(folder / f"grid-{index:07d}.png")
        task.export(ema, folder, index)

    sums: dict[str, Tensor] = {}
    count = 0
    while index < schedule.steps:
        # Every call takes at least one step, so short budgets still get on.
        spent = time.monotonic() - started
        out_of_time = schedule.minutes is not None and index > first and spent > schedule.minutes * 60
        if ranks.world > 1:
            # All ranks must leave at the same step; any rank's clock decides for all.
            out_of_time = bool(ranks.average(torch.tensor(float(out_of_time))) > 0)
        if out_of_time:
            break
        shared, own = step_rngs(schedule.seed, index, ranks.rank)
        step = Step(index, schedule.steps, shared, own, ranks, device, schedule.bf16)
        with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=schedule.bf16):
            numbers = task.step(step)
        for name, average in ema.items():
            average.update(task.modules[name], index)
        for name, value in numbers.items():
            sums[name] = sums.get(name, torch.zeros(())) + torch.as_tensor(value).detach().float().cpu()
        count += 1
        index += 1
        if index % schedule.log_every == 0 or index == schedule.steps:
            means = {n: float(ranks.average(v / count)) for n, v in sums.items()}
            sums, rate, count = {}, count / max(1e-9, time.monotonic() - logged), 0
            logged = time.monotonic()
            if ranks.main:
                line = {
                    "step": index,
                    "seconds": round(logged - started, 1),
                    "steps_per_second": round(rate, 3),
                    **means,
                }
                with (folder / "log.jsonl").open("a") as file:
                    file.write(json.dumps(line) + "\n")
        if index % schedule.save_every == 0:
            keep()
    if index > first or not checkpoint.is_file():
        keep()
    return index
