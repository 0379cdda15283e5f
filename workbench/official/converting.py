"""Writes a published checkpoint as safetensors that says what it is, and copies a file to where its family looks for it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from data.container import KEY
from workbench import seen
from workbench.errors import BadCheckpoint, BadRequest, CannotWrite
from workbench.manifest import families, open_family, sha256
from workbench.official import assemble, building, weights_id
from workbench.official.checkpoint import Checkpoint, read
from workbench.official.files import SAFE_DTYPES
from workbench.official.inspecting import Place, places

MARGIN = 64 * 2**20
"""Bytes that stay free on the disk."""
PIECE = 1 << 22
NAMES = {dtype: name for name, dtype in SAFE_DTYPES.items()}


@dataclass(frozen=True)
class Written:
    """A file that was written: where, its size and SHA-256, and the id of its weights ("" when that is not known yet)."""

    path: Path
    size: int
    sha256: str
    id: str = ""


def convert(path: Path | str, out: Path | str) -> Written:
    """Write the network in ``path`` to ``out`` as safetensors; its header says where it came from and what it is.

    Floats stay as they are. Raises MissingWeights, BadCheckpoint, BadRequest (the name of ``out``) and CannotWrite.
    """
    out = Path(out)
    if out.suffix != ".safetensors":
        raise BadRequest(f"A converted file is called *.safetensors, '{out.name}' is not; give another name.")
    found = read(path)
    if found.header:
        raise BadRequest(f"'{path}' is a file of this program already; there is nothing to convert.")
    if found.problem:
        raise BadCheckpoint(f"'{path}' ({found.kind.title}) is not converted: {found.problem}.")
    if out.exists() and out.samefile(found.path):
        raise BadRequest(f"'{out}' is the file that is to be converted; give another name.")
    state, made = _state(found)
    header = {
        "kind": found.kind.name,
        "arch": dict(found.arch),
        "id": made,
        "format": 1,
        "converted_from": {
            "name": found.path.name,
            "sha256": sha256(found.path),
            "size": found.opened.size,
            "container": found.opened.container,
            "under": found.under,
        },
    }
    with placed(out, sum(t.numel() * t.itemsize for t in state.values())) as file:
        digest = _write(file, state, {KEY: json.dumps(header, sort_keys=True)})
    return Written(out, out.stat().st_size, digest, made)


def _state(found: Checkpoint) -> tuple[dict[str, Tensor], str]:
    """Tensors to write, and the id that ``load`` gives the network of this file."""
    tensors = found.tensors()
    mean = found.latent_avg()
    extra = {} if mean is None else {"latent_avg": mean}
    if found.kind.name == "generator" and mean is None:
        _, _, extra = assemble(found)
    return tensors | extra, weights_id(found, tensors)


def _write(file: BinaryIO, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Write a safetensors file tensor by tensor, so that memory holds no second copy; returns its SHA-256."""
    table: dict[str, Any] = {"__metadata__": dict(metadata)}
    at = 0
    # Widest first keeps every tensor on a multiple of its own width, which reading in place needs.
    order = sorted(state, key=lambda name: (-state[name].itemsize, name))
    for name in order:
        tensor = state[name]
        size = tensor.numel() * tensor.itemsize
        table[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % 64)
    digest = hashlib.sha256()
    for piece in _pieces(struct.pack("<Q", len(text)) + text, state, order):
        digest.update(piece)
        file.write(piece)
    return digest.hexdigest()


def _pieces(head: bytes, state: Mapping[str, Tensor], order: list[str]) -> Iterator[bytes | memoryview]:
    yield head
    for name in order:
        flat = state[name].detach().contiguous().reshape(-1).view(torch.uint8).numpy().data
        yield from (flat[start : start + PIECE] for start in range(0, len(flat), PIECE))


@contextlib.contextmanager
def placed(out: Path, size: int) -> Iterator[BinaryIO]:
    """A file of ``size`` bytes that appears at ``out`` when all of it is written, or not at all. Raises CannotWrite."""
    temporary = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
        if free < size + MARGIN:
            raise OSError(errno.ENOSPC, f"{size / 2**20:,.0f} MiB are needed and {free / 2**20:,.0f} MiB are free")
        handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, out)
        temporary = None
    except OSError as error:
        raise CannotWrite(
            f"'{out}' could not be written ({error.strerror}); free some space or choose another folder."
        ) from error
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def add(path: Path | str, family: str | None = None, manifest: Path | str | None = None) -> tuple[Place, Written]:
    """Copy ``path`` to the place where its family finds it, and note its SHA-256 beside it.

    Without ``family`` the first one in the manifest that has a place for it. A converted file keeps its ending. Raises
    MissingWeights, BadCheckpoint (refused, or it fits nowhere), BadRequest (two places and no telling which) and CannotWrite.
    """
    found = read(path)
    place = choose(found, family, manifest)
    target = place.path.with_suffix(".safetensors") if found.converted else place.path
    # Everything is read once before anything is copied: a damaged file has no business in the family's folder.
    found.tensors()
    if target.exists() and target.samefile(found.path):
        digest = sha256(target)
        seen.remember(target, digest)
        return place, Written(target, found.opened.size, digest)
    digest = hashlib.sha256()
    with found.path.open("rb") as source, placed(target, found.opened.size) as file:
        while piece := source.read(PIECE):
            digest.update(piece)
            file.write(piece)
    seen.remember(target, digest.hexdigest(), f"copied from {found.path.name}")
    return place, Written(target, target.stat().st_size, digest.hexdigest())


def choose(found: Checkpoint, family: str | None = None, manifest: Path | str | None = None) -> Place:
    """The place of ``found`` in ``family``, or in the first family that has one. Raises BadCheckpoint and BadRequest."""
    if found.problem:
        raise BadCheckpoint(f"'{found.path}' ({found.kind.title}) cannot be used: {found.problem}.")
    if family is not None:
        open_family(family, manifest)
    fitting = [place for place in places(found, manifest) if family in (None, place.family)]
    if not fitting:
        reason = _why_nowhere(found, family, manifest)
        raise BadCheckpoint(f"'{found.path}' is a {found.kind.title}, and no family has a place for it{reason}.")
    alike = [place for place in fitting if place.family == fitting[0].family]
    if len(alike) > 1:
        named = [place for place in alike if _by_name(place, found.path, manifest)]
        if len(named) != 1:
            roles = " or ".join(place.role for place in alike)
            raise BadRequest(
                f"'{found.path}' can be {roles}, which have the same keys and sizes; give the file its published name."
            )
        return named[0]
    return fitting[0]


def _by_name(place: Place, path: Path, manifest: Path | str | None) -> bool:
    record = open_family(place.family, manifest).record(place.role)
    return any(path.match(name) for name in (record.file, *record.names))


def _why_nowhere(found: Checkpoint, family: str | None, manifest: Path | str | None) -> str:
    for name, known in families(manifest).items():
        for role, record in known.records.items():
            if role in found.roles and family in (None, name):
                reason = building.unlike(found.kind, found.arch, record.arch, name)
                if reason:
                    return f": {reason}"
    return ""
