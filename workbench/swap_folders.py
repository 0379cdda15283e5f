"""Swaps over folders: every identity on every attribute photo, or pairs by name. Each picture is encoded once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from idswap.swap import Codes, Strengths
from workbench.contact import ContactSheet
from workbench.engine import Engine
from workbench.errors import BadImage, BadRequest, CannotWrite, FacetError
from workbench.export import Provenance, save_image
from workbench.face import AlignedFace, Face, content_hash, to_tensor, to_uint8
from workbench.ledger import Ledger
from workbench.pairing import distinct_names
from workbench.swapping import Base, Swapping, checked, request_of

Reader = Callable[[Path], AlignedFace]
"""Opens a photo and cuts its face out; raises FacetError."""


@dataclass(frozen=True)
class Order:
    """How to swap: method, strengths, where to start from, and whether the face alone is written."""

    method: str
    strengths: Strengths
    base: Base = "w"
    crop: bool = False

    def key(self, weights: Sequence[str], *parts: object) -> str:
        """A hash of everything that a result of this order depends on."""
        own = (self.method, self.strengths.identity, self.strengths.attributes, self.base, self.crop)
        return content_hash(*own, ",".join(weights), *parts)


@dataclass(frozen=True, eq=False)
class Source:
    """A picture that gives its identity: codes, its face at the generator's size, and who the recogniser sees (D,)."""

    path: Path
    hash: str
    codes: Codes
    target: Tensor
    embedding: Tensor


@dataclass(frozen=True)
class Made:
    """One output and what is known about it; ``kept`` when an earlier call had made it."""

    output: Path
    body: Mapping[str, Any]
    kept: bool


@dataclass(frozen=True)
class Failed:
    """A picture, or an output of it, that could not be used, and why."""

    path: Path
    error: Exception


