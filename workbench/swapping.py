"""Identity and attribute swapping on faces: the family's networks behind the common interface, codes kept per face."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from idswap.swap import Codes, IdSwap, Strengths, anchored_codes, attributes_between, identity_between, swap_codes
from workbench import swap_networks
from workbench.cache import LRU
from workbench.devices import lock, plain
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.errors import BadRequest, MissingWeights
from workbench.face import AlignedFace, Face, to_tensor, to_uint8
from workbench.outline import outline
from workbench.paste import paste_back
from workbench.weights import Network

METHODS = ("nitzan", "zhou")
VERSION = "1"
LEAST, MOST = -0.5, 1.5
"""Strengths that are allowed; beyond 0 and 1 codes are extrapolated."""
KEPT = 256
KINDS = {"swap": "a swap", "deidentify": "a de-identified photo", "interpolate": "a frame between swaps"}
Base = Literal["w", "photo"]


class Swapping:
    """Swaps for the faces of ``engine``. Every face is encoded once per method, whatever it is combined with.

    ``folder`` holds files of a training run (``nitzan_mapper.safetensors`` and so on) that go before the family's own.
    ``offsets`` False leaves out the offsets per row that our mappers add to the published W.
    """

    def __init__(self, engine: Engine, folder: Path | None = None, *, offsets: bool = True) -> None:
        self.engine, self.folder, self._offsets = engine, folder, offsets
        self._methods: dict[str, tuple[IdSwap, tuple[str, ...]]] = {}
        self._codes: LRU[Codes] = LRU(KEPT)

    def method(self, name: str) -> IdSwap:
        """The method ``name``. Raises BadRequest, MissingWeights, BadCheckpoint and WrongSpace."""
        return self._method(name)[0]

    def _method(self, name: str) -> tuple[IdSwap, tuple[str, ...]]:
        if name not in METHODS:
            raise BadRequest(f"There is no swapping method '{name}'; there are: {', '.join(METHODS)}.")
        if name not in self._methods:
            self._methods[name] = swap_networks.method(name, self.engine.store, self._network, offsets=self._offsets)
        return self._methods[name]

    def _network(self, kind: str) -> Network:
        path = None if self.folder is None else self.folder / f"{kind}.safetensors"
        if path is None or not path.is_file():
            return self.engine.store.network(kind)
        return self.engine.store.other(kind, path)

    def codes(self, name: str, face: Face | AlignedFace) -> Codes:
        """Both codes of a face's own photo, read once."""
        method = self.method(name)
        aligned, target = _picture(face)

        @torch.inference_mode()
        def read() -> Codes:
            with lock(self.engine.device):
                found = method.encode(target[None].to(self.engine.device))
                return Codes(plain(found.identity), plain(found.attributes))

        return self._codes.get((name, aligned.hash), read)

    def swap(
        self,
        name: str,
        identity: Face | AlignedFace,
        attributes: Face | AlignedFace,
        strengths: Strengths | None = None,
        *,
        base: Base = "w",
    ) -> EditResult:
        """The identity of one face on the attributes of another.

        ``base`` "w" is the published method; "photo" starts from the attribute face's own projection and adds what the swap
        changes (it needs a projected ``attributes``). Strength 0 for the identity gives, with "photo", the projection itself.
        """
        return self.swap_codes(name, self.codes(name, identity), attributes, strengths, base=base)

    def swap_codes(
        self,
        name: str,
        identity: Codes,
        attributes: Face | AlignedFace,
        strengths: Strengths | None = None,
        *,
        base: Base = "w",
    ) -> EditResult:
        """As ``swap``, with the codes of an identity instead of a face that has it: a donor, a mean, a turned code."""
        strengths = checked(strengths)
        if base == "photo" and not isinstance(attributes, Face):
            raise BadRequest(
                "A swap from the photo's own code needs a projected face; project the attribute photo first."
            )
        own = self.codes(name, attributes)

        def mix(method: IdSwap, device: torch.device) -> Tensor:
            a, b = identity.to(device), own.to(device)
            if isinstance(attributes, Face) and base == "photo":
                return anchored_codes(method, a, b, attributes.latent.code[None].to(device), strengths)
            return swap_codes(method, a, b, strengths)

        return self._drawn(name, mix, request_of(name, strengths, base))

    def identity_between(self, name: str, own: Codes, other: Codes, strength: float) -> Tensor:
        """Identity code (1,i) on the CPU at ``strength`` of the way from a face's ``own`` to the ``other``'s, the gain included."""
        return identity_between(self.method(name), own.identity, other.identity, strength)

    def replaced(
        self,
        name: str,
        identity: Codes,
        attributes: Face | AlignedFace,
        request: EditRequest,
        strength: float = 1.0,
    ) -> EditResult:
        """A face with an identity in place of its own, of which nothing enters: no gain, and ``strength`` for the attributes only."""
        own = self.codes(name, attributes)

        def mix(method: IdSwap, device: torch.device) -> Tensor:
            there, here = identity.to(device), own.to(device)
            return method.map(there.identity, attributes_between(method, there.attributes, here.attributes, strength))

        return self._drawn(name, mix, request)

    def _drawn(self, name: str, mix: Callable[[IdSwap, torch.device], Tensor], request: EditRequest) -> EditResult:
        method, weights = self._method(name)
        device = self.engine.device
        started = time.perf_counter()

        @torch.inference_mode()
        def run() -> tuple[Tensor, Tensor]:
            codes = mix(method, device)
            return method.synth(codes)[0].clamp(-1, 1), codes[0]

        with lock(device):
            image, code = run()
            image, code = plain(image), plain(code.contiguous())
        stats = {"seconds": time.perf_counter() - started}
        return EditResult(image, code, None, request, stats, weights)

    def render(self, name: str, codes: Tensor) -> Tensor:
        """The picture (3,H,W) on the CPU of W+ codes (L,D) that were mixed elsewhere."""
        method, device = self.method(name), self.engine.device

        @torch.inference_mode()
        def run() -> Tensor:
            return method.synth(codes[None].to(device))[0].clamp(-1, 1)

        with lock(device):
            return plain(run())

    def mapped(self, name: str, identity: Codes, attributes: Codes) -> Tensor:
        """W+ codes (L,D) on the CPU of the plain swap of two pictures' codes with a batch of one."""
        method, device = self.method(name), self.engine.device

        @torch.inference_mode()
        def run() -> Tensor:
            return swap_codes(method, identity.to(device), attributes.to(device))[0]

        with lock(device):
            return plain(run().contiguous())

    def forget(self) -> None:
        """Drop the codes of all faces; the networks stay."""
        self._codes.clear()

    def weights(self, name: str) -> tuple[str, ...]:
        """Ids of the files that a swap by ``name`` uses."""
        return self._method(name)[1]

    def place(
        self,
        attributes: Face | AlignedFace,
        result: EditResult,
        *,
        crop: bool = False,
        base: Base = "w",
        square: bool = False,
    ) -> np.ndarray:
        """Pixels (H,W,3) uint8 of the attribute photo with the new face in it, or with ``crop`` of the face alone.

        With base "w" the face itself is replaced as far as the family can tell it from hair and background, else, or
        with ``square``, the whole aligned square.
        """
        if isinstance(attributes, Face) and base == "photo":
            return self.engine.compose(attributes, result, crop=crop, keep_detail=True).pixels
        if crop:
            return to_uint8(result.image)
        return self.pasted(attributes, result.image, square=square)

    def pasted(self, attributes: Face | AlignedFace, image: Tensor, *, square: bool = False) -> np.ndarray:
        """Pixels (H,W,3) uint8 of the attribute photo with the face of ``image`` (3,S,S) in it; see ``place``."""
        aligned, target = _picture(attributes)
        mask = None if square else self._outline(torch.stack([target, image]))
        return paste_back(aligned, image, mask=mask).pixels

    def _outline(self, images: Tensor) -> Tensor | None:
        """Weight (1,S,S) of the faces of ``images`` (B,3,S,S), or None in a family without a parser."""
        try:
            parser = self.engine.store.module("parser")
        except MissingWeights:
            return None
        with lock(self.engine.device):
            return plain(outline(parser, images.to(self.engine.device)))


