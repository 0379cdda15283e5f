"""Every identity on every attribute picture, in memory: one encoding per picture, one rendering per combination."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.contact import ContactSheet
from workbench.editor import Cancel, Progress, never, quiet
from workbench.errors import BadRequest, Cancelled
from workbench.face import Face, to_uint8
from workbench.swap_studio import Studio, SwapOrder

MOST = 8
"""Pictures on either side of a sheet that is made while somebody waits."""


@dataclass(frozen=True, eq=False)
class SwapSheet:
    """``pixels`` (H,W,3) uint8: first row the identities, first column the attribute pictures. ``to_identity`` and
    ``to_attributes`` are means of the recogniser's cosines over all combinations."""

    pixels: np.ndarray
    identities: int
    attributes: int
    to_identity: float
    to_attributes: float


def swap_sheet(
    studio: Studio,
    order: SwapOrder,
    identities: Sequence[Face],
    attributes: Sequence[Face],
    progress: Progress = quiet,
    cancel: Cancel = never,
) -> SwapSheet:
    """Make the sheet. Raises BadRequest for an empty or too long side, and Cancelled within one rendering."""
    for what, faces in (("identity", identities), ("attribute", attributes)):
        if not 1 <= len(faces) <= MOST:
            raise BadRequest(f"A sheet has 1 to {MOST} {what} pictures; {len(faces)} were given.")
    engine = studio.engine
    table = ContactSheet(len(attributes) + 1, len(identities) + 1, engine.size)
    progress(0.0, f"reading {len(identities)} + {len(attributes)} pictures")
    studio.codes(order.method, identities)
    studio.codes(order.method, attributes)
    for column, who in enumerate(identities):
        table.put(0, column + 1, to_uint8(who.target))
    total, done = len(identities) * len(attributes), 0
    ours, theirs = 0.0, 0.0
    for row, what in enumerate(attributes):
        table.put(row + 1, 0, to_uint8(what.target))
        for column, who in enumerate(identities):
            if cancel():
                raise Cancelled("The sheet was cancelled.")
            picture = studio.face(order, what, studio.swap(order, who, what))
            table.put(row + 1, column + 1, to_uint8(picture))
            ours += engine.identity(picture, who.target)
            theirs += engine.identity(picture, what.target)
            done += 1
            progress(done / total, f"picture {done} of {total}")
    return SwapSheet(table.pixels, len(identities), len(attributes), ours / total, theirs / total)
