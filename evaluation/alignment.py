"""Measure the starter detector and landmarks on LFW photos of people kept from training.

    python -m evaluation.alignment --photos lfw.zip --teacher yunet.onnx --json

Three numbers: how often the face is found where YuNet finds it, the mean distance of the five points as a part of the
eye distance, and faces per 100 photos that no view of YuNet confirms. Points are compared with the mean of YuNet over
several sizes of the photo and its mirror image (``points_error``) and with one run of it (``points_error_single``);
how far that one run is from its own mean is ``teacher_spread``, the floor of the second number.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from data import container
from encoders.detector import FaceDetector
from encoders.landmarks import LandmarkNet
from training.teachers import Teachers, decode, held_out, overlap, photos
from workbench.align import Backend, StarterBackend
from workbench.face import Detection

SCALES = (1.0, 1.7, 2.5)
STARTER = Path(__file__).resolve().parent.parent / "data" / "starter"


@dataclass(frozen=True)
class Report:
    """Counts and means over ``photos`` photos; errors are parts of the eye distance."""

    photos: int
    teacher_faces: int
    found: float
    points_error: float
    points_error_single: float
    teacher_spread: float
    false_per_100: float
    milliseconds: float


def starter_backend(folder: Path = STARTER, device: str = "cpu") -> StarterBackend:
    """The networks of ``folder`` as a backend. Raises MissingWeights or BadCheckpoint."""
    state, header = container.load(folder / "detector.safetensors")
    detector = FaceDetector(**header["arch"])
    detector.load_state_dict(state)
    state, header = container.load(folder / "landmarks.safetensors")
    landmarks = LandmarkNet(**header["arch"])
    landmarks.load_state_dict(state)
    return StarterBackend(detector, landmarks, device)


def largest(rows: np.ndarray) -> np.ndarray:
    """The row (15,) with the largest box."""
    return rows[np.argmax(np.prod(rows[:, 2:4] - rows[:, :2], axis=1))]


def measure(backend: Backend, teachers: Teachers, names: Sequence[tuple[str, bytes]]) -> Report:
    """Compare ``backend`` with the teacher on compressed photos; the teacher's largest face is the one asked for."""
    hits, false, seconds, asked = 0, 0, 0.0, 0
    errors, single, spread = [], [], []
    for _, data in names:
        image = decode(data)
        start = time.perf_counter()
        found = list(backend.detect(image))
        seconds += time.perf_counter() - start
        views = [teachers.detect(image, s, f) for s in SCALES for f in (False, True)]
        false += count_false(found, views)
        if not len(views[0]):
            continue
        asked += 1
        wanted = largest(views[0])
        same = [v[overlap(wanted, v) > 0.4] for v in views if len(v)]
        mean = np.mean([v[0] for v in same if len(v)], axis=0)
        mine = matching(found, mean)
        if mine is None:
            continue
        hits += 1
        truth, once = mean[4:14].reshape(5, 2), wanted[4:14].reshape(5, 2)
        eyes = max(float(np.hypot(*(truth[1] - truth[0]))), 1.0)
        errors.append(np.hypot(*(mine.points5 - truth).T).mean() / eyes)
        single.append(np.hypot(*(mine.points5 - once).T).mean() / eyes)
        spread.append(np.hypot(*(once - truth).T).mean() / eyes)
    many = max(len(names), 1)
    error, once, wide = (float(np.mean(x)) if x else float("nan") for x in (errors, single, spread))
    return Report(many, asked, hits / max(asked, 1), error, once, wide, 100 * false / many, 1000 * seconds / many)


def matching(found: Sequence[Detection], row: np.ndarray) -> Detection | None:
    """The detection that overlaps ``row`` (XYXY first) best, at least 0.4, or None."""
    if not found:
        return None
    scores = overlap(row, np.array([d.box for d in found]))
    return found[int(np.argmax(scores))] if scores.max() >= 0.4 else None


def count_false(found: Sequence[Detection], views: Sequence[np.ndarray]) -> int:
    """Detections that overlap nothing any view of the teacher shows."""
    rows = np.concatenate(views)
    return sum(1 for d in found if not len(rows) or overlap(np.array(d.box), rows).max() < 0.3)


def main(argv: list[str] | None = None) -> None:
    """Measure the starter detector and landmark network on held-out photos."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="zip of LFW photos")
    parser.add_argument("--teacher", type=Path, required=True, help="YuNet's ONNX file")
    parser.add_argument("--weights", type=Path, default=STARTER)
    parser.add_argument("--count", type=int, help="only the first so many photos")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    chosen = [(n, d) for n, d in photos(options.photos) if held_out(n)][: options.count]
    report = measure(starter_backend(options.weights, options.device), Teachers(options.teacher), chosen)
    if options.json:
        print(json.dumps(asdict(report)))
    else:
        for name, value in asdict(report).items():
            print(f"{name:22} {value:.4g}")


if __name__ == "__main__":
    main()
