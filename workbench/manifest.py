"""The manifest of weights: which families there are, which files they need, and whether those are there and whole."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from data import container
from workbench import notices, seen
from workbench.errors import BadCheckpoint, BadRequest, CannotWrite, MissingWeights

MANIFEST = Path(__file__).resolve().parent.parent / "data" / "weights.toml"
State = Literal["missing", "present", "verified", "broken"]
NEEDED = frozenset({"generator", "projector", "attributes", "identity", "detector", "landmarks"})
"""What a family must have so that a photo can be edited with it."""


@dataclass(frozen=True)
class Record:
    """One weights file: what it is for (``kind``), its name, format, size in bytes, SHA-256, licence and origin.

    ``size`` 0 and ``sha256`` "" mean that the published file's numbers are not known; ``sha256`` may be the first
    digits alone, and ``about_mib`` is then a rough size. ``arch`` and ``attributes`` are for files without a header of
    ours. ``names`` are other names of the file, patterns allowed; ``urls`` its published addresses and ``by_hand`` where
    a person gets it; ``folder`` is where a download goes. A family is complete without its ``optional`` files.
    """

    kind: str
    file: str
    format: Literal["facet", "torch", "keras"]
    size: int
    sha256: str
    licence: str
    origin: str
    arch: Mapping[str, Any]
    attributes: tuple[str, ...]
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    by_hand: str = ""
    paper: str = ""
    needed_for: str = ""
    folder: str | None = None
    about_mib: int = 0
    optional: bool = False

    @property
    def shipped(self) -> bool:
        """Whether the file comes with the program, so that its absence is a fault."""
        return self.format == "facet" and bool(self.sha256)


@dataclass(frozen=True)
class Family:
    """A set of networks that belong together, and the folders their files are looked for in.

    ``low_identity`` and ``high_l2`` are the limits beyond which a projection is called out of domain; ``about`` says
    what the family is good for. A family with a ``face_size`` edits photos as they are, aligned at that many pixels: it
    projects nothing, and a generator serves for sample faces alone.
    """

    name: str
    title: str
    folders: tuple[Path, ...]
    records: Mapping[str, Record]
    low_identity: float
    high_l2: float
    manifest: Path
    about: str = ""
    face_size: int = 0

    @property
    def editable(self) -> bool:
        """Whether the app can work with it: a family that is a mere collection of files cannot edit a photo."""
        return self.records.keys() >= (NEEDED - {"projector"} if self.face_size else NEEDED)

    def absent(self) -> tuple[str, ...]:
        """Kinds of the files that are needed and in none of the folders."""
        return tuple(k for k, record in self.records.items() if not record.optional and self.find(k) is None)

    def record(self, kind: str) -> Record:
        """The record of ``kind``. Raises MissingWeights when the family has no such network."""
        if kind not in self.records:
            raise MissingWeights(f"The {self.name} family has no '{kind}' network; choose a family that has one.")
        return self.records[kind]

    def find(self, kind: str) -> Path | None:
        """Where the file of ``kind`` is, as published or converted to safetensors; None when it is in no folder.

        The published file goes before a converted one beside it: its bytes can be checked against the published SHA-256.
        """
        record = self.record(kind)
        names = (record.file, *record.names)
        for name in (*names, *(str(Path(one).with_suffix(".safetensors")) for one in names)):
            for folder in self.folders:
                for path in sorted(folder.glob(name)) if "*" in name else (folder / name,):
                    if path.is_file():
                        return path
        return None

    def place(self, kind: str) -> Path:
        """Where a new file of ``kind`` goes, whether it is there or not."""
        record = self.record(kind)
        return (self.manifest.parent / record.folder if record.folder else self.folders[0]) / record.file

    def path(self, kind: str) -> Path:
        """As ``find``. Raises MissingWeights naming the file and the place to put it."""
        found = self.find(kind)
        if found is None:
            record = self.record(kind)
            raise MissingWeights(
                f"The {self.name} family's {kind} file '{record.file}' is not there; "
                f"put it to '{self.place(kind)}' (it comes from: {record.origin})."
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
    needed_for: str = ""


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
            names=tuple(entry.get("names", ())),
            urls=tuple(entry.get("urls", ())),
            by_hand=entry.get("by_hand", ""),
            paper=entry.get("paper", ""),
            needed_for=entry.get("needed_for", ""),
            folder=entry.get("folder"),
            about_mib=entry.get("about_mib", 0),
            optional=entry.get("optional", False),
        )
        for kind, entry in table["files"].items()
    }
    folders = tuple(manifest.parent / folder for folder in table["folders"])
    low, high = float(table.get("low_identity", -1)), float(table.get("high_l2", 4))
    title, about, size = table.get("title", name), table.get("about", ""), int(table.get("face_size", 0))
    return Family(name, title, folders, records, low, high, manifest, about, size)


def open_family(name: str, manifest: Path | str | None = None) -> Family:
    """The family called ``name``. Raises BadRequest with the names that exist."""
    known = families(manifest)
    if name not in known:
        raise BadRequest(f"There is no family of weights called '{name}'; there are: {', '.join(known)}.")
    return known[name]


def sha256(path: Path, pause: Callable[[], None] | None = None) -> str:
    """SHA-256 (hex) of a file, read in pieces; ``pause`` is called between them and may raise to stop."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            digest.update(piece)
            if pause:
                pause()
    return digest.hexdigest()


