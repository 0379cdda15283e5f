"""From which identity and distance on the app warns that a projection is poor: the worst twentieth of validation faces.

    python -m evaluation.warning_levels --faces FOLDER --count 150

The two numbers go to ``low_identity`` and ``high_l2`` of the family in ``data/weights.toml``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data.datasets import files_of, load_faces
from evaluation import metrics
from workbench.engine import Engine
from workbench.face import Photo


def main(argv: Sequence[str] | None = None) -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder with the validation zip and labels")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--family", default="starter")
    a = parser.parse_args(argv)
    engine = Engine(a.family)
    faces = load_faces(*files_of(a.faces, "val"), engine.size)
    identity, distance = [], []
    for number in np.unique(np.linspace(0, len(faces) - 1, a.count).astype(int)):
        face = engine.project(engine.use_aligned(Photo(faces.images[number], f"validation face {number}")))
        identity.append(face.identity)
        distance.append(float(metrics.l2(face.target[None], face.image[None])))
    line = {
        "count": len(identity),
        "mean_identity": float(np.mean(identity)),
        "low_identity": float(np.quantile(identity, 0.05)),
        "high_l2": float(np.quantile(distance, 0.95)),
    }
    print(json.dumps({name: round(value, 4) for name, value in line.items()}))


if __name__ == "__main__":
    main()
