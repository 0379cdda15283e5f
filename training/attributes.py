"""Train the 40-attribute classifier (and, with another shape and seed, the judge): binary cross-entropy on CelebA's labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data import container
from data.datasets import load_faces
from encoders.compact import AttributeNet
from training.distributed import Ranks
from training.ema import Ema
from training.task import Step, set_rate


def jitter(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Shift by up to 6 % with reflected borders and change brightness and contrast, one draw per batch."""
    side = images.shape[2]
    reach = max(1, side // 16)
    dx, dy = rng.integers(-reach, reach + 1, 2)
    padded = F.pad(images, [reach] * 4, mode="reflect")
    images = padded[:, :, reach + dy : reach + dy + side, reach + dx : reach + dx + side]
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (len(images), 1, 1, 1)).astype(np.float32)).to(images.device)
    lift = torch.from_numpy(rng.uniform(-0.1, 0.1, (len(images), 1, 1, 1)).astype(np.float32)).to(images.device)
    return images * gain + lift


class AttributesTask:
    """Settings: [data] zips, labels, val_zips, val_labels, cache; [model] widths, input_size, residual; [train] batch, rate, kind, name."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        data, self.model, self.train = body["data"], body["model"], body["train"]
        size = self.model["input_size"]
        cache = data.get("cache", folder.parent / "cache")
        self.faces = load_faces([faces / z for z in data["zips"]], faces / data["labels"], size, cache)
        self.val = load_faces([faces / z for z in data["val_zips"]], faces / data["val_labels"], size, cache)
        self.net = AttributeNet(**self.model).to(memory_format=torch.channels_last).to(device)  # pyright: ignore[reportCallIssue]
        self.modules = {"net": self.net}
        self.averaged = ("net",)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.train["rate"], weight_decay=0.01)
        self.optimizers = {"net": self.optimizer}
        self.device, self.ranks = device, ranks

    def step(self, step: Step) -> dict[str, float | Tensor]:
        set_rate(self.optimizer, step.cosine(warmup=100, floor=0.01))
        index = step.numpy.integers(0, len(self.faces), self.train["batch"])
        flip = step.numpy.random(self.train["batch"]) < 0.5
        part = step.ranks.slice(len(index))
        images = jitter(self.faces.batch(index[part], flip[part], self.device), step.numpy)
        labels = torch.from_numpy(self.faces.labels[index[part]].astype(np.float32)).to(self.device)
        self.net.train()
        logits = self.net(images)
        loss = F.binary_cross_entropy_with_logits(logits, labels)
        step.apply(loss, self.optimizer)
        return {"loss": loss, "accuracy": ((logits > 0) == (labels > 0.5)).float().mean()}

    def grid(self, ema: Mapping[str, Ema]) -> None:
        return None

    @torch.inference_mode()
    def accuracy(self, net: torch.nn.Module) -> np.ndarray:
        """Accuracy per attribute on the validation faces, (40,)."""
        hits = np.zeros(40)
        for at in range(0, len(self.val), 100):
            index = np.arange(at, min(at + 100, len(self.val)))
            guess = net(self.val.batch(index, device=self.device)).cpu().numpy() > 0
            hits += (guess == (self.val.labels[index] > 0)).sum(0)
        return hits / len(self.val)

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        net = ema["net"].module
        accuracy = self.accuracy(net)
        header = {
            "kind": self.train["kind"],
            "arch": dict(self.model),
            "steps": steps,
            "accuracy": round(float(accuracy.mean()), 4),
            "accuracies": [round(float(a), 4) for a in accuracy],
            "data": "CelebA-HQ, CelebA's training partition; non-commercial research",
        }
        container.save(folder / f"{self.train['name']}.safetensors", net.state_dict(), header)
