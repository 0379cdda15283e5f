"""How long a step takes on this machine: measured, and remembered between runs, so that a long job can say what it will cost."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

SHARE = 0.5
"""Weight of the newest measurement: the machine may be busier or freer than last time."""


def default_file() -> Path:
    """Where measurements are kept: numbers only, nothing of any picture."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "facet" / "pace.json"


class Paces:
    """Seconds per step by name. Thread-safe; a file that cannot be read or written costs only the memory of it."""

    def __init__(self, file: Path | None = None) -> None:
        self._file, self._lock = default_file() if file is None else file, threading.Lock()
        self._seconds = self._read()

    def _read(self) -> dict[str, float]:
        try:
            body = json.loads(self._file.read_text("utf-8"))
            return {str(name): float(value) for name, value in body.items() if float(value) > 0}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def get(self, name: str) -> float | None:
        """Seconds per step, None before the first measurement."""
        with self._lock:
            return self._seconds.get(name)

    def put(self, name: str, seconds: float) -> None:
        """Take in a measurement."""
        if not seconds > 0:
            return
        with self._lock:
            before = self._seconds.get(name, seconds)
            self._seconds[name] = SHARE * seconds + (1 - SHARE) * before
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                part = self._file.with_suffix(".part")
                part.write_text(json.dumps(self._seconds, sort_keys=True), "utf-8")
                os.replace(part, self._file)
            except OSError:
                return


def spoken(seconds: float) -> str:
    """A time as people say it: "12 seconds", "3 minutes", "1 h 20 min"."""
    if seconds < 90:
        whole = max(1, round(seconds))
        return "1 second" if whole == 1 else f"{whole} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
