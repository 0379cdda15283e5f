"""Faces that an edit borrows from, under names that a request can carry.

``sample:2`` and ``random:7:0.70`` mean the same face wherever the family of weights is the same. ``photo:HASH`` is a picture of this
session: its name says nothing about it, and a file that carries it is of use only to somebody who has the picture, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from workbench.cache import LRU
from workbench.errors import BadRequest
from workbench.face import AlignedFace, Face, content_hash, to_tensor

KEPT = 64
GONE = "The face that this step borrows from is no longer in memory; choose the reference again."


def sample(number: int) -> str:
    """Name of the sample face ``number``, 1 for the first."""
    return f"sample:{number}"


def random(seed: int, truncation: float = 0.7) -> str:
    """Name of a random face."""
    return f"random:{seed}:{truncation:.2f}"


class References:
    """Finds the picture behind a name. ``samples`` and ``generate`` make generated faces; photos are lent. Thread-safe."""

    def __init__(self, samples: Callable[[], Sequence[Face]], generate: Callable[[int, float], Face]) -> None:
        self._samples, self._generate = samples, generate
        self._lent: LRU[Tensor] = LRU(KEPT)

    def lend(self, aligned: AlignedFace) -> str:
        """Keep ``aligned`` as a reference; returns its name, the same for the same picture."""
        name = "photo:" + content_hash(aligned.image)[:16]
        self._lent.get(name, lambda: to_tensor(aligned.image))
        return name

    def find(self, name: str) -> Tensor:
        """The face (3,S,S) in [-1, 1] called ``name``. Raises BadRequest when there is none, or no longer."""
        kind, _, rest = name.partition(":")
        lent = self._lent.peek(name)
        if lent is not None:
            return lent
        try:
            if kind == "sample":
                return self._samples()[int(rest) - 1 if int(rest) > 0 else len(self._samples())].target
            if kind == "random":
                seed, _, truncation = rest.partition(":")
                return self._generate(int(seed), float(truncation or 0.7)).target
        except (ValueError, IndexError) as error:
            raise BadRequest(f"There is no reference face called '{name}'; choose one.") from error
        raise BadRequest(GONE if kind == "photo" else f"There is no reference face called '{name}'; choose one.")

    def clear(self) -> None:
        """Forget the photos."""
        self._lent.clear()
