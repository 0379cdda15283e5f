"""What was seen of the files in a folder: their SHA-256 at the first use. One small JSON file lies beside them."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = ".weights-seen.json"


@dataclass(frozen=True)
class Seen:
    """One file as it was first read in full: SHA-256, size and time of change, the day, and where it came from."""

    sha256: str
    size: int
    changed: int
    day: str
    source: str = ""

    def unchanged(self, path: Path) -> bool:
        """Whether size and time of change of ``path`` are still these. It says nothing about a forged time."""
        now = path.stat()
        return (now.st_size, now.st_mtime_ns) == (self.size, self.changed)


def recall(path: Path) -> Seen | None:
    """What was noted about ``path``; None when nothing was, or the note is unreadable."""
    entry = _read(path.parent / NAME).get(path.name)
    try:
        return Seen(**entry) if isinstance(entry, dict) else None
    except TypeError:
        return None


def remember(path: Path, sha256: str, source: str | None = None) -> bool:
    """Note ``sha256`` of ``path`` beside it; a known file keeps its day. Returns False in a folder that is read-only.

    ``source`` is the address of a fresh download, which replaces an older note altogether.
    """
    now, before = path.stat(), recall(path)
    same = source is None and before is not None and before.sha256 == sha256
    day = before.day if before is not None and same else time.strftime("%Y-%m-%d")
    origin = source or (before.source if before is not None and same else "")
    entry = Seen(sha256, now.st_size, now.st_mtime_ns, day, origin)
    if before == entry:
        return True
    return _write(path.parent / NAME, path.name, entry)


def _read(notes: Path) -> dict[str, object]:
    try:
        body = json.loads(notes.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}


def _write(notes: Path, name: str, entry: Seen) -> bool:
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=notes.parent, prefix=NAME, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({**_read(notes), name: asdict(entry)}, file, indent=1, sort_keys=True)
        os.replace(temporary, notes)
    except OSError:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return False
    return True
