"""Measure a generator against photos, in the features of a judge network of ours: never called FID or PPL.

    python -m evaluation.generator data/starter/generator.safetensors --faces FOLDER --count 2000

Fréchet distance, precision and recall of random faces, and the length of short steps in W (Karras 2019, section 4.1).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from data import container
from data.datasets import files_of, load_faces
from encoders.compact import AttributeNet
from evaluation import metrics
from evaluation.features import Features, precision_recall
from stylegan2.generator import Generator
from training.files import load_network
from workbench.errors import BadCheckpoint

JUDGE = Path(__file__).resolve().parent.parent / "data" / "starter" / "judge.safetensors"
STEP = 1e-2
"""Of a path in W. The published 1e-4 is below what float32 pictures of our features resolve."""


def feature_network(path: Path | str, device: str = "cpu") -> Features:
    """The classifier in ``path`` as features, named by its file and id."""
    net, header = load_network(AttributeNet, Path(path), device)
    return Features(f"{Path(path).stem} {header['id']}", net)


class GeneratorJudge:
    """Photos ``reals`` (N,3,S,S) seen through ``features``, to compare generators with."""

    def __init__(self, features: Features, reals: Tensor) -> None:
        self.features = features
        with torch.inference_mode():
            self.reals = features.vectors(reals)

    @torch.inference_mode()
    def measure(
        self, generator: Generator, mean: Tensor, count: int, *, truncation: float = 1.0, seed: int = 2, batch: int = 32
    ) -> dict[str, float | int | str]:
        """Numbers for ``count`` random faces around ``mean`` (D,) of W. ``path_own`` is per unit of the step, squared."""
        draw, device = torch.Generator().manual_seed(seed), mean.device
        rows: list[Tensor] = []
        for at in range(0, count, batch):
            z = torch.randn(min(batch, count - at), generator.style_dim, generator=draw).to(device)
            image = generator(z, truncation=truncation, center=mean).float().clamp(-1, 1)
            rows.append(self.features.vectors(image))
        fakes = torch.cat(rows)
        precision, recall = precision_recall(self.reals, fakes)
        return {
            "fd_own": round(metrics.frechet(self.reals.double().numpy(), fakes.double().numpy()), 4),
            "precision_own": round(float(precision), 4),
            "recall_own": round(float(recall), 4),
            "path_own": round(self.path_length(generator, min(count, 500), batch, draw), 4),
            "count": count,
            "photos": len(self.reals),
            "truncation": truncation,
            "features": self.features.name,
        }

    def path_length(self, generator: Generator, count: int, batch: int, draw: torch.Generator) -> float:
        """Mean over paths between two random w of the feature distance of two near points, over STEP squared."""
        device, total = generator.input.get_parameter("input").device, 0.0
        for at in range(0, count, batch):
            many = min(batch, count - at)
            start, end = (
                generator.map(torch.randn(many, generator.style_dim, generator=draw).to(device)) for _ in "ab"
            )
            place = torch.rand(many, 1, generator=draw).to(device)
            near = [torch.lerp(start, end, place + e) for e in (0.0, STEP)]
            pictures = [generator(w, latent=True).float().clamp(-1, 1) for w in near]
            total += float(self.features.distance(*pictures).sum()) / STEP**2
        return total / count


def main(argv: Sequence[str] | None = None) -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("generator", type=Path)
    parser.add_argument("--faces", type=Path, required=True, help="folder with the validation zip and labels")
    parser.add_argument("--judge", type=Path, default=JUDGE)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--truncation", type=float, default=1.0)
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args(argv)
    generator, header = load_network(Generator, a.generator, a.device)
    mean = container.load(a.generator)[0].get("latent_avg")
    if mean is None:
        raise BadCheckpoint(f"'{a.generator}' holds no mean latent ('latent_avg'); copy it again.")
    photos = load_faces(*files_of(a.faces, "val"), generator.size)
    reals = torch.cat(
        [photos.batch(part, device=a.device) for part in torch.arange(len(photos)).numpy().reshape(-1, 100)]
    )
    judge = GeneratorJudge(feature_network(a.judge, a.device), reals)
    found = judge.measure(
        generator, mean.to(a.device).reshape(-1, generator.style_dim)[0], a.count, truncation=a.truncation
    )
    print(json.dumps({"generator": header["id"], "size": generator.size, **found}))


if __name__ == "__main__":
    main()