def checked(strengths: Strengths | None) -> Strengths:
    """``strengths``, by default full ones. Raises BadRequest when one is out of range."""
    strengths = strengths or Strengths()
    for number in (strengths.identity, strengths.attributes):
        if not LEAST <= number <= MOST:
            raise BadRequest(f"A strength lies between {LEAST:g} and {MOST:g}, and {number} was asked for.")
    return strengths


def request_of(name: str, strengths: Strengths, base: Base = "w", what: str = "swap") -> EditRequest:
    """The request that a swap's export carries. It names no person and holds no seed that would lead back to one."""
    values = {"identity": strengths.identity, "attributes": strengths.attributes, "photo": float(base == "photo")}
    return EditRequest(f"{what}-{name}", VERSION, values)


def described(request: str | None) -> str | None:
    """A sentence about a picture whose file carries ``request`` (JSON), when that request is a swap's; else None."""
    if request is None:
        return None
    try:
        found = EditRequest.from_json(request)
    except BadRequest:
        return None
    what, _, name = found.editor.rpartition("-")
    if what not in KINDS or name not in METHODS:
        return None
    values = ", ".join(f"{key} {number:g}" for key, number in sorted(found.values.items()))
    return f"This picture is {KINDS[what]} made by this program ({name}: {values}); the face in it is not the person's."


def _picture(face: Face | AlignedFace) -> tuple[AlignedFace, Tensor]:
    return (face.aligned, face.target) if isinstance(face, Face) else (face, to_tensor(face.image))
