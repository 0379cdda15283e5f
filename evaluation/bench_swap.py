"""What a sheet of swaps costs: every picture encoded once, one generator pass per combination, and little besides."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evaluation.memory import peak_mib
from idswap.swap import Codes, IdSwap, NitzanSwap, Strengths, ZhouSwap
from workbench.engine import Engine
from workbench.errors import MissingWeights
from workbench.export import Provenance, save_image
from workbench.face import AlignedFace, Face
from workbench.images import load_image
from workbench.ledger import Ledger
from workbench.swap_folders import Failed, FolderSwaps, Order
from workbench.swapping import METHODS, Swapping

REPEATS = 5
SIDE = 8


@dataclass
class Counts:
    """Pictures that went through the method's encoder, through the generator, and through the family's recogniser.

    Nitzan's identity encoder is the recogniser, so ``looks`` counts its encodings and the readings of results.
    """

    encodes: int = 0
    passes: int = 0
    looks: int = 0


@contextmanager
def counted(method: IdSwap, recogniser: nn.Module) -> Iterator[Counts]:
    """Count what the networks are really asked for while inside, whoever asks."""
    assert isinstance(method, NitzanSwap | ZhouSwap)  # there are no others
    counts = Counts()

    def encode(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        counts.encodes += len(inputs[0])

    def render(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        counts.passes += len(inputs[0])

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
        counts.looks += len(inputs[0])

    encoder = method.attributes if isinstance(method, NitzanSwap) else method.encoder
    # Every rendering goes through the first convolution once.
    hooks = [encoder.register_forward_hook(encode), method.generator.conv1.register_forward_hook(render)]
    hooks.append(recogniser.register_forward_hook(look))
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def run(
    repeats: int = REPEATS,
    *,
    side: int = SIDE,
    family: str = "starter",
    device: str = "cpu",
    manifest: Path | str | None = None,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Medians of ``repeats`` sheets of ``side`` x ``side`` generated faces, for each method the family has, by its ``ratio``.

    ``sheet``: codes of all pictures and a swap per combination, through the engine. ``parts``: as many bare encodings and
    generator passes on tensors that are ready, one picture at a time, as the sheet's are. ``ratio`` is the one over the other;
    the two are taken in turns, step by step. ``swap`` is a single swap of two new pictures, ``swap_parts`` two encodings and
    one pass, ``swap_ratio`` their ratio.
    ``encodes``, ``passes`` and ``looks`` (of the recogniser) are what the networks were asked for in one sheet, ``command``
    the same for ``swap-dirs`` on files, which also reads, cuts, scores and writes. Raises MissingWeights when the family has no
    method.
    """
    engine = Engine(family, device, family_file=manifest)
    swapping = Swapping(engine, weights)
    faces = [engine.random_face(seed) for seed in range(2 * side)]
    found: dict[str, Any] = {}
    for name in METHODS:
        try:
            swapping.method(name)
        except MissingWeights:
            continue
        found[name] = _measured(engine, swapping, name, faces, repeats)
    if not found:
        raise MissingWeights(f"The {engine.family} family has no swapping weights, so there is nothing to measure.")
    return {
        "repeats": repeats,
        "sheet": [side, side],
        "family": engine.family,
        "size": engine.size,
        "device": str(engine.device),
        "threads": torch.get_num_threads(),
        "peak_mib": peak_mib(),
        **found,
    }


def _measured(engine: Engine, swapping: Swapping, name: str, faces: list[Face], repeats: int) -> dict[str, Any]:
    method, half = swapping.method(name), len(faces) // 2
    who, what = faces[:half], faces[half:]
    pictures = [face.target[None].to(engine.device) for face in faces]
    code = faces[0].latent.code[None].to(engine.device)

    def encode(at: int) -> Codes:
        with torch.inference_mode():
            return method.encode(pictures[at]).to("cpu")

    def synth() -> Tensor:
        with torch.inference_mode():
            return method.synth(code).cpu()

    def sheet(columns: list[Face], rows: list[Face]) -> tuple[float, float]:
        """Seconds of a sheet and of its parts, in turns: what else the machine does then falls on both."""
        swapping.forget()
        ours = bare = 0.0
        for at, face in enumerate([*columns, *rows]):
            ours += _timed(lambda face=face: swapping.codes(name, face))
            bare += _timed(lambda at=at: encode(at))
        for row in rows:
            for column in columns:
                ours += _timed(lambda one=column, other=row: swapping.swap(name, one, other))
                bare += _timed(synth)
        return ours, bare

    times: dict[str, list[float]] = {key: [] for key in ("sheet", "parts", "swap", "swap_parts")}
    for repeat in range(-1, repeats):
        whole = sheet(who, what)
        singles = [sheet([one], [other]) for one, other in zip(who, what, strict=True)]
        if repeat >= 0:
            times["sheet"].append(whole[0])
            times["parts"].append(whole[1])
            times["swap"] += [ours for ours, _ in singles]
            times["swap_parts"] += [bare for _, bare in singles]
    recogniser = engine.store.module("identity")
    with counted(method, recogniser) as counts:
        swapping.forget()
        for row in what:
            for column in who:
                swapping.swap(name, column, row)
    medians = {key: 1000 * statistics.median(values) for key, values in times.items()}
    return {
        "encodes": counts.encodes,
        "passes": counts.passes,
        "looks": counts.looks,
        "milliseconds": {key: round(value, 3) for key, value in medians.items()},
        "ratio": round(medians["sheet"] / medians["parts"], 3),
        "swap_ratio": round(medians["swap"] / medians["swap_parts"], 3),
        "command": _command(engine, swapping, name, who, what),
    }


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _written(engine: Engine, faces: list[Face], folder: Path) -> list[Path]:
    paths = [folder / f"{at}.png" for at in range(len(faces))]
    for path, face in zip(paths, faces, strict=True):
        save_image(path, face.aligned.image, Provenance(None, engine.family))
    return paths


def _command(engine: Engine, swapping: Swapping, name: str, who: list[Face], what: list[Face]) -> dict[str, Any]:
    """``swap-dirs`` on files of these faces, from a cold start: seconds and what the networks were asked for."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        identities, attributes = _written(engine, who, folder / "id"), _written(engine, what, folder / "attr")
        swapping.forget()
        engine.forget()
        with (
            Ledger(folder / "out", "bench") as ledger,
            counted(swapping.method(name), engine.store.module("identity")) as counts,
        ):

            def read(path: Path) -> AlignedFace:
                return engine.use_aligned(load_image(path))

            job = FolderSwaps(engine, swapping, Order(name, Strengths(), crop=True), read, ledger)
            started = time.perf_counter()
            done = list(job.all(identities, attributes, folder / "out", folder / "out" / "sheet.png"))
            seconds = time.perf_counter() - started
        failed = [step for step in done if isinstance(step, Failed)]
        if failed:
            raise failed[0].error
    return {"encodes": counts.encodes, "passes": counts.passes, "looks": counts.looks, "seconds": round(seconds, 2)}
