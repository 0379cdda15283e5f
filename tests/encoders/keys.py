"""Published key lists, to compare state dicts with."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

FOLDER = Path(__file__).parents[1] / "golden" / "data" / "keys"


def published(name: str) -> dict[str, tuple[int, ...]]:
    """Key list ``name``: {key: shape}."""
    return {key: tuple(shape) for key, shape in json.loads((FOLDER / f"{name}.json").read_text()).items()}


def ours(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of ``module``."""
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}