def check(family: Family, kind: str, *, full: bool = True) -> FileState:
    """State of the file of ``kind``.

    ``full`` reads it all; otherwise its size and first bytes count, and that it was verified before and is unchanged.
    """
    return _look(family, kind, full)[0]


def verify(family: Family, kind: str, pause: Callable[[], None] | None = None) -> FileState:
    """As ``check`` with all bytes read, and the SHA-256 is kept, so that a file without a published one has one later.

    What is kept lies beside the file (``workbench.seen``); a folder that cannot be written to keeps nothing. ``pause``
    is called while the file is read and may raise to stop.
    """
    found, digest = _look(family, kind, True, pause)
    if found.path is not None and found.state != "broken":
        seen.remember(found.path, digest)
    return found


def _look(family: Family, kind: str, full: bool, pause: Callable[[], None] | None = None) -> tuple[FileState, str]:
    record = family.record(kind)
    path = family.find(kind)
    state: State
    digest = ""
    if path is None:
        state, message, size = "missing", f"put it to '{family.place(kind)}'", record.size
    else:
        size = 0
        try:
            size = path.stat().st_size
            known = seen.recall(path)
            if full:
                digest = sha256(path, pause)
            elif known is not None and known.unchanged(path):
                digest = known.sha256
            state, message = _judge(record, path, size, digest, known)
            if state != "broken" and record.format == "facet":
                state, message = _fits(record, path, state, message)
        except OSError as error:
            state, message = "broken", f"cannot be read ({error.strerror})"
    needed = record.needed_for
    made = FileState(family.name, kind, record.file, path, state, message, size, record.licence, record.origin, needed)
    return made, digest


def _judge(record: Record, path: Path, size: int, digest: str, known: seen.Seen | None) -> tuple[State, str]:
    if converted_copy(record, path):
        wrong = _wrongly_converted(record, path)
        if wrong:
            return "broken", wrong
        # What is published is said about other bytes.
        record = replace(record, size=0, sha256="")
    if record.size and size != record.size:
        return "broken", f"has {size:,} bytes and should have {record.size:,}; fetch or copy it again"
    with path.open("rb") as file:
        wrong = notices.no_weights(file.read(notices.HEAD))
    if wrong:
        return "broken", wrong
    if not digest:
        return "present", "not checked"
    if not digest.startswith(record.sha256):
        return "broken", "its SHA-256 is not the recorded one; fetch or copy it again"
    if len(record.sha256) == 64:
        return "verified", "size and SHA-256 agree"
    if record.sha256:
        return "verified", f"the first {len(record.sha256)} digits of its SHA-256 agree; more are not published"
    if known is None:
        return "present", "no SHA-256 is recorded for it"
    if digest != known.sha256:
        return "broken", f"has changed since {known.day}, when it was first seen; fetch or copy it again"
    return "verified", f"as it was first seen on {known.day}; its authors publish no SHA-256"


def converted_copy(record: Record, path: Path) -> bool:
    """Whether ``path`` is a published file of ``record`` rewritten as safetensors, so that its bytes are others."""
    return record.format != "facet" and path.suffix == ".safetensors" and Path(record.file).suffix != ".safetensors"


def _wrongly_converted(record: Record, path: Path) -> str:
    """Why a converted file cannot stand for the published one, by its header; "" when it can."""
    try:
        source = container.read_header(path).get("converted_from")
    except BadCheckpoint as error:
        return str(error)
    if not isinstance(source, Mapping):
        return "does not say which published file it was converted from; convert or fetch it again"
    if not str(source.get("sha256", "")).startswith(record.sha256):
        return "was converted from a file whose SHA-256 is not the published one; fetch that file and convert it again"
    return ""


def _fits(record: Record, path: Path, state: State, message: str) -> tuple[State, str]:
    """The same state, unless the header says that another network is in the file."""
    try:
        header = container.read_header(path)
    except BadCheckpoint as error:
        return "broken", str(error)
    if record.kind != "samples" and header.get("kind") != record.kind:
        return "broken", f"holds '{header.get('kind')}' where '{record.kind}' should be"
    return state, message


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
