"""JSON lines that a measurement adds to as it goes, and what a measurement with a command of its own does with errors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from workbench.errors import FacetError


def written(path: Path | None) -> list[dict[str, Any]]:
    """The lines of ``path``, none where there is no file; a line cut off by a crash is left out and so done again."""
    found = []
    for line in path.read_text("utf-8").splitlines() if path is not None and path.is_file() else ():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def keep_line(path: Path, line: Mapping[str, Any]) -> None:
    """Add one line to ``path``, on a line of its own even after one that was cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cut = path.is_file() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if cut else "") + json.dumps(line) + "\n")


def leave(main: Callable[[], int]) -> NoReturn:
    """Run ``main`` as ``python -m`` does; a FacetError is its sentence."""
    try:
        raise SystemExit(main())
    except FacetError as error:
        raise SystemExit(str(error)) from None
