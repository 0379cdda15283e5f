"""The manifest of weights: which families there are, which files they need, and whether those are there and whole."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data import container
from workbench.errors import BadCheckpoint, BadRequest, CannotWrite, MissingWeights

MANIFEST = Path(__file__).resolve().parent.parent / "data" / "weights.toml"
State = Literal["missing", "present", "verified", "broken"]


@dataclass(frozen=True)
class Record:
    """One weights file: what it is for (``kind``), its name, format, size in bytes, SHA-256, licence and origin.

    ``size`` 0 and ``sha256`` "" mean that the published file's numbers are not known. ``arch`` and ``attributes`` are
    for files without a header of ours.
    """

    kind: str
    file: str
    format: Literal["facet", "torch"]
    size: int
    sha256: str
    licence: str
    origin: str
    arch: Mapping[str, Any]
    attributes: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """A set of networks that belong together, and the folders their files are looked for in.

    ``low_identity`` and ``high_l2`` are the limits beyond which a projection is called out of domain.
    """

    name: str
    title: str
    folders: tuple[Path, ...]
    records: Mapping[str, Record]
    low_identity: float
    high_l2: float
    manifest: Path

    def record(self, kind: str) -> Record:
        """The record of ``kind``. Raises MissingWeights when the family has no such network."""
        if kind not in self.records:
            raise MissingWeights(f"The {self.name} family has no '{kind}' network; choose a family that has one.")
        return self.records[kind]

    def find(self, kind: str) -> Path | None:
        """Where the file of ``kind`` is; None when it is in none of the folders."""
        name = self.record(kind).file
        return next((folder / name for folder in self.folders if (folder / name).is_file()), None)

    def path(self, kind: str) -> Path:
        """As ``find``. Raises MissingWeights naming the file and the place to put it."""
        found = self.find(kind)
        if found is None:
            record = self.record(kind)
            raise MissingWeights(
                f"The {self.name} family's {kind} file '{record.file}' is not there; "
                f"put it into '{self.folders[0]}' (it comes from: {record.origin})."
            )
        return found


@dataclass(frozen=True)
class FileState:
    """State of one file: "missing", "present" (not checked), "verified" or "broken", and a sentence about it."""

    family: str
    kind: str
    file: str
    path: Path | None
    state: State
    message: str
    size: int
    licence: str
    origin: str


def families(manifest: Path | str | None = None) -> dict[str, Family]:
    """All families of ``manifest`` (default ``data/weights.toml``). Raises MissingWeights and BadCheckpoint."""
    path = Path(manifest) if manifest else MANIFEST
    try:
        body = tomllib.loads(path.read_text("utf-8"))
        return {name: _family(name, table, path) for name, table in body.items()}
    except OSError as error:
        raise MissingWeights(f"The list of weights '{path}' cannot be read ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise BadCheckpoint(f"The list of weights '{path}' is damaged ({type(error).__name__}: {error}).") from error


def _family(name: str, table: Mapping[str, Any], manifest: Path) -> Family:
    records = {
        kind: Record(
            kind=kind,
            file=entry["file"],
            format=entry.get("format", "facet"),
            size=entry.get("size", 0),
            sha256=entry.get("sha256", ""),
            licence=entry.get("licence", "unknown"),
            origin=entry.get("origin", "unknown"),
            arch=entry.get("arch", {}),
            attributes=tuple(entry.get("attributes", ())),
        )
        for kind, entry in table["files"].items()
    }
    folders = tuple(manifest.parent / folder for folder in table["folders"])
    low, high = float(table.get("low_identity", -1)), float(table.get("high_l2", 4))
    return Family(name, table.get("title", name), folders, records, low, high, manifest)


def open_family(name: str, manifest: Path | str | None = None) -> Family:
    """The family called ``name``. Raises BadRequest with the names that exist."""
    known = families(manifest)
    if name not in known:
        raise BadRequest(f"There is no family of weights called '{name}'; there are: {', '.join(known)}.")
    return known[name]


def sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(family: Family, kind: str, *, full: bool = True) -> FileState:
    """State of the file of ``kind``; ``full`` reads it all (SHA-256), otherwise only its presence and size count."""
    record = family.record(kind)
    path = family.find(kind)
    state: State
    if path is None:
        state, message, size = "missing", f"put '{record.file}' into '{family.folders[0]}'", record.size
    else:
        size = path.stat().st_size
        state, message = _judge(record, path, size, full)
    return FileState(family.name, kind, record.file, path, state, message, size, record.licence, record.origin)


def _judge(record: Record, path: Path, size: int, full: bool) -> tuple[State, str]:
    if record.size and size != record.size:
        return "broken", f"has {size:,} bytes and should have {record.size:,}; fetch or copy it again"
    if not full:
        return "present", "not checked"
    if record.sha256 and sha256(path) != record.sha256:
        return "broken", "its SHA-256 is not the recorded one; fetch or copy it again"
    if record.format == "facet":
        try:
            header = container.read_header(path)
        except BadCheckpoint as error:
            return "broken", str(error)
        if record.kind != "samples" and header.get("kind") != record.kind:
            return "broken", f"holds '{header.get('kind')}' where '{record.kind}' should be"
    if not record.sha256:
        return "present", "no SHA-256 is recorded for it"
    return "verified", "size and SHA-256 agree"


def record_starter(manifest: Path | str | None = None, family: str = "starter") -> tuple[str, ...]:
    """Write size and SHA-256 of the files of ``family`` that are there into the manifest; returns their kinds.

    Raises CannotWrite. Comments and order of the manifest stay as they are.
    """
    opened = open_family(family, manifest)
    text = opened.manifest.read_text("utf-8")
    done = []
    for kind in opened.records:
        path = opened.find(kind)
        if path is None:
            continue
        head = f"[{family}.files.{kind}]"
        start = text.index(head)
        end = text.find("\n[", start)
        block = text[start : end if end >= 0 else len(text)]
        fresh = re.sub(r"(?m)^size = .*$", f"size = {path.stat().st_size}", block)
        fresh = re.sub(r"(?m)^sha256 = .*$", f'sha256 = "{sha256(path)}"', fresh)
        text = text[:start] + fresh + text[start + len(block) :]
        done.append(kind)
    try:
        opened.manifest.write_text(text, "utf-8")
    except OSError as error:
        raise CannotWrite(f"'{opened.manifest}' could not be written ({error.strerror}).") from error
    return tuple(done)
