"""Interpolation: from one attribute picture to another under one identity, or from one identity to another."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from idswap.codes import mixed
from idswap.swap import Codes
from workbench.errors import BadImage, BadRequest
from workbench.face import AlignedFace, to_uint8
from workbench.swapping import Swapping

Space = Literal["z", "w"]
Moves = Literal["identity", "attributes"]
MOST_FRAMES = 1000
WORDS = {
    "id": "identity",
    "identity": "identity",
    "attr": "attributes",
    "attribute": "attributes",
    "attributes": "attributes",
}


@dataclass(frozen=True)
class Triple:
    """What is held (``kept``) and what is travelled from ``start`` to ``end``; ``moves`` names the latter's kind."""

    moves: Moves
    kept: Path
    start: Path
    end: Path


def triple(paths: Sequence[Path]) -> Triple:
    """Read the roles of three pictures off their names: words "id" and "attr", two of one and one of the other.

    The two are taken in the order of their names. Raises BadImage.
    """
    roles: dict[str, list[Path]] = {"identity": [], "attributes": []}
    for path in sorted(paths):
        found = {WORDS[word] for word in re.findall(r"[a-z]+", path.stem.lower()) if word in WORDS}
        if len(found) != 1:
            raise BadImage(f"'{path}' says neither 'id' nor 'attr' in its name, or both; rename it.")
        roles[found.pop()].append(path)
    counts = len(roles["identity"]), len(roles["attributes"])
    if counts == (1, 2):
        return Triple("attributes", roles["identity"][0], *roles["attributes"])
    if counts == (2, 1):
        return Triple("identity", roles["attributes"][0], *roles["identity"])
    where = paths[0].parent if paths else "the folder"
    raise BadImage(
        f"'{where}' holds {counts[0]} 'id' and {counts[1]} 'attr' pictures; an interpolation needs two of one and one of "
        "the other."
    )


def positions(frames: int) -> list[float]:
    """``frames`` numbers from 0 to 1, both included. Raises BadRequest."""
    if not 2 <= frames <= MOST_FRAMES:
        raise BadRequest(
            f"An interpolation has 2 to {MOST_FRAMES} frames, both ends included; {frames} were asked for."
        )
    return [at / (frames - 1) for at in range(frames)]


def along(
    swapping: Swapping, name: str, moves: Moves, kept: Codes, start: Codes, end: Codes, frames: int, space: Space = "z"
) -> list[Tensor]:
    """W+ codes (L,D) of every frame; the first and the last are the plain swaps.

    In "z" identities follow the sphere, as do attribute codes where the method has them of unit length; in "w" the mapped
    codes are mixed straight, as the published default does.
    """
    unit = True if moves == "identity" else swapping.method(name).unit_attributes

    def swapped(moving: Codes) -> Tensor:
        return swapping.mapped(name, *((moving, kept) if moves == "identity" else (kept, moving)))

    at = positions(frames)
    if space == "w":
        first, last = swapped(start), swapped(end)
        return [mixed(first, last, t, unit=False) for t in at]

    def between(t: float) -> Codes:
        return Codes(
            mixed(start.identity, end.identity, t, unit=True), mixed(start.attributes, end.attributes, t, unit=unit)
        )

    return [swapped(between(t)) for t in at]


def shown(swapping: Swapping, picture: Tensor, moves: Moves, kept: AlignedFace, crop: bool) -> np.ndarray:
    """Pixels (H,W,3) of a frame: in the attribute photo when there is one for all frames, else the face alone."""
    if crop or moves == "attributes":
        return to_uint8(picture)
    return swapping.pasted(kept, picture)
