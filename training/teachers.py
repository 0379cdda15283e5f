"""Labels for the detector and the landmark network: two public networks, each asked about several views of a photo.

One run of YuNet moves its points by about 6 % of the eye distance when the photo is mirrored or resized, PFLD by 4 %;
the mean over views is what a network can learn. Build time only, the teachers are never shipped.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from encoders.landmarks import FLIP5, FLIP68
from workbench.errors import BadImage

PFLD_VIEWS = ((1.1, 0.0, 0.0, 0.0), (1.2, 0.02, 0.02, 5.0), (1.05, -0.03, 0.0, -5.0))


def person(name: str) -> str:
    """Person in an LFW file name: ``Aaron_Sorkin_0001.webp`` -> ``Aaron_Sorkin``."""
    return re.sub(r"_\d+\.\w+$", "", name.rsplit("/", 1)[-1])


def held_out(name: str) -> bool:
    """Whether an LFW photo is kept from training: a fifth of the people, by a hash of the name."""
    return int(hashlib.sha256(person(name).encode()).hexdigest(), 16) % 5 == 0


def decode(data: bytes) -> np.ndarray:
    """Compressed bytes to (H,W,3) uint8 RGB."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise BadImage("A picture of the archive is damaged; fetch the archive again.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def photos(archive: Path, first: int = 0, count: int | None = None) -> Iterator[tuple[str, bytes]]:
    """Names and compressed bytes of the pictures of a zip, in name order."""
    with zipfile.ZipFile(archive) as file:
        names = sorted(n for n in file.namelist() if n.lower().endswith((".webp", ".jpg", ".png")))
        for name in names[first : None if count is None else first + count]:
            yield name, file.read(name)


@dataclass(frozen=True, eq=False)
class Label:
    """One labelled face in pixels: ``box`` (4,) XYXY, ``points5`` (5,2), ``points68`` (68,2) or NaN, and how sure."""

    box: np.ndarray
    points5: np.ndarray
    points68: np.ndarray
    score: float
    agreement: float


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of ``box`` (4,) with ``boxes`` (N,4), XYXY."""
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:4], boxes[:, 2:4])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    return shared / (np.prod(box[2:4] - box[:2]) + np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1) - shared + 1e-9)


class Teachers:
    """YuNet and PFLD, read from their ONNX files."""

    def __init__(self, yunet: Path, pfld: Path | None = None, threshold: float = 0.6) -> None:
        self.yunet = cv2.FaceDetectorYN.create(str(yunet), "", (320, 320), threshold, 0.3, 500)
        self.pfld = cv2.dnn.readNet(str(pfld)) if pfld else None

    def detect(self, image: np.ndarray, scale: float = 1.0, flip: bool = False) -> np.ndarray:
        """One run of YuNet on ``image`` (H,W,3) uint8 RGB: (N,15) box XYXY, 5 points, score, in pixels of ``image``."""
        method = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
        view = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=method)
        view = cv2.cvtColor(view[:, ::-1] if flip else view, cv2.COLOR_RGB2BGR)
        self.yunet.setInputSize((view.shape[1], view.shape[0]))
        found = self.yunet.detect(np.ascontiguousarray(view))[1]
        if found is None:
            return np.zeros((0, 15))
        found = found.astype(np.float64)
        found[:, 2:4] += found[:, :2]
        if flip:
            found[:, 0:14:2] = view.shape[1] - found[:, 0:14:2]
            found[:, [0, 2]] = found[:, [2, 0]]
            found[:, 4:14] = found[:, 4:14].reshape(-1, 5, 2)[:, FLIP5].reshape(-1, 10)
        found[:, :14] /= scale
        return found

    def landmarks(self, image: np.ndarray, box: np.ndarray) -> np.ndarray:
        """(68,2) points in pixels: the mean of PFLD over three crops of ``box`` and their mirror images."""
        if self.pfld is None:
            raise ValueError("no PFLD file was given")
        centre, side = (box[:2] + box[2:4]) / 2, float(np.max(box[2:4] - box[:2]))
        total = np.zeros((68, 2))
        for widen, dx, dy, angle in PFLD_VIEWS:
            place = centre + side * widen * np.array([dx, dy])
            matrix = cv2.getRotationMatrix2D((float(place[0]), float(place[1])), angle, 112 / (side * widen))
            matrix[:, 2] += 56 - place
            crop = cv2.warpAffine(image, matrix, (112, 112), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            back = cv2.invertAffineTransform(matrix)
            for flip in (False, True):
                view = np.ascontiguousarray(crop[:, ::-1]) if flip else crop
                self.pfld.setInput(cv2.dnn.blobFromImage(view, 1 / 255.0))
                points = self.pfld.forward().reshape(68, 2) * 112.0
                if flip:
                    points[:, 0] = 112 - points[:, 0]
                    points = points[FLIP68]
                total += points @ back[:, :2].T + back[:, 2]
        return total / (2 * len(PFLD_VIEWS))

    def label(self, image: np.ndarray, scales: tuple[float, ...]) -> list[Label]:
        """All faces on which at least a quarter of the views agree, largest first."""
        views = [self.detect(image, s, f) for s in scales for f in (False, True)]
        found = np.concatenate(views)
        found = found[np.argsort(-found[:, 14])]
        labels = []
        while len(found):
            same = overlap(found[0], found) > 0.4
            group, found = found[same], found[~same]
            agreement = len(group) / len(views)
            if agreement < 0.25:
                continue
            mean = group.mean(0)
            points = np.full((68, 2), np.nan)
            if self.pfld is not None and agreement >= 0.5 and np.linalg.norm(mean[4:6] - mean[6:8]) >= 8:
                points = self.landmarks(image, mean[:4])
            labels.append(Label(mean[:4], mean[4:14].reshape(5, 2), points, float(mean[14]), min(agreement, 1.0)))
        return sorted(labels, key=lambda k: -float(np.prod(k.box[2:] - k.box[:2])))


def write(path: Path, names: list[str], labels: list[list[Label]]) -> None:
    """Keep labels of many photos in one npz; ``owner`` says which photo a row belongs to."""
    rows = [(i, k) for i, group in enumerate(labels) for k in group]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        path,
        names=np.array(names),
        owner=np.array([i for i, _ in rows], np.int32),
        box=np.array([k.box for _, k in rows], np.float32).reshape(-1, 4),
        points5=np.array([k.points5 for _, k in rows], np.float32).reshape(-1, 5, 2),
        points68=np.array([k.points68 for _, k in rows], np.float32).reshape(-1, 68, 2),
        score=np.array([k.score for _, k in rows], np.float32),
        agreement=np.array([k.agreement for _, k in rows], np.float32),
    )


def main(argv: list[str] | None = None) -> None:
    """Label the photos of one zip."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--yunet", type=Path, required=True)
    parser.add_argument("--pfld", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="npz to write")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 1.7, 2.5])
    parser.add_argument("--count", type=int)
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    teachers, start = Teachers(options.yunet, options.pfld), time.time()
    names: list[str] = []
    labels: list[list[Label]] = []
    for name, data in photos(options.photos, count=options.count):
        names.append(name)
        labels.append(teachers.label(decode(data), tuple(options.scales)))
        if len(names) % 200 == 0:
            print(f"{len(names)} photos, {sum(map(len, labels))} faces, {time.time() - start:.0f} s", flush=True)
    write(options.out, names, labels)


if __name__ == "__main__":
    main()
