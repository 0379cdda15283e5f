"""Distil a compact identity embedding for FFHQ-style crops from MobileFaceNet.

First the teacher looks once at every training face (``python -m training.identity --help``), then the student learns to
give the same 128 numbers from the aligned crop alone, without landmarks, mirrored and slightly moved views included.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from data import container
from data.datasets import load_faces, members
from encoders.compact import IdentityNet
from encoders.mobilefacenet import MobileFaceNet, face_crop
from training.attributes import jitter
from training.distributed import Ranks
from training.ema import Ema
from training.task import Step, set_rate

# Mean of the five points over CelebA-HQ's aligned faces, as fractions of the side; used where the detector misses.
MEAN_POINTS = np.array([[0.379, 0.473], [0.620, 0.473], [0.495, 0.627], [0.395, 0.725], [0.605, 0.725]])


def load_teacher(path: Path) -> MobileFaceNet:
    """MobileFaceNet with the weights under ``net_state_dict`` of ``path``."""
    net = MobileFaceNet()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["net_state_dict"])
    return net.eval().requires_grad_(False)


def largest_points(detector: Any, image: np.ndarray) -> np.ndarray:
    """Five points (5,2) of the largest face by YuNet in ``image`` (S,S,3) RGB, or the mean points."""
    detector.setInputSize(image.shape[1::-1])
    _, found = detector.detect(np.ascontiguousarray(image[:, :, ::-1]))
    if found is None:
        return MEAN_POINTS * image.shape[0]
    return found[np.argmax(found[:, 2] * found[:, 3]), 4:14].reshape(5, 2)


@torch.inference_mode()
def teach(zips: Sequence[Path], yunet: Path, teacher: Path, out: Path) -> None:
    """Write ``out`` (npz): names, ``embeddings`` (N,128) unit rows of the teacher, ``points5`` (N,5,2) as fractions."""
    net = load_teacher(teacher)
    detector = cv2.FaceDetectorYN.create(str(yunet), "", (256, 256))
    names, crops, points, rows = [], [], [], []

    def flush() -> None:
        batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float().sub(127.5).div(128)
        rows.append(F.normalize(net(batch), dim=1).half().numpy())
        crops.clear()

    for name, data in members(zips):
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        five = largest_points(detector, image)
        names.append(name)
        points.append(five / image.shape[0])
        crops.append(face_crop(image, five))
        if len(crops) == 32:
            flush()
    if crops:
        flush()
    np.savez(out, names=np.array(names), embeddings=np.concatenate(rows), points5=np.stack(points).astype(np.float32))


class IdentityTask:
    """Settings: [data] zips, labels, teacher (npz in the run's parent folder); [model] IdentityNet's; [train] batch, rate."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        data, self.model, self.train = body["data"], body["model"], body["train"]
        cache = data.get("cache", folder.parent / "cache")
        self.faces = load_faces([faces / z for z in data["zips"]], faces / data["labels"], data["size"], cache)
        stored = np.load(folder.parent / data["teacher"])
        known = dict(zip(stored["names"].tolist(), stored["embeddings"].astype(np.float32), strict=True))
        self.wanted = np.stack([known[name] for name in self.faces.names])
        # The last faces are kept aside to see how far the student is from the teacher.
        self.kept = len(self.faces) - data["held_out"]
        net = IdentityNet(**self.model)
        if "start" in self.train:
            # The classifier's trunk has seen faces for many epochs; starting from it saves most of the student's.
            state, _ = container.load(folder.parent / self.train["start"])
            trunk = {k.removeprefix("trunk."): v for k, v in state.items() if k.startswith("trunk.")}
            net.trunk.load_state_dict(trunk)
        self.net = net.to(memory_format=torch.channels_last).to(device)  # pyright: ignore[reportCallIssue]
        self.modules, self.averaged = {"net": self.net}, ("net",)
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=self.train["rate"], weight_decay=0.02)
        self.optimizers = {"net": self.optimizer}
        self.device, self.ranks = device, ranks

    def step(self, step: Step) -> dict[str, float | Tensor]:
        set_rate(self.optimizer, step.cosine(warmup=100, floor=0.01))
        index = step.numpy.integers(0, self.kept, self.train["batch"])
        flip = step.numpy.random(len(index)) < 0.5
        part = step.ranks.slice(len(index))
        images = jitter(self.faces.batch(index[part], flip[part], self.device), step.numpy)
        wanted = torch.from_numpy(self.wanted[index[part]]).to(self.device)
        self.net.train()
        got = self.net(images)
        cosine = (got * wanted).sum(1)
        # Relations inside the batch carry who resembles whom, which a cosine to one's own target says only weakly.
        relation = (got @ got.t() - wanted @ wanted.t()).square().mean()
        loss = (1 - cosine).mean() + self.train["relation"] * relation
        step.apply(loss, self.optimizer)
        return {"loss": loss, "cosine": cosine.mean(), "relation": relation}

    def grid(self, ema: Mapping[str, Ema]) -> None:
        return None

    @torch.inference_mode()
    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        net = ema["net"].module
        index = np.arange(self.kept, len(self.faces))
        got = torch.cat(
            [net(self.faces.batch(index[i : i + 100], device=self.device)).cpu() for i in range(0, len(index), 100)]
        )
        cosine = float((got * torch.from_numpy(self.wanted[index])).sum(1).mean())
        header = {
            "kind": "identity",
            "arch": dict(self.model),
            "steps": steps,
            "teacher_cosine": round(cosine, 4),
            "data": "CelebA-HQ, distilled from a MobileFaceNet trained on CASIA-WebFace; non-commercial research",
        }
        container.save(folder / "identity.safetensors", net.state_dict(), header)


def main(argv: Sequence[str] | None = None) -> None:
    """Let the teacher look at the zips."""
    parser = argparse.ArgumentParser(description=teach.__doc__)
    parser.add_argument("zips", nargs="+", type=Path)
    parser.add_argument("--yunet", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    a = parser.parse_args(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    teach(a.zips, a.yunet, a.teacher, a.out)


if __name__ == "__main__":
    main()
