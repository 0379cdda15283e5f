"""Measure a family the same way every time: projection of validation faces, then edits over strengths, by the judges.

Judges never took part in training: the judge classifier (another shape, resolution and seed) reads attributes, and
MobileFaceNet reads identity where its weights are given (they are not shipped).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from data import container
from data.datasets import FaceSet, files_of, load_faces
from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.compact import AttributeNet, CompactE4E
from encoders.mobilefacenet import MobileFaceNet, face_crop
from evaluation import metrics
from sdflow.estimator import SemanticEstimator
from sdflow.model import ConditionalFlow
from stylegan2.generator import Generator
from training.files import load_network
from training.identity import largest_points, load_teacher
from workbench.face import to_uint8

STRENGTHS = (0.25, 0.5, 0.75, 1.0)


class IdentityJudge:
    """Cosines of MobileFaceNet between pictures aligned alike, by the five points of the real one."""

    def __init__(self, weights: Path, yunet: Path) -> None:
        self.net: MobileFaceNet = load_teacher(weights)
        self.detector = cv2.FaceDetectorYN.create(str(yunet), "", (256, 256))

    def points(self, image: np.ndarray) -> np.ndarray:
        """Five points (5,2) in pixels of ``image`` (S,S,3) uint8."""
        large = cv2.resize(image, (256, 256), interpolation=cv2.INTER_LINEAR)
        return largest_points(self.detector, large) * image.shape[0] / 256

    @torch.inference_mode()
    def embed(self, images: Tensor, points: Sequence[np.ndarray]) -> Tensor:
        """Unit rows (B,256) for pictures (B,3,S,S) in [-1, 1]."""
        crops = [face_crop(to_uint8(i), p) for i, p in zip(images, points, strict=True)]
        return self.net.embed(crops)


def render(generator: Generator, codes: Tensor) -> Tensor:
    """Pictures (B,3,S,S), clamped to [-1, 1]."""
    return generator.synthesis(codes).clamp(-1, 1)


def features(net: AttributeNet, images: Tensor) -> np.ndarray:
    """Pooled last features (B,D) of a classifier: the space of the Fréchet distance (it is not FID's)."""
    return net.features(images)[-1].mean([2, 3]).cpu().numpy()


@torch.inference_mode()
def measure(
    folder: Path, val: FaceSet, judge: AttributeNet, identity: IdentityJudge | None, edits: int, device: str = "cpu"
) -> dict[str, Any]:
    """Numbers of the family in ``folder``; ``edits`` validation faces are edited."""
    generator, header = load_network(Generator, folder / "generator.safetensors", device)
    projector, _ = load_network(CompactE4E, folder / "projector.safetensors", device)
    sums: dict[str, list[float]] = {n: [] for n in ("l1", "l2", "ssim", "ms_ssim", "identity")}
    real_features, fake_features, points, known = [], [], [], []
    for at in range(0, len(val), 50):
        photo = val.batch(np.arange(at, min(at + 50, len(val))), device=device)
        image = render(generator, projector(photo))
        sums["l1"] += (photo - image).abs().mean([1, 2, 3]).tolist()
        for name, function in (("l2", metrics.l2), ("ssim", metrics.ssim), ("ms_ssim", metrics.ms_ssim)):
            sums[name] += function(photo, image).tolist()
        real_features.append(features(judge, photo))
        if identity:
            five = [identity.points(to_uint8(p)) for p in photo]
            points += five
            known.append(identity.embed(photo, five))
            sums["identity"] += (known[-1] * identity.embed(image, five)).sum(1).tolist()
    draw = torch.Generator().manual_seed(0)
    state_center = load_center(folder)
    for _ in range(0, 1000, 50):
        z = torch.randn(50, generator.style_dim, generator=draw).to(device)
        codes = generator.codes(z, truncation=0.8, center=state_center.to(device))
        fake_features.append(features(judge, render(generator, codes)))
    report: dict[str, Any] = {"generator": header["id"], "faces": len(val), "resolution": generator.size}
    report |= {n: round(float(np.mean(v)), 4) for n, v in sums.items() if v}
    report["frechet_judge_truncation_0.8"] = round(
        metrics.frechet(np.concatenate(real_features), np.concatenate(fake_features)), 4
    )
    if (folder / "sdflow_flow.safetensors").is_file():
        report["edits"] = measure_edits(folder, val, judge, identity, points, edits, generator, projector, device)
    return report


def load_center(folder: Path) -> Tensor:
    """The mean latent (D,) stored with the generator."""
    return container.load(folder / "generator.safetensors")[0]["latent_avg"]


def measure_edits(
    folder: Path,
    val: FaceSet,
    judge: AttributeNet,
    identity: IdentityJudge | None,
    points: Sequence[np.ndarray],
    edits: int,
    generator: Generator,
    projector: CompactE4E,
    device: str,
) -> dict[str, Any]:
    """Flip every attribute of the first ``edits`` faces at every strength: success, identity to the projection, change of the other 39."""
    estimator, header = load_network(SemanticEstimator, folder / "sdflow_estimator.safetensors", device)
    flow, _ = load_network(ConditionalFlow, folder / "sdflow_flow.safetensors", device)
    names: Sequence[str] = header["attributes"]
    out: dict[str, Any] = {"faces": edits, "identity_reference": "projection"}
    rows: dict[tuple[str, float], list[np.ndarray]] = {}
    for at in range(0, edits, 50):
        index = np.arange(at, min(at + 50, edits))
        photo = val.batch(index, device=device)
        codes = projector(photo)
        base = render(generator, codes)
        read, seen = estimator(photo), torch.sigmoid(judge(base))
        there = flow(codes, read).x
        five = [points[int(i)] for i in index] if identity else []
        anchor = identity.embed(base, five) if identity else None
        for column, name in enumerate(names):
            at_judge = CELEBA_ATTRIBUTES.index(name)
            # The direction is away from what the judge sees in the projection.
            goal = torch.where(seen[:, at_judge] > 0.5, -0.2, 1.2)
            for strength in STRENGTHS:
                target = read.clone()
                target[:, column] += strength * (goal - read[:, column])
                image = render(generator, flow(there, target, reverse=True).x)
                after = torch.sigmoid(judge(image))
                success = (after[:, at_judge] > 0.5) != (seen[:, at_judge] > 0.5)
                others = [i for i in range(40) if i != at_judge]
                drift = (after[:, others] - seen[:, others]).abs().mean(1)
                kept = ((after[:, others] > 0.5) == (seen[:, others] > 0.5)).float().mean(1)
                same = (
                    (identity.embed(image, five) * anchor).sum(1)
                    if identity and anchor is not None
                    else torch.zeros(len(index))
                )
                table = torch.stack([success.float(), same.cpu(), drift, kept], 1).cpu().numpy()
                rows.setdefault((name, strength), []).append(table)
    for (name, strength), tables in rows.items():
        success, same, drift, kept = np.concatenate(tables).mean(0)
        entry = {"success": success, "identity": same, "others_change": drift, "others_kept": kept}
        out.setdefault(name, {})[str(strength)] = {k: round(float(v), 4) for k, v in entry.items()}
    return out


def main(argv: Sequence[str] | None = None) -> Mapping[str, Any]:
    """Print the report of a family as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--faces", type=Path, required=True, help="folder with the validation zip and labels")
    parser.add_argument("--judge", type=Path, required=True)
    parser.add_argument("--identity-weights", type=Path)
    parser.add_argument("--yunet", type=Path)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--edits", type=int, default=200)
    parser.add_argument("--cache", type=Path)
    a = parser.parse_args(argv)
    started = time.monotonic()
    _, header = load_network(Generator, a.folder / "generator.safetensors", "cpu")
    size = header["arch"]["size"]
    val = load_faces(*files_of(a.faces, "val"), size, a.cache)
    val = FaceSet(val.images[: a.count], val.labels[: a.count], val.names[: a.count])
    judge, _ = load_network(AttributeNet, a.judge, "cpu")
    identity = IdentityJudge(a.identity_weights, a.yunet) if a.identity_weights and a.yunet else None
    report = measure(a.folder, val, judge, identity, a.edits)
    report["seconds"] = round(time.monotonic() - started)
    print(json.dumps(report, indent=1))
    return report


if __name__ == "__main__":
    main()
