"""How long the networks of a family take to load, and official-sized files as published and converted."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evaluation import official_set
from evaluation.memory import peak_mib
from workbench.manifest import open_family
from workbench.networks import CLASSES
from workbench.official.converting import convert
from workbench.weights import Store

REPEATS = 5
ROOT = Path(__file__).resolve().parent.parent
MEASURE = """
import json, sys, time
import torch
from evaluation.memory import peak_mib
from workbench.official import assemble, read

assemble(read(sys.argv[2]))
before, started, worked = peak_mib(), time.perf_counter(), time.process_time()
assemble(read(sys.argv[1]), torch.zeros(512))
print(json.dumps({
    "milliseconds": round(1000 * (time.perf_counter() - started), 1),
    "processor": round(1000 * (time.process_time() - worked), 1),
    "peak_mib": round(peak_mib() - before, 1),
}))
"""


def run(
    repeats: int = REPEATS,
    *,
    family: str = "starter",
    device: str = "cpu",
    manifest: Path | str | None = None,
    official: Sequence[str] = tuple(official_set.NETWORKS),
) -> dict[str, Any]:
    """Medians in milliseconds of loading each network that is there, their sum, and ``ratio`` to reading the bytes.

    ``peak_mib`` is the largest memory of this process so far. ``official``: for each of these kinds a file of the
    published size is made in a temporary folder and loaded in a process of its own, as published and converted:
    milliseconds, processor time, and how far the process's memory rose.
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
    return {
        "repeats": repeats,
        "family": opened.name,
        "mib": round(sum(opened.path(kind).stat().st_size for kind in kinds) / 2**20, 2),
        "milliseconds": {kind: round(value, 2) for kind, value in medians.items()},
        "total": round(sum(medians.values()), 2),
        "read": round(floor, 2),
        "peak_mib": peak_mib(),
        "ratio": round(sum(medians.values()) / floor, 2) if floor else 0.0,
        "official": _official(official, repeats),
    }


def _official(kinds: Sequence[str], repeats: int) -> dict[str, Any]:
    """Published and converted file of each kind, one at a time, so that the folder never holds more than two."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in kinds:
            first = _warm(Path(folder))
            path = official_set.write(kind, Path(folder))
            converted = path.with_suffix(".safetensors")
            convert(path, converted)
            found[kind] = {
                "file": path.name,
                "mib": round(path.stat().st_size / 2**20, 1),
                "published": _measure(path, first, repeats),
                "converted": _measure(converted, first, repeats),
            }
            path.unlink()
            converted.unlink()
    return found


def _warm(folder: Path) -> Path:
    """A tiny file of a known network: loading it first keeps imports out of the measurement."""
    from sdflow.model import ConditionalFlow

    path = folder / "tiny"
    torch.save(ConditionalFlow(1, width=4, hidden=(4,)).state_dict(), path)
    return path


def _measure(path: Path, first: Path, repeats: int) -> dict[str, float]:
    """Medians over ``repeats`` fresh processes, after one that fills the file cache."""
    runs = []
    for _ in range(repeats + 1):
        command = [sys.executable, "-c", MEASURE, str(path), str(first)]
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        runs.append(json.loads(done.stdout))
    return {name: statistics.median(one[name] for one in runs[1:]) for name in runs[0]}
