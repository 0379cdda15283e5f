"""Files of settings: TOML, of which one may be a variant of another."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import BadRequest


def read_settings(path: Path, over_it: tuple[Path, ...] = ()) -> dict[str, Any]:
    """What ``path`` says, over what the file it names in ``based_on`` (seen from its folder) says. Raises BadRequest."""
    try:
        body = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadRequest(f"The settings '{path}' cannot be read ({error}).") from error
    base = body.pop("based_on", None)
    if base is None:
        return body
    chain = (*over_it, path)
    if not isinstance(base, str) or Path(base).name != base or path.parent / base in chain:
        raise BadRequest(f"The settings '{path}' are based on '{base}', which must be another file of the same folder.")
    return over(read_settings(path.parent / base, chain), body)


def over(base: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the entries of ``body``; tables are merged, everything else is replaced."""
    out = dict(base)
    for name, value in body.items():
        known = out.get(name)
        out[name] = over(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return out
