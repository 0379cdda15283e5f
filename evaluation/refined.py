"""Measure the refined projection against the encoder's on validation faces.

    python -m evaluation.refined --faces FOLDER --identity-weights FILE --yunet FILE --count 40 --steps 60 100

Identity is read by MobileFaceNet, which neither projection optimises; the family's own recogniser, which the refinement looks
through, is given beside it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.datasets import files_of, load_faces
from evaluation import metrics
from evaluation.family import IdentityJudge
from workbench.engine import Engine
from workbench.face import Photo, to_uint8


def main(argv: Sequence[str] | None = None) -> None:
    """Print one JSON line per way of projecting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder with the validation zip and labels")
    parser.add_argument("--identity-weights", type=Path, required=True, help="MobileFaceNet")
    parser.add_argument("--yunet", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--steps", type=int, nargs="+", default=[60])
    parser.add_argument("--family", default="starter")
    parser.add_argument("--device", default="cpu")
    a = parser.parse_args(argv)
    engine, judge = Engine(a.family, a.device), IdentityJudge(a.identity_weights, a.yunet)
    faces = load_faces(*files_of(a.faces, "val"), engine.size)
    for steps in (0, *a.steps):
        rows = []
        for number in range(min(a.count, len(faces))):
            aligned = engine.use_aligned(Photo(faces.images[number], f"validation face {number}"))
            face = engine.project(aligned, "refined", steps=steps) if steps else engine.project(aligned)
            five = judge.points(to_uint8(face.target))
            known, seen = judge.embed(face.target[None], [five]), judge.embed(face.image[None], [five])
            distance = metrics.l2(face.target[None], face.image[None])
            alike = metrics.ms_ssim(face.target[None], face.image[None])
            rows.append([float((known * seen).sum()), face.identity, float(distance), float(alike), face.seconds])
        mean = np.mean(rows, axis=0)
        names = ("identity", "identity_own", "l2", "ms_ssim", "seconds")
        line = {"steps": steps, "count": len(rows), "resolution": engine.size}
        print(json.dumps(line | {n: round(float(v), 4) for n, v in zip(names, mean, strict=True)}), flush=True)


if __name__ == "__main__":
    main()
