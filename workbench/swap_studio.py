"""Swaps for a page that is drawn again and again: what was made once is kept, so that only what changed is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from idswap.swap import Codes, Strengths
from workbench import readout
from workbench.cache import LRU
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.errors import FacetError, MissingWeights
from workbench.export import Provenance, image_bytes
from workbench.face import Face, content_hash, to_tensor, to_uint8
from workbench.readout import Comparison
from workbench.swapping import METHODS, Base, Swapping, request_of

ENCODERS = {"nitzan": "nitzan_attributes", "zhou": "zhou_encoder"}


@dataclass(frozen=True)
class SwapOrder:
    """How to swap: ``method``, strength of the identity and of the attributes, and where to start from."""

    method: str
    identity: float = 1.0
    attributes: float = 1.0
    base: Base = "w"

    @property
    def strengths(self) -> Strengths:
        return Strengths(self.identity, self.attributes)

    @property
    def request(self) -> EditRequest:
        """What an export of this order carries."""
        return request_of(self.method, self.strengths, self.base)


@dataclass(frozen=True)
class Scores:
    """Cosines of the family's recogniser: of the result to either source, and between the sources."""

    to_identity: float
    to_attributes: float
    apart: float
    judge: str


class Studio:
    """Swaps of projected faces with one engine's networks. Safe to share between threads and visitors."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.swapping = Swapping(engine)
        self._results: LRU[EditResult] = LRU(64)
        self._photos: LRU[np.ndarray] = LRU(4)

    def trouble(self, method: str) -> str | None:
        """Why ``method`` cannot be used with this family, in a sentence; None when it can. Its networks are loaded now."""
        family = self.engine.store.family
        kinds = (ENCODERS[method], f"{method}_mapper")
        lacking = [kind for kind in kinds if kind not in family.records]
        if lacking:
            return f"The {family.name} family has no networks for {method}'s identity swapping ({', '.join(lacking)})."
        try:
            self.swapping.method(method)
        except MissingWeights as error:
            return str(error)
        except FacetError as error:
            return f"{method}'s networks cannot be used: {error}"
        return None

    def methods(self) -> tuple[str, ...]:
        """The methods that can be used."""
        return tuple(name for name in METHODS if self.trouble(name) is None)

    def swap(self, order: SwapOrder, identity: Face, attributes: Face) -> EditResult:
        """The identity of one face on the attributes of another, as ``order`` says. Raises what ``Swapping.swap`` does."""
        key = (order, self.engine.generator_id, identity.hash, attributes.hash)
        return self._results.get(
            key,
            lambda: self.swapping.swap(order.method, identity, attributes, order.strengths, base=order.base),
        )

    @staticmethod
    def face_of(result: EditResult) -> Tensor:
        """The result's own picture (3,S,S), as fine as a file holds it."""
        return to_tensor(to_uint8(result.image))

    def face(self, order: SwapOrder, attributes: Face, result: EditResult) -> Tensor:
        """What stands in the square of the attribute photo afterwards, (3,S,S) in [-1, 1] and as fine as a file holds it."""
        if order.base != "photo":
            return self.face_of(result)
        return to_tensor(to_uint8(attributes.target + result.image - attributes.image))

    def pixels(self, order: SwapOrder, attributes: Face, result: EditResult, *, crop: bool) -> np.ndarray:
        """The attribute photo (H,W,3) uint8 with the new face in it, or with ``crop`` the face (S,S,3) alone."""
        if crop:
            return to_uint8(self.face(order, attributes, result))
        key = content_hash(order, attributes.hash, attributes.aligned.photo.hash, result.image)
        return self._photos.get(key, lambda: self.swapping.place(attributes, result, base=order.base))

    def scores(self, picture: Tensor, identity: Face, attributes: Face) -> Scores:
        """How much the face ``picture`` (3,S,S) is either source, by the family's recogniser."""
        alike = self.engine.identity
        judge = self.engine.store.network("identity").id
        return Scores(
            alike(picture, identity.target),
            alike(picture, attributes.target),
            alike(identity.target, attributes.target),
            judge,
        )

    def compare(self, picture: Tensor, attributes: Face) -> Comparison:
        """The 40 readouts of the attribute photo and of the face ``picture`` (3,S,S)."""
        before, after = self.engine.readout(attributes.target), self.engine.readout(picture)
        deltas = readout.differences(before, after)
        alike = self.engine.identity(picture, attributes.target)
        kept = self.engine.identity(picture, attributes.image)
        return Comparison(before, after, deltas, alike, kept, readout.unintended(deltas, frozenset()), 0.0)

    def png(self, pixels: np.ndarray, request: EditRequest, method: str) -> bytes:
        """``pixels`` (H,W,3) uint8 as a PNG that carries the AI mark and ``request``."""
        return image_bytes(pixels, self.provenance(request, method))

    def provenance(self, request: EditRequest, method: str) -> Provenance:
        """What a file made by ``method`` for ``request`` says about itself."""
        return Provenance(request, self.engine.family, self.swapping.weights(method))

    def codes(self, method: str, faces: Sequence[Face]) -> list[Codes]:
        """The codes of ``faces``, one encoding for each that was not seen before."""
        return [self.swapping.codes(method, face) for face in faces]

    def forget(self) -> None:
        """Drop all that is kept of faces; the networks stay."""
        self.swapping.forget()
        self._results.clear()
        self._photos.clear()


def taken_from_identity(comparison: Comparison, identity: Comparison) -> list[str]:
    """Attributes that moved by more than a little, towards what the identity picture shows.

    ``comparison`` is of the attribute picture and the result, ``identity`` of the attribute picture and the identity one.
    """
    return [
        name
        for name in comparison.unintended
        if abs(identity.deltas[name]) > readout.UNINTENDED and identity.deltas[name] * comparison.deltas[name] > 0
    ]
