"""Where a classifier's reading says that a face has an attribute: the balanced threshold of each, measured on labelled photos.

    python -m evaluation.thresholds --classifier data/starter/judge.safetensors --zip VAL.zip --labels VAL.csv

A classifier trained on rare attributes hardly ever gives them more than one half, not even to photos that have them, so that one half
measures the classifier more than an edit. At the balanced threshold as many photos with an attribute as without it are read
right. The thresholds are written into the header of the file; ``weights record`` then notes its new hash.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data import container
from data.datasets import load_faces
from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.compact import AttributeNet
from evaluation.lines import leave
from training.files import load_network

GRID = np.arange(0.01, 1.0, 0.01)
FEWEST = 20
"""Photos with and without an attribute below which nothing is said about it."""


def balanced(readings: np.ndarray, labels: np.ndarray) -> tuple[float, float] | None:
    """The threshold of ``readings`` (N,) at which as many of ``labels`` (N,) true as of the others are right, and that share.

    None where either kind is too rare to tell.
    """
    has = labels.astype(bool)
    if min(has.sum(), (~has).sum()) < FEWEST:
        return None
    found = (readings[has][None] > GRID[:, None]).mean(1)
    refused = (readings[~has][None] <= GRID[:, None]).mean(1)
    at = int(np.argmin(np.abs(found - refused)))
    return float(GRID[at].round(2)), float((found[at] + refused[at]) / 2)


@torch.inference_mode()
def measure(net: AttributeNet, photos: Any, count: int) -> Mapping[str, tuple[float, float]]:
    """Threshold and share right by attribute, on the first ``count`` of labelled ``photos`` (``data.datasets``)."""
    parts = np.array_split(np.arange(count), max(1, count // 50))
    readings = torch.cat([net(photos.batch(part).contiguous()).sigmoid() for part in parts]).numpy()
    found = {}
    for column, name in enumerate(CELEBA_ATTRIBUTES):
        told = balanced(readings[:, column], photos.labels[:count, column])
        if told is not None:
            found[name] = told
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", type=Path, required=True, metavar="FILE")
    parser.add_argument("--zip", type=Path, required=True, metavar="FILE", help="photos")
    parser.add_argument("--labels", type=Path, required=True, metavar="FILE", help="their 40 labels as CSV")
    parser.add_argument("--size", type=int, default=128, help="side at which they are read (default: 128)")
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="where decoded faces are kept")
    a = parser.parse_args(argv)
    net, header = load_network(AttributeNet, a.classifier)
    photos = load_faces([a.zip], a.labels, a.size, a.cache)
    found = measure(net, photos, len(photos))
    for name, (threshold, right) in found.items():
        print(f"{name:22} {threshold:.2f} {right:.2f}")
    state, _ = container.load(a.classifier)
    thresholds = {name: threshold for name, (threshold, _) in found.items()}
    right = {name: round(share, 3) for name, (_, share) in found.items()}
    told = {"thresholds": thresholds, "thresholds_of": len(photos), "right_at_thresholds": right}
    container.save(a.classifier, state, {**header, **told})
    return 0


if __name__ == "__main__":
    leave(main)
