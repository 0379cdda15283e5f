"""How long the networks of a family take to load, against reading their files."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch

from workbench.manifest import open_family
from workbench.networks import CLASSES
from workbench.weights import Store

REPEATS = 5


def run(
    repeats: int = REPEATS, *, family: str = "starter", device: str = "cpu", manifest: Path | str | None = None
) -> dict[str, Any]:
    """Medians in milliseconds of loading each network that is there, their sum, and ``ratio`` to reading the bytes.

    ``peak_mib`` is the largest memory of this process so far.
    """
    opened = open_family(family, manifest)
    kinds = [kind for kind in opened.records if kind in CLASSES and opened.find(kind)]
    loads: dict[str, list[float]] = {kind: [] for kind in kinds}
    reads: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(repeats + 1):
        store = Store(opened, torch.device(device))
        for kind in kinds:
            started = time.perf_counter()
            opened.path(kind).read_bytes()
            between = time.perf_counter()
            store.network(kind)
            reads[kind].append(between - started)
            loads[kind].append(time.perf_counter() - between)
    # The first round also imports modules and fills the file cache.
    medians = {kind: 1000 * statistics.median(values[1:]) for kind, values in loads.items()}
    floor = sum(1000 * statistics.median(values[1:]) for values in reads.values())
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "repeats": repeats,
        "family": opened.name,
        "mib": round(sum(opened.path(kind).stat().st_size for kind in kinds) / 2**20, 2),
        "milliseconds": {kind: round(value, 2) for kind, value in medians.items()},
        "total": round(sum(medians.values()), 2),
        "read": round(floor, 2),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20, 1),
        "ratio": round(sum(medians.values()) / floor, 2) if floor else 0.0,
    }
