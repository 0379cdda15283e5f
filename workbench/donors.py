"""Identities that belong to nobody, for de-identification: one per person, found again through a secret key."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from idswap.codes import mean_of_nearest, rotated
from workbench.devices import lock, plain
from workbench.errors import BadRequest
from workbench.swapping import Swapping

Mode = Literal["synthetic", "rotate", "k-same"]
MODES: tuple[Mode, ...] = ("synthetic", "rotate", "k-same")
TRIES = 64
ROUNDING = 64


@dataclass(frozen=True)
class DonorSettings:
    """How a donor is made.

    ``threshold``: highest cosine of a synthetic donor to any photo of the person; ``degrees``: how far "rotate" turns the
    identity; ``k`` and ``gallery``: how many of how many generated faces "k-same" averages; ``truncation`` of those drawn.
    """

    mode: Mode = "synthetic"
    threshold: float = 0.2
    degrees: float = 75.0
    k: int = 5
    gallery: int = 64
    truncation: float = 0.7

    def check(self) -> None:
        """Raises BadRequest when a number is out of range."""
        if self.mode not in MODES:
            raise BadRequest(f"There is no way '{self.mode}' to de-identify; there are: {', '.join(MODES)}.")
        if not -1 <= self.threshold <= 1:
            raise BadRequest(f"The threshold is a cosine between -1 and 1; {self.threshold:g} is not.")
        if not 0 <= self.degrees <= 180:
            raise BadRequest(f"An identity is turned by 0 to 180 degrees; {self.degrees:g} was asked for.")
        if not 2 <= self.k <= self.gallery:
            raise BadRequest(
                f"k-same averages at least two donors of its gallery; k is {self.k} and the gallery holds {self.gallery}."
            )


def grouped(embeddings: Sequence[Tensor], same: float, known: Sequence[Tensor] = ()) -> list[int]:
    """Number of the person of each unit row (D,): the nearest one so far with a cosine of at least ``same``, or a new one.

    ``known`` are the people of earlier calls; they have the first numbers.
    """
    sums = [row.clone() for row in known]
    people = []
    for row in embeddings:
        near = [float(F.normalize(total, dim=0) @ row) for total in sums]
        best = max(range(len(near)), key=near.__getitem__, default=-1)
        if best < 0 or near[best] < same:
            sums.append(row.clone())
            best = len(sums) - 1
        elif best >= len(known):
            sums[best] = sums[best] + row
        people.append(best)
    return people


def named(names: Sequence[str]) -> list[int]:
    """Number of the person of each file stem: those that are equal up to a number at the end show one, in order of appearance."""
    known: dict[str, int] = {}
    return [known.setdefault(re.sub(r"[\s_.-]*\d*$", "", name) or name, len(known)) for name in names]


def mean_row(rows: Sequence[Tensor]) -> Tensor:
    """Unit mean (D,) of unit rows (D,)."""
    return F.normalize(torch.stack(list(rows)).mean(0), dim=0)


def keyed_seed(key: bytes, mean: Tensor) -> int:
    """A 63-bit number that only ``key`` leads to: HMAC-SHA256 of the person's rounded mean embedding (D,)."""
    rounded = (mean.float() * ROUNDING).round().to(torch.int8).numpy().tobytes()
    return int.from_bytes(hmac.new(key, rounded, hashlib.sha256).digest()[:8], "big") >> 1


class Donors:
    """Makes donors' identity codes (1,i) for the method ``name``."""

    def __init__(self, swapping: Swapping, name: str, settings: DonorSettings) -> None:
        settings.check()
        self.swapping, self.name, self.settings = swapping, name, settings

    def donor(self, seed: int, embeddings: Sequence[Tensor], own: Sequence[Tensor]) -> Tensor:
        """The donor of one person from the ``embeddings`` (D,) and the method's identity codes ``own`` (i,) of its photos.

        Raises BadRequest when no synthetic donor is unlike enough.
        """
        if self.settings.mode == "rotate":
            return rotated(mean_row(own)[None], self.settings.degrees, seed)
        draw = torch.Generator().manual_seed(seed)
        if self.settings.mode == "k-same":
            gallery = torch.cat([self._drawn(draw)[0] for _ in range(self.settings.gallery)])
            return mean_of_nearest(mean_row(own)[None], gallery, self.settings.k)
        nearest = 2.0
        for _ in range(TRIES):
            code, embedding = self._drawn(draw)
            alike = max(float(row @ embedding) for row in embeddings)
            if alike <= self.settings.threshold:
                return code
            nearest = min(nearest, alike)
        raise BadRequest(
            f"None of {TRIES} generated faces is below the similarity {self.settings.threshold:g} to this person (the least "
            f"was {nearest:.3f}); raise the threshold."
        )

    def _drawn(self, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """A generated face: the method's identity code (1,i) and the recogniser's embedding (D,)."""
        engine, method = self.swapping.engine, self.swapping.method(self.name)
        generator, mean = engine.store.generator(), engine.store.latent_avg()
        z = torch.randn(1, generator.style_dim, generator=draw)

        @torch.inference_mode()
        def make() -> tuple[Tensor, Tensor]:
            w = generator.map(z.to(engine.device))
            code = (mean + self.settings.truncation * (w - mean))[None]
            image = method.synth(code).clamp(-1, 1)
            return method.encode_id(image), image[0]

        with lock(engine.device):
            identity, image = (plain(t) for t in make())
        return identity, engine.embedding(image)
