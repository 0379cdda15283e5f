"""Faces with CelebA's 40 labels, read straight from stored zips and kept decoded as uint8."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from workbench.errors import BadImage


@dataclass(frozen=True, eq=False)
class FaceSet:
    """Decoded aligned faces: ``images`` (N,S,S,3) uint8, ``labels`` (N,40) uint8 in CelebA's order, ``names``."""

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: np.ndarray, flip: np.ndarray | None = None, device: str | torch.device = "cpu") -> Tensor:
        """Images at ``index`` as (B,3,S,S) float in [-1, 1]; ``flip`` (B,) bool mirrors left and right."""
        pixels = np.ascontiguousarray(self.images[index])
        if flip is not None and flip.any():
            pixels[flip] = pixels[flip, :, ::-1]
        tensor = torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2)
        return tensor.contiguous(memory_format=torch.channels_last).float().div_(127.5).sub_(1)


def read_labels(path: Path) -> dict[str, np.ndarray]:
    """{file name: (40,) uint8} from a CSV with a header: file name, then CelebA's 40 attributes as 0/1."""
    with path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return {row[0]: np.array(row[1:41], dtype=np.uint8) for row in rows}


def members(zips: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of every picture in ``zips``, in order. Raises BadImage when a zip is damaged."""
    for path in zips:
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.namelist():
                    if entry.lower().endswith((".webp", ".png", ".jpg", ".jpeg")):
                        yield entry, archive.read(entry)
        except (zipfile.BadZipFile, OSError) as error:
            raise BadImage(f"The data set '{path}' cannot be read ({error}).") from error


def load_faces(zips: Sequence[Path | str], labels: Path | str, size: int, cache: Path | str | None = None) -> FaceSet:
    """Decode all pictures of ``zips`` at ``size`` px (area filter); with ``cache`` the result is kept as .npy there.

    A picture without a row in ``labels`` is left out. Raises BadImage where a file is not there.
    """
    paths = [Path(z) for z in zips]
    for path in (*paths, Path(labels)):
        if not path.is_file():
            raise BadImage(f"The data set's file '{path}' is not there; name the folder that holds it.")
    kept, rows = labelled(paths, labels)
    key = hashlib.sha256("|".join(f"{p.name}:{p.stat().st_size}" for p in paths).encode()).hexdigest()[:12]
    stored = Path(cache) / f"faces-{size}-{key}.npy" if cache else None
    if stored and stored.is_file():
        return FaceSet(np.load(stored, mmap_mode="r"), rows, kept)
    images = np.empty((len(kept), size, size, 3), np.uint8)
    for at, picture in enumerate(pictures(paths, kept, range(len(kept)), size)):
        images[at] = picture
    if stored:
        keep(stored, images)
        return FaceSet(np.load(stored, mmap_mode="r"), rows, kept)
    return FaceSet(images, rows, kept)


def files_of(folder: Path, part: str) -> tuple[list[Path], Path]:
    """Zips and label file of the ``part`` ("train" or "val") of the data set in ``folder``. Raises BadImage where one is missing."""
    zips, labels = sorted(folder.glob(f"*{part}-[0-9]*.zip")), next(folder.glob(f"*{part}-attributes.csv"), None)
    if not zips or labels is None:
        raise BadImage(f"'{folder}' holds no '{part}' zip with its labels; name the folder that does.")
    return zips, labels


def keep(path: Path, array: np.ndarray) -> None:
    """Write ``path`` whole or not at all: other ranks of a run may be about to read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}-{os.getpid()}.part.npy")
    try:
        np.save(part, array)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def labelled(zips: Sequence[Path], labels: Path | str) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the pictures in ``zips`` that have a row in ``labels``, in order, and those rows (N,40) uint8."""
    table = read_labels(Path(labels))
    names = [name for path in zips for name in zipfile.ZipFile(path).namelist()]
    kept = [name for name in names if Path(name).name in table or name in table]
    rows = np.stack([table.get(name, table.get(Path(name).name, np.zeros(40, np.uint8))) for name in kept])
    return tuple(kept), rows


def pictures(zips: Sequence[Path], names: Sequence[str], index: Iterable[int], size: int) -> Iterator[np.ndarray]:
    """The pictures (size,size,3) uint8 at ``index`` of ``names``, those of ``zips`` that ``labelled`` gave, in order.

    One at a time, so that a few of many large ones need no memory for all.
    """
    known, wanted, at = set(names), set(index), 0
    for name, data in members(zips):
        if name not in known:
            continue
        at += 1
        if at - 1 not in wanted:
            continue
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        if picture.size != (size, size):
            whole = picture.width % size == 0
            picture = picture.resize((size, size), Image.Resampling.BOX if whole else Image.Resampling.LANCZOS)
        yield np.asarray(picture)
