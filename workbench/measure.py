"""What the judges of a family say of pictures: attributes, identity, and what an edit changed."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from workbench import readout as reading
from workbench.cache import LRU
from workbench.devices import lock
from workbench.face import Face, Readout, content_hash
from workbench.readout import Comparison
from workbench.weights import Store


class Measurer:
    """The attribute and identity networks of ``store`` on ``device``; what was read once is kept by content hash."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self._store, self._device = store, device
        self._reads: LRU[Readout] = LRU(128)
        self._embeddings: LRU[Tensor] = LRU(128)

    def readout(self, image: Tensor, key: str | None = None) -> Readout:
        """The 40 attribute probabilities of ``image`` (3,H,W) in [-1, 1]; ``key`` stands for the picture if given."""
        network = self._store.network("attributes")

        def run() -> Readout:
            with lock(self._device):
                return reading.read(network.module, image.clamp(-1, 1).to(self._device), network.id)

        return self._reads.get(key or content_hash(image), run)

    def embedding(self, image: Tensor, key: str | None = None) -> Tensor:
        """Unit identity vector (D,) of an FFHQ crop ``image`` (3,H,W) in [-1, 1]; ``key`` stands for the picture."""
        network = self._store.module("identity")

        def run() -> Tensor:
            with lock(self._device):
                return reading.embed(network, image.clamp(-1, 1).to(self._device))

        return self._embeddings.get(key or content_hash(image), run)

    def identity(self, a: Tensor, b: Tensor) -> float:
        """Cosine of the identities of two FFHQ crops (3,H,W)."""
        return float(self.embedding(a) @ self.embedding(b))

    def compare(self, face: Face, image: Tensor, asked: frozenset[str]) -> Comparison:
        """What changed from ``face.image`` to ``image`` (3,H,W); changes of the attributes in ``asked`` are intended."""
        started = time.perf_counter()
        # The face's hash stands for its two pictures, so that a slider move hashes one picture and not three.
        key, key_face = content_hash(image), face.hash
        before, after = self.readout(face.image, key_face), self.readout(image, key)
        vector = self.embedding(image, key)
        deltas = reading.differences(before, after)
        return Comparison(
            before,
            after,
            deltas,
            identity=float(vector @ self.embedding(face.target, key_face + "target")),
            identity_kept=float(vector @ self.embedding(face.image, key_face)),
            unintended=reading.unintended(deltas, asked),
            seconds=time.perf_counter() - started,
        )

    def clear(self) -> None:
        """Drop all that is kept."""
        self._reads.clear()
        self._embeddings.clear()