class FolderSwaps:
    """Swaps by ``order`` with photos opened by ``read``, noted in ``ledger``."""

    def __init__(self, engine: Engine, swapping: Swapping, order: Order, read: Reader, ledger: Ledger) -> None:
        checked(order.strengths)
        self.engine, self.swapping, self.order, self.read, self.ledger = engine, swapping, order, read, ledger
        self.weights = swapping.weights(order.method)
        # A result changes with these too: where the face ends, and with what it began.
        self.helpers = tuple(
            engine.store.network(kind).id
            for kind, used in (("parser", not order.crop), ("projector", order.base == "photo"))
            if used and kind in engine.store.family.records
        )
        self.request = request_of(order.method, order.strengths, order.base)
        self.sheet: Path | None = None
        self.shape = (0, 0)
        """Attribute photos and identities that could be used, once ``all`` is through."""

    def source(self, path: Path) -> Source:
        """The identity in ``path``, encoded."""
        face = self.read(path)
        codes, target = self.swapping.codes(self.order.method, face), to_tensor(face.image)
        return Source(path, _hash(face), codes, target, self.engine.embedding(target))

    def all(
        self, identities: Sequence[Path], attributes: Sequence[Path], out: Path, sheet: Path
    ) -> Iterator[Made | Failed]:
        """Every identity on every attribute photo, as ``out``/ATTRIBUTES/IDENTITY.png, and a contact sheet.

        The sheet's first row shows the identities and its first column the attribute photos, those that could be used. Only
        one attribute photo is in memory at a time.
        """
        columns, rows = distinct_names(identities), distinct_names(attributes)
        table = ContactSheet(len(rows) + 1, len(columns) + 1, self.engine.size)
        sources: dict[Path, Source] = {}
        for at, path in enumerate(columns):
            try:
                sources[path] = self.source(path)
                table.put(0, at + 1, to_uint8(sources[path].target))
            except Exception as error:
                yield failure(path, error)
            self.engine.forget()
        if not sources:
            return
        unused: set[int] = set()
        for row, path in enumerate(rows):
            try:
                face = self.attributes(path)
                table.put(row + 1, 0, _aligned(face).image)
            except Exception as error:
                unused.add(row + 1)
                yield failure(path, error)
                continue
            for at, who in enumerate(columns):
                if who not in sources:
                    continue
                output = out / rows[path] / f"{columns[who]}.png"
                try:
                    made, picture = self.one(sources[who], face, path, output, shown=True)
                    assert picture is not None
                    table.put(row + 1, at + 1, picture)
                    yield made
                except Exception as error:
                    yield failure(output, error)
            self.engine.forget()
        self.shape = (len(rows) - len(unused), len(sources))
        if len(unused) == len(rows):
            return
        missing = {at + 1 for at, path in enumerate(columns) if path not in sources}
        self.sheet = sheet
        save_image(sheet, table.without(unused, missing), Provenance(self.request, self.engine.family, self.weights))

    def pairs(self, pairs: Sequence[tuple[Path, Path]], out: Path) -> Iterator[Made | Failed]:
        """Each identity on the attribute photo of the same name, as ``out``/NAME.png."""
        for who, what in pairs:
            try:
                source = self.source(who)
            except Exception as error:
                yield failure(who, error)
                continue
            try:
                yield self.one(source, self.attributes(what), what, out / f"{what.stem}.png", shown=False)[0]
            except Exception as error:
                yield failure(what, error)
            self.engine.forget()

    def attributes(self, path: Path) -> Face | AlignedFace:
        """The face in ``path``, projected only where the order starts from the projection."""
        face = self.read(path)
        return self.engine.project(face, "encoder") if self.order.base == "photo" else face

    def one(
        self, who: Source, what: Face | AlignedFace, path: Path, output: Path, *, shown: bool
    ) -> tuple[Made, np.ndarray | None]:
        """One swap, written to ``output`` unless it is there, and where it is to be ``shown`` its face (S,S,3)."""
        order, aligned = self.order, _aligned(what)
        if output.resolve() in (who.path.resolve(), path.resolve()):
            raise BadRequest(f"'{output}' is one of the photos itself; choose another folder for the results.")
        key = order.key(self.weights, *self.helpers, who.hash, _hash(aligned))
        before = self.ledger.made(output, key)
        if before is not None and not shown:
            return Made(output, before, kept=True), None
        result = self.swapping.swap_codes(order.method, who.codes, what, order.strengths, base=order.base)
        face = to_uint8(result.image)
        if isinstance(what, Face) and order.base == "photo":
            face = self.swapping.place(what, result, crop=True, base="photo")
        if before is not None:
            return Made(output, before, kept=True), face
        pixels = face if order.crop else self.swapping.place(what, result, base=order.base)
        save_image(output, pixels, Provenance(result.request, self.engine.family, self.weights))
        # The sources' readings are kept: only the result is read anew.
        seen = self.engine.embedding(to_tensor(face))
        own = self.engine.embedding(to_tensor(aligned.image))
        body = {
            "identity": str(who.path),
            "attributes": str(path),
            "identity_to_identity": round(float(seen @ who.embedding), 4),
            "identity_to_attributes": round(float(seen @ own), 4),
            "size": [pixels.shape[1], pixels.shape[0]],
            "output": str(output),
        }
        self.ledger.add(output, key, body)
        return Made(output, body, kept=False), face


def _aligned(face: Face | AlignedFace) -> AlignedFace:
    return face.aligned if isinstance(face, Face) else face


def _hash(face: AlignedFace) -> str:
    return content_hash(face.photo.hash, face.transform.quad)


def failure(path: Path, error: Exception) -> Failed:
    """What is told of a picture that gave ``error``: a defect of ours must not cost the pictures after it. Raises CannotWrite."""
    # A full disk stops the whole job: every output after this one would fail the same way.
    if isinstance(error, CannotWrite):
        raise error
    if isinstance(error, FacetError):
        return Failed(path, error)
    return Failed(path, BadImage(f"An unexpected error, please report it ({type(error).__name__}: {error})."))
