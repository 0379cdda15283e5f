"""``weights fetch``: download published files, with progress on stderr and one line per file on stdout."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from commands.photos import complain, emit
from workbench.download import Patience
from workbench.errors import BadRequest, FacetError
from workbench.fetch import Fetched
from workbench.fetch import fetch as fetch_file
from workbench.manifest import Family, families, open_family
from workbench.meter import megabytes


def fetch(options: argparse.Namespace, patience: Patience | None = None) -> int:
    """Fetch the files that are named; 0 when all of them are there."""
    known = families(options.manifest)
    wanted = chosen(known, options.names, options.family, everything=options.all)
    folder = Path(options.folder) if options.folder else None
    failed = 0
    for family, kind in wanted:
        file = family.record(kind).file
        line = _Line(file)
        try:
            made = fetch_file(family, kind, folder, progress=line, patience=patience)
        except FacetError as error:
            line.end()
            failed += 1
            complain(str(error))
        else:
            line.end()
            emit(_fields(family, kind, made), _sentence(file, made), options.json)
    return 1 if failed else 0


def chosen(
    known: Mapping[str, Family], names: list[str], family: str | None, *, everything: bool
) -> list[tuple[Family, str]]:
    """The files that ``names`` mean: a file's name, a kind, or FAMILY/KIND. Each file once. Raises BadRequest.

    Without names, all files of ``family``, or with ``everything`` all that have an address.
    """
    if family is not None:
        known = {family: open_family(family, next(iter(known.values())).manifest)}
    records = [(one, kind) for one in known.values() for kind in one.records]
    if not names and not everything and family is None:
        raise BadRequest("Name a file to fetch, --family NAME or --all; 'weights list' shows what there is.")
    found: dict[tuple[str, Path], tuple[Family, str]] = {}
    if not names:
        for one, kind in records:
            record = one.record(kind)
            if record.urls or (not everything and record.format != "facet"):
                found.setdefault((record.file, one.place(kind)), (one, kind))
        return list(found.values())
    for name in names:
        hits = [(one, kind) for one, kind in records if name in _names(one, kind)]
        places = {(one.record(kind).file, one.place(kind)): (one, kind) for one, kind in reversed(hits)}
        if not hits:
            raise BadRequest(f"There is no file called '{name}' in the list; 'weights list' shows what there is.")
        if len(places) > 1:
            several = ", ".join(f"{one.name}/{kind}" for one, kind in hits)
            raise BadRequest(f"'{name}' may mean {several}; name one of them.")
        found.update(places)
    return list(found.values())


def _names(family: Family, kind: str) -> set[str]:
    record = family.record(kind)
    return {kind, f"{family.name}/{kind}", record.file, *record.names}


def _fields(family: Family, kind: str, made: Fetched) -> dict[str, object]:
    return {
        "family": family.name,
        "kind": kind,
        "file": family.record(kind).file,
        "path": str(made.path),
        "size": made.size,
        "sha256": made.sha256 or None,
        "address": made.address,
        "resumed": made.resumed,
        "fetched": made.address is not None,
    }


def _sentence(file: str, made: Fetched) -> str:
    if made.address is None:
        return f"'{file}' is there already: {made.path}"
    before = f" ({megabytes(made.resumed)} of them were there from before)" if made.resumed else ""
    return f"'{file}' is there: {made.path}, {megabytes(made.size)}{before}, SHA-256 {made.sha256}"


@dataclass
class _Line:
    """Progress on stderr: one line that is written over on a terminal, else a line every ten seconds."""

    name: str
    _shown: float = field(default_factory=time.monotonic)
    _open: bool = False

    def __call__(self, fraction: float, message: str = "") -> None:
        text = f"{self.name}: {fraction:4.0%}  {message}"
        if sys.stderr.isatty():
            print(f"\r{text[:118]:118}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif time.monotonic() - self._shown > 10:
            self._shown = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line that is written over."""
        if self._open:
            print(file=sys.stderr)
            self._open = False
