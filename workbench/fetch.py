"""Downloads of weights files to the place where their family finds them. Nothing starts without being asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from workbench.download import Download, Fetched, Order, Patience, by_hand
from workbench.editor import Cancel, Progress, never, quiet
from workbench.errors import CannotFetch, CannotWrite
from workbench.locks import held
from workbench.manifest import Family, check, converted_copy


def order(family: Family, kind: str) -> Order:
    """The order for the file of ``kind``, to its own place."""
    record = family.record(kind)
    about = record.size or record.about_mib << 20
    return Order(record.file, record.urls, family.place(kind), record.size, record.sha256, about, record.by_hand)


def fetch(
    family: Family,
    kind: str,
    folder: Path | None = None,
    *,
    progress: Progress = quiet,
    cancel: Cancel = never,
    patience: Patience | None = None,
) -> Fetched:
    """Fetch the file of ``kind`` unless it is there; a broken one is replaced once the new one is whole.

    It goes to its own place, or into ``folder``. Raises CannotFetch, CannotWrite and Cancelled.
    """
    if folder is not None:
        record = replace(family.record(kind), folder=None)
        family = replace(family, folders=(folder,), records={kind: record})
    wanted = order(family, kind)
    found = check(family, kind, full=bool(family.record(kind).sha256))
    if found.path is not None and found.state != "broken":
        return Fetched(found.path, "", found.size, None)
    if found.path is not None and not converted_copy(family.record(kind), found.path):
        wanted = replace(wanted, target=found.path)
    return fetch_file(wanted, progress=progress, cancel=cancel, patience=patience)


def fetch_file(
    wanted: Order, *, progress: Progress = quiet, cancel: Cancel = never, patience: Patience | None = None
) -> Fetched:
    """Fetch one file to ``wanted.target``. Raises CannotFetch, CannotWrite and Cancelled.

    Two calls for one place at once, from whatever process, do not disturb each other: the second one is refused.
    """
    if not wanted.urls:
        raise CannotFetch(f"'{wanted.name}' cannot be fetched by a program; {by_hand(wanted)}.")
    patience = patience or Patience()
    try:
        wanted.target.parent.mkdir(parents=True, exist_ok=True)
        with held(wanted.target.parent / f".{wanted.target.name}.lock") as ours:
            if not ours:
                raise CannotFetch(f"'{wanted.name}' is being fetched by another run of this program; wait for it.")
            return Download(wanted, progress, cancel, patience).run()
    except OSError as error:
        raise CannotWrite(f"'{wanted.target}' could not be written ({error.strerror or error}).") from error
