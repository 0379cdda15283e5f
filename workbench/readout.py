"""What a face shows and what an edit changed: 40 attribute probabilities, identity, unintended changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workbench.face import Readout

UNINTENDED = 0.15
"""A probability that moves by more than this without being asked for is marked."""


@dataclass(frozen=True)
class Comparison:
    """Before against after.

    ``before``/``after``: readouts of the projection and of the edited picture. ``deltas``: after minus before, 40 names.
    ``identity``: cosine of the edited picture with the photo's crop; ``identity_kept``: with the projection, so 1 means
    that the edit itself cost nothing. ``unintended``: names that moved by more than UNINTENDED without being asked
    for, the largest change first. ``seconds``: what the reading cost.
    """

    before: Readout
    after: Readout
    deltas: Mapping[str, float]
    identity: float
    identity_kept: float
    unintended: tuple[str, ...]
    seconds: float
