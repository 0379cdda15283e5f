"""``manifest.json`` beside the outputs of a long job: what was made from what, so that a stopped job goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from workbench.export import check_place, write

NAME = "manifest.json"
SAVE_AFTER = 2.0
"""Seconds between two writes: a folder of thousands must not write the whole list for each of them."""


class Ledger:
    """The outputs of ``command`` in ``folder``. Use it as a context; it is written while it grows and at the end.

    Raises CannotWrite at once where the folder cannot be written.

    An output counts as made when its file is there and its ``key``, a hash of everything it depends on, is the same.
    """

    def __init__(self, folder: Path, command: str, name: str = NAME) -> None:
        self.path = folder / name
        check_place(self.path)
        self._body: dict[str, Any] = {"command": command}
        self._before = self._read(command)
        self._items: dict[str, Mapping[str, Any]] = {}
        self._saved = time.monotonic()

    def _read(self, command: str) -> Mapping[str, Mapping[str, Any]]:
        try:
            body = json.loads(self.path.read_text("utf-8"))
            items = body["outputs"]
            return items if body["command"] == command and isinstance(items, dict) else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def made(self, output: Path, key: str) -> Mapping[str, Any] | None:
        """What was said about ``output`` when it was made with ``key``; None when it is to be made now."""
        name = self._name(output)
        entry = self._items.get(name) or self._before.get(name)
        if not isinstance(entry, dict) or entry.get("key") != key or not output.exists():
            return None
        self._items[name] = entry
        return {name: value for name, value in entry.items() if name != "key"}

    def earlier(self, output: Path) -> Mapping[str, Any] | None:
        """What an earlier call said about ``output``, whatever it made it with; None when it knew nothing of it."""
        entry = self._before.get(self._name(output))
        return entry if isinstance(entry, dict) else None

    def add(self, output: Path, key: str, body: Mapping[str, Any]) -> None:
        """Note a finished output."""
        self._items[self._name(output)] = {**body, "key": key}
        if time.monotonic() - self._saved > SAVE_AFTER:
            self.save()

    def note(self, name: str, value: Any) -> None:
        """A fact about the whole job: settings, what was left out, a report."""
        self._body[name] = value

    def noted(self, name: str) -> Any:
        """What was noted as ``name``. Raises KeyError."""
        return self._body[name]

    def save(self) -> None:
        """Write the file. Raises CannotWrite."""
        # What an earlier call made and this one has not reached yet stays known until the job is through.
        body = {**self._body, "outputs": {**self._before, **self._items}}
        write(self.path, (json.dumps(body, ensure_ascii=False, indent=1) + "\n").encode())
        self._saved = time.monotonic()

    def _name(self, output: Path) -> str:
        return output.relative_to(self.path.parent).as_posix()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self._items:
            return  # Nothing came of this call: what an earlier one noted stays as it is.
        if kind is None:
            # Of an earlier call what is still there stays known, whether this one asked for it or not.
            self._before = {n: e for n, e in self._before.items() if (self.path.parent / n).exists()}
        self.save()
