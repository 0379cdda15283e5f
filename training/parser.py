"""Train the starter face parser on the labels that ``training.parser_labels`` makes: cross-entropy, unsure pixels left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data import container
from encoders.compact_parser import CompactParser
from encoders.parser import FACE_CLASSES
from training.distributed import Ranks
from training.ema import Ema
from training.face_regions import IGNORED
from training.task import Step, set_rate
from workbench.errors import MissingWeights

COLOURS = np.array(
    [(40, 40, 40), (255, 0, 80), (120, 70, 0), (0, 200, 255), (200, 120, 20), (0, 255, 0), (255, 200, 160),
     (160, 60, 200), (60, 90, 255)], np.uint8
)  # fmt: skip
"""Colour of each class in pictures that show a parsing."""


def painted(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``image`` (H,W,3) uint8 under the colours of ``labels`` (H,W); unsure pixels are white."""
    palette = np.concatenate([COLOURS, np.full((256 - len(COLOURS), 3), 255, np.uint8)])
    return (0.4 * image + 0.6 * palette[labels]).astype(np.uint8)


def moved(images: Tensor, labels: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Turn, scale and shift each picture (B,3,S,S) and its labels (B,S,S) a little; what comes in from outside is unsure."""
    count = len(images)
    angle = torch.from_numpy(rng.normal(0, 0.10, count)).float()
    scale = torch.from_numpy(np.exp(rng.normal(0, 0.08, count))).float()
    shift = torch.from_numpy(rng.normal(0, 0.05, (count, 2))).float()
    cos, sin = angle.cos() * scale, angle.sin() * scale
    matrix = torch.stack([torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    known = (labels + 1).float()
    known[labels == IGNORED] = 0
    drawn = F.grid_sample(known[:, None], grid, mode="nearest", align_corners=False)[:, 0].long()
    return images, torch.where(drawn > 0, drawn - 1, torch.full_like(drawn, IGNORED))


def spoiled(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast, tint and, for half of them, blur: renderings are softer than photos."""
    count = len(images)

    def draw(low: float, high: float, channels: int) -> Tensor:
        return torch.from_numpy(rng.uniform(low, high, (count, channels, 1, 1))).float()

    images = images * draw(0.75, 1.2, 1) * draw(0.93, 1.07, 3) + draw(-0.15, 0.15, 1)
    soft = F.interpolate(F.avg_pool2d(images, 4), images.shape[2:], mode="bilinear", align_corners=False)
    blend = draw(-1.0, 1.0, 1).clamp_min(0)
    return images + blend * (soft - images)


class ParserTask:
    """Settings: [data] labels (a file in the cache folder), held (one face in so many is kept back); [model]; [train]."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        data, self.model, self.train = body["data"], body["model"], body["train"]
        path = Path(data.get("cache", folder.parent / "cache")) / data["labels"]
        if not path.is_file():
            raise MissingWeights(f"The labels '{path}' are not there; make them with python -m training.parser_labels.")
        with np.load(path) as stored:
            images, labels, self.plan = stored["images"], stored["labels"].astype(np.int64), str(stored["plan"])
        held = np.arange(len(images)) % data["held"] == 0
        self.images, self.labels = images[~held], labels[~held]
        self.val_images, self.val_labels = images[held], labels[held]
        self.net = CompactParser(**self.model).to(memory_format=torch.channels_last).to(device)  # pyright: ignore[reportCallIssue]
        self.modules, self.averaged = {"net": self.net}, ("net",)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.train["rate"], weight_decay=0.01)
        self.optimizers = {"net": self.optimizer}
        weights = self.train.get("weights", {})
        self.weights = torch.tensor([float(weights.get(name, 1.0)) for name in FACE_CLASSES]).to(device)
        # Mirroring swaps nothing: no class has a side.
        self.device, self.ranks = device, ranks

    def _tensor(self, images: np.ndarray) -> Tensor:
        whole = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).permute(0, 3, 1, 2)
        return whole.float().div(127.5).sub(1).contiguous(memory_format=torch.channels_last)

    def step(self, step: Step) -> dict[str, float | Tensor]:
        set_rate(self.optimizer, step.cosine(warmup=50, floor=0.02))
        index = step.numpy.integers(0, len(self.images), self.train["batch"])
        flip = step.numpy.random(len(index)) < 0.5
        part = step.ranks.slice(len(index))
        pixels, labels = self.images[index[part]], self.labels[index[part]]
        pixels[flip[part]], labels[flip[part]] = pixels[flip[part], :, ::-1], labels[flip[part], :, ::-1]
        images, goal = moved(self._tensor(pixels), torch.from_numpy(labels).to(self.device), step.numpy)
        self.net.train()
        logits = self.net(spoiled(images, step.numpy))
        loss = F.cross_entropy(logits, goal, weight=self.weights, ignore_index=IGNORED)
        step.apply(loss, self.optimizer)
        return {"loss": loss, "accuracy": (logits.argmax(1) == goal)[goal != IGNORED].float().mean()}

    @torch.inference_mode()
    def parsed(self, net: torch.nn.Module, images: np.ndarray) -> np.ndarray:
        """Class maps (N,S,S) of pictures (N,S,S,3) uint8."""
        parts = [net(self._tensor(images[at : at + 50])).argmax(1) for at in range(0, len(images), 50)]
        return torch.cat(parts).cpu().numpy()

    def overlaps(self, net: torch.nn.Module) -> dict[str, float]:
        """Intersection over union per class with the made labels of the held faces, where those are sure."""
        guess, sure = self.parsed(net, self.val_images), self.val_labels != IGNORED
        found = {}
        for place, name in enumerate(FACE_CLASSES):
            a, b = (guess == place) & sure, (self.val_labels == place) & sure
            found[name] = round(float((a & b).sum() / max(1, (a | b).sum())), 4)
        return found

    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray:
        """Held faces (photos, then generated ones): picture, made labels, parsing."""
        count = len(self.val_images)
        picked = np.unique(np.linspace(0, count - 1, min(12, count)).astype(int))
        images, labels = self.val_images[picked], self.val_labels[picked]
        guess = self.parsed(ema["net"].module, images)
        rows = [images, *([painted(i, m) for i, m in zip(images, maps, strict=True)] for maps in (labels, guess))]
        return np.concatenate([np.concatenate(list(row), 1) for row in rows], 0)

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        net = ema["net"].module
        header = {
            "kind": "parser",
            "arch": dict(self.model),
            "classes": list(FACE_CLASSES),
            "steps": steps,
            "labels": self.plan,
            "overlap_with_made_labels": self.overlaps(net),
            "data": "CelebA-HQ, CelebA's training partition, and generated faces; non-commercial research",
        }
        container.save(folder / "parser.safetensors", net.state_dict(), header)
