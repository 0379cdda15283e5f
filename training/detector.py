"""Train the starter face detector on composed scenes (see ``training.scenes``)."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data import container
from encoders.detector import STRIDES, Candidates, FaceDetector, cells
from training.scenes import WANTED, LabelledPhoto, Scene, SceneMaker, read_photos
from training.settings import read_settings
from training.timed import TimedRun

RANGES = ((0.0, 40.0), (26.0, 96.0), (64.0, 1e9))  # face sizes, in pixels, that each stride answers for


def assign(scene: Scene, size: int) -> tuple[Tensor, Tensor]:
    """Which face each cell stands for, -1 for none, and the weight (N,) of each cell's score, 0 where either goes."""
    grids = [cells(size // s, size // s, s) for s in STRIDES]
    count = sum(len(g) for g in grids)
    owner, weight, best = torch.full((count,), -1), torch.ones(count), torch.full((count,), 1e9)
    boxes = torch.from_numpy(scene.boxes)
    sizes = (boxes[:, 2:] - boxes[:, :2]).prod(-1).sqrt()
    start = 0
    for grid, stride, (low, high) in zip(grids, STRIDES, RANGES, strict=True):
        part = slice(start, start + len(grid))
        start += len(grid)
        for i in torch.argsort(sizes, descending=True).tolist():
            middle, side = (boxes[i, :2] + boxes[i, 2:]) / 2, float(sizes[i])
            away = (grid - middle).norm(dim=-1)
            inside = ((grid > boxes[i, :2]) & (grid < boxes[i, 2:])).all(-1)
            if scene.state[i] != WANTED:
                weight[part][inside | (away < stride)] = 0
                continue
            weight[part][(away < 0.3 * side) & (owner[part] < 0)] = 0
            if low <= side < high:
                mine = (away < max(1.2 * stride, 0.15 * side)) & (side < best[part])
                owner[part][mine], weight[part][mine], best[part][mine] = i, 1.0, side
    return owner, weight


def detector_losses(out: Candidates, scenes: list[Scene], size: int) -> dict[str, Tensor]:
    """Focal score loss with the overlap as target (arXiv:2006.04388), generalised-overlap box loss, L1 of points."""
    score, box_terms, point_terms, wanted = out.logits.new_zeros(()), [], [], 0
    for b, scene in enumerate(scenes):
        owner, weight = assign(scene, size)
        target, mine = torch.zeros_like(weight), owner >= 0
        if mine.any():
            goal = torch.from_numpy(scene.boxes)[owner[mine]]
            got, side = out.boxes[b][mine], (goal[:, 2:] - goal[:, :2]).prod(-1).sqrt()
            union, loss = generalised_overlap(got, goal)
            target[mine] = 0.6 + 0.4 * union.detach().clamp(0, 1)
            box_terms.append(loss)
            goal_points = torch.from_numpy(scene.points)[owner[mine]]
            point_terms.append(((out.points[b][mine] - goal_points).abs() / side[:, None, None]).mean((1, 2)))
            wanted += int(mine.sum())
        p = out.logits[b].sigmoid()
        bce = F.binary_cross_entropy_with_logits(out.logits[b], target, reduction="none")
        score = score + (weight * (p.detach() - target).square() * bce).sum()
    many = max(wanted, 1)
    if not box_terms:
        return {"score": score / many}
    return {"score": score / many, "box": torch.cat(box_terms).mean(), "points": 12 * torch.cat(point_terms).mean()}


def generalised_overlap(got: Tensor, goal: Tensor) -> tuple[Tensor, Tensor]:
    """Overlap (N,) and 1 - GIoU (N,) of matching boxes (N,4) (arXiv:1902.09630)."""
    low, high = torch.maximum(got[:, :2], goal[:, :2]), torch.minimum(got[:, 2:], goal[:, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = (got[:, 2:] - got[:, :2]).prod(-1) + (goal[:, 2:] - goal[:, :2]).prod(-1) - shared
    hull = (torch.maximum(got[:, 2:], goal[:, 2:]) - torch.minimum(got[:, :2], goal[:, :2])).prod(-1)
    overlap = shared / union.clamp(min=1e-6)
    return overlap, 1 - overlap + (hull - union) / hull.clamp(min=1e-6)


def read_sources(pairs: list[str]) -> list[list[LabelledPhoto]]:
    """Photos of every ``ZIP=LABELS.npz``."""
    return [read_photos(Path(zipped), Path(labels)) for zipped, labels in (pair.split("=") for pair in pairs)]


def main(argv: list[str] | None = None) -> int:
    """Train the face detector; returns the steps done."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/detector.toml"))
    parser.add_argument("--photos", nargs="+", required=True, help="ZIP=LABELS.npz, LFW first")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15, help="of processor time")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    settings = read_settings(options.config)
    torch.manual_seed(settings["seed"])
    model = FaceDetector(**settings["arch"])
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a third faster on CPUs
    sources, size = read_sources(options.photos), settings["size"]
    print(f"{sum(map(len, sources))} photos, {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    run = TimedRun(
        model, options.out, options.minutes, lr=settings["lr"], weight_decay=settings["weight_decay"],
        ema=settings["ema"], seed=settings["seed"],
    )  # fmt: skip

    bank = SceneMaker(sources, size, np.random.default_rng(settings["seed"]), settings["backgrounds"]).bank

    def losses(network: nn.Module, rng: np.random.Generator) -> dict[str, Tensor]:
        maker = SceneMaker(sources, size, rng)
        maker.bank = bank
        scenes = [maker.scene() for _ in range(settings["batch"])]
        images = torch.from_numpy(np.stack([s.image for s in scenes])).permute(0, 3, 1, 2).float() / 127.5 - 1
        return detector_losses(network(images.contiguous(memory_format=torch.channels_last)), scenes, size)

    average = run.run(losses)
    header = {"kind": "detector", "arch": settings["arch"], "steps": run.step, "minutes": round(run.spent / 60, 1)}
    print(container.save(options.out / "detector.safetensors", average.state_dict(), header))
    return run.step


if __name__ == "__main__":
    main()
