"""What a slider move costs once a photo is projected, against one generator pass and one readout pass."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from workbench.editor import EditRequest
from workbench.engine import Engine
from workbench.project import render
from workbench.readout import embed, read

REPEATS = 30


def run(
    repeats: int = REPEATS, *, family: str = "starter", device: str = "cpu", manifest: Path | str | None = None
) -> dict[str, Any]:
    """Medians in milliseconds of ``repeats`` slider moves and of the two passes, taken in turns, and their ``ratio``.

    A move is an edit the engine has not seen, of each slider in turn, with its picture, 40 readouts and identity. The
    passes are the bare networks on tensors that are ready: ``generator`` renders one code, ``readout`` reads the 40
    attributes and the identity of one picture. ``ratio_attributes`` counts the attributes alone as the readout.

    What is left for the flow on a CPU is little: at 128 px (generator 53 ms, readout 9 ms on one core) the published
    hidden widths of 5 x 512 take 65 ms and the ratio is above 2; 3 x 128 take 12 ms.
    """
    engine = Engine(family, device, family_file=manifest)
    face = engine.random_face(0)
    spec = engine.spec("sdflow")
    sliders = [c.name for c in spec.controls if c.attribute]
    generator, judge = engine.store.generator(), engine.store.network("attributes")
    embedder = engine.store.module("identity")
    code, image = face.latent.code[None].to(engine.device), face.image.to(engine.device)
    names = ("edit", "compare", "slider", "generator", "attributes", "identity", "readout")
    times: dict[str, list[float]] = {name: [] for name in names}

    def move(index: int) -> None:
        # Every slider in turn, and every value new, so that no cache answers in the networks' place.
        value = 0.2 + 0.7 * (index + 1) / (repeats + 4)
        request = EditRequest(spec.name, spec.version, {sliders[index % len(sliders)]: value})
        edit, result = _timed(lambda: engine.edit(face, request), engine.device)
        compare, _ = _timed(lambda: engine.compare(face, result.image, request), engine.device)
        _keep(times, edit=edit, compare=compare, slider=edit + compare)

    def passes() -> None:
        with torch.no_grad():
            one, _ = _timed(lambda: render(generator, code), engine.device)
            other, _ = _timed(lambda: read(judge.module, image, judge.id), engine.device)
            third, _ = _timed(lambda: embed(embedder, image), engine.device)
        _keep(times, generator=one, attributes=other, identity=third, readout=other + third)

    for index in range(-3, repeats):
        move(index)
        passes()
    medians = {name: 1000 * statistics.median(values[3:]) for name, values in times.items()}
    return {
        "repeats": repeats,
        "family": engine.family,
        "size": engine.size,
        "device": str(engine.device),
        "threads": torch.get_num_threads(),
        "milliseconds": {name: round(value, 3) for name, value in medians.items()},
        "ratio": round(medians["slider"] / (medians["generator"] + medians["readout"]), 3),
        "ratio_attributes": round(medians["slider"] / (medians["generator"] + medians["attributes"]), 3),
    }


def _timed(work: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    started = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started, result


def _keep(times: dict[str, list[float]], **seconds: float) -> None:
    for name, value in seconds.items():
        times[name].append(value)
