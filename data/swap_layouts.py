"""Where the published identity-swapping code keeps its generated training sets: file names by index, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PER_FOLDER = 1000
EVALUATION = 10_000
"""Pictures of Zhou's evaluation set: pair i is (picture i, picture 9999 - i)."""


@dataclass(frozen=True)
class Layout:
    """One folder layout: ``name``, patterns with the fields index, folder and (Nitzan) size.

    ``padded``: five digits, a folder is named by its first index; else plain numbers and a folder's name is index // 1000.
    ``broadcast``: a w file holds all rows, (L,512), else one, (512,). ``mirrored``: each picture is written a second time, as
    picture N - 1 - i. ``truncation`` towards the mean on the first ``truncated_rows`` rows (None: all) as published.
    """

    name: str
    image: str
    w: str
    padded: bool
    broadcast: bool
    truncation: float
    truncated_rows: int | None = None
    mirrored: str | None = None

    def path(self, pattern: str, index: int, size: int) -> str:
        """``pattern`` filled for one index at ``size`` px."""
        if self.padded:
            return pattern.format(size=size, folder=f"{index - index % PER_FOLDER:05d}", index=f"{index:05d}")
        return pattern.format(size=size, folder=index // PER_FOLDER, index=index)

    def image_of(self, index: int, size: int) -> str:
        """Picture ``index``."""
        return self.path(self.image, index, size)

    def w_of(self, index: int, size: int) -> str:
        """Latent of picture ``index``."""
        return self.path(self.w, index, size)

    def images_of(self, index: int, size: int, count: int) -> tuple[str, ...]:
        """All places of picture ``index`` of ``count``: one, or two where the set is written in both orders."""
        places = [self.image_of(index, size)]
        if self.mirrored:
            places.append(self.path(self.mirrored, count - 1 - index, size))
        return tuple(places)


NITZAN = Layout(
    "nitzan",
    "dataset_{size}/images/{folder}/{index}.png",
    "dataset_{size}/ws/{folder}/{index}.npy",
    padded=True,
    broadcast=True,
    truncation=0.7,
    truncated_rows=8,
)
ROICH = Layout(
    "roich",
    "fake/small_image/{folder}/{index}.png",
    "fake/small_w/{folder}/{index}.npy",
    padded=False,
    broadcast=False,
    truncation=0.5,
)
YUGONG = Layout("yugong", ROICH.image, ROICH.w, padded=False, broadcast=False, truncation=0.5)
YUGONG_EVALUATION = Layout(
    "yugong-evaluation",
    "data/eval_10000/id_small_image/{folder}/{index}.png",
    "data/eval_10000/small_w/{folder}/{index}.npy",
    padded=False,
    broadcast=False,
    truncation=0.5,
    mirrored="data/eval_10000/attr_small_image/{folder}/{index}.png",
)
LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in (NITZAN, ROICH, YUGONG, YUGONG_EVALUATION)}
REAL = "real/{folder}/{index}.png"
"""Real pictures for tests, beside Nitzan's generated ones; the same digits."""


def real_of(index: int) -> str:
    """Real picture ``index`` in Nitzan's layout."""
    return NITZAN.path(REAL, index, 0)


def indices(root: Path, layout: Layout, size: int) -> list[int]:
    """Indices of which both picture and w are there, in numeric order; other files and half-written ones are passed over."""
    pattern = re.compile(r"\d+")
    folder = root / Path(layout.w_of(0, size)).parents[1]
    found = (int(path.stem) for path in folder.glob("*/*.npy") if pattern.fullmatch(path.stem))
    return sorted(
        i for i in found if (root / layout.w_of(i, size)).is_file() and (root / layout.image_of(i, size)).is_file()
    )


def sizes(root: Path) -> Sequence[int]:
    """Sides in pixels of the sets in Nitzan's layout below ``root``."""
    found = (re.fullmatch(r"dataset_(\d+)", path.name) for path in root.glob("dataset_*"))
    return sorted(int(match.group(1)) for match in found if match)


def split(found: Sequence[int], train: int = 70_000) -> tuple[list[int], list[int]]:
    """Nitzan's split: indices below ``train`` train, the rest validate; without a rest all do both."""
    kept, rest = [i for i in found if i < train], [i for i in found if i >= train]
    return kept, rest or kept
