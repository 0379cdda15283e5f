"""Identity and attribute swapping on faces: the family's networks behind the common interface, codes kept per face."""

from __future__ import annotations

import time
from typing import Literal

import torch
from torch import Tensor

from idswap.models import CodeMapper
from idswap.swap import Codes, IdSwap, NitzanSwap, Strengths, ZhouSwap, anchored_codes, swap_codes
from workbench.cache import LRU
from workbench.devices import lock, plain
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.errors import BadCheckpoint, BadRequest
from workbench.face import Face

METHODS = ("nitzan", "zhou")
VERSION = "1"
KEPT = 256
Base = Literal["w", "photo"]


class Swapping:
    """Swaps for the faces of ``engine``. Every face is encoded once per method, whatever it is combined with."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._methods: dict[str, tuple[IdSwap, tuple[str, ...]]] = {}
        self._codes: LRU[Codes] = LRU(KEPT)

    def method(self, name: str) -> IdSwap:
        """The method ``name``. Raises BadRequest, MissingWeights, BadCheckpoint and WrongSpace."""
        return self._method(name)[0]

    def _method(self, name: str) -> tuple[IdSwap, tuple[str, ...]]:
        if name not in METHODS:
            raise BadRequest(f"There is no swapping method '{name}'; there are: {', '.join(METHODS)}.")
        if name not in self._methods:
            self._methods[name] = self._load(name)
        return self._methods[name]

    def _load(self, name: str) -> tuple[IdSwap, tuple[str, ...]]:
        store = self.engine.store
        kind = "nitzan_attributes" if name == "nitzan" else "zhou_encoder"
        encoder, mapper = store.network(kind), store.network(f"{name}_mapper")
        if mapper.header.get("encoder") != encoder.id:
            raise BadCheckpoint(
                f"The {name} mapper was trained with the encoder {mapper.header.get('encoder')} and the "
                f"{self.engine.family} family's is {encoder.id}; use files of one training."
            )
        assert isinstance(mapper.module, CodeMapper)  # the table of kinds says so
        ids = (store.generator_id, encoder.id, mapper.id)
        if name == "zhou":
            return ZhouSwap(store.generator(), encoder.module, mapper.module), ids
        identity = store.network("identity")
        if mapper.header.get("identity") != identity.id:
            raise BadCheckpoint(
                f"The {name} mapper was trained with the recogniser {mapper.header.get('identity')} and the "
                f"{self.engine.family} family's is {identity.id}; use files of one training."
            )
        return NitzanSwap(store.generator(), identity.module, encoder.module, mapper.module), (*ids, identity.id)

    def codes(self, name: str, face: Face) -> Codes:
        """Both codes of a face's own photo, read once."""
        method = self.method(name)

        @torch.inference_mode()
        def read() -> Codes:
            with lock(self.engine.device):
                found = method.encode(face.target[None].to(self.engine.device))
                return Codes(plain(found.identity), plain(found.attributes))

        return self._codes.get((name, face.aligned.hash), read)

    def swap(
        self, name: str, identity: Face, attributes: Face, strengths: Strengths | None = None, *, base: Base = "w"
    ) -> EditResult:
        """The identity of one face on the attributes of another.

        ``base`` "w" is the published method; "photo" starts from the attribute face's own projection and adds what the swap
        changes. Strength 0 for the identity gives, with "photo", the projection itself.
        """
        strengths = strengths or Strengths()
        for number in (strengths.identity, strengths.attributes):
            if not -0.5 <= number <= 1.5:
                raise BadRequest(f"A strength lies between -0.5 and 1.5, and {number} was asked for.")
        method, weights = self._method(name)
        device = self.engine.device
        a, b = self.codes(name, identity).to(device), self.codes(name, attributes).to(device)
        started = time.perf_counter()

        @torch.inference_mode()
        def run() -> tuple[Tensor, Tensor]:
            if base == "photo":
                projection = attributes.latent.code[None].to(device)
                codes = anchored_codes(method, a, b, projection, strengths)
            else:
                codes = swap_codes(method, a, b, strengths)
            return method.synth(codes)[0], codes[0]

        with lock(device):
            image, code = run()
            image, code = plain(image), plain(code.contiguous())
        values = {"identity": strengths.identity, "attributes": strengths.attributes, "photo": float(base == "photo")}
        request = EditRequest(f"swap-{name}", VERSION, values)
        return EditResult(image, code, None, request, {"seconds": time.perf_counter() - started}, weights)
