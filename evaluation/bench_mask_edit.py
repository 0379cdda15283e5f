"""Masked editing by the presets ``paper`` and ``fast`` on the same faces and attributes, and a second attribute on one photo.

python cli.py bench mask-edit --repeats 2 --json
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from evaluation.maskfacegan import edit_once, mean
from evaluation.swap_faces import pictures
from workbench.engine import Engine
from workbench.errors import BadRequest
from workbench.face import Face
from workbench.images import load_image
from workbench.masking import masked_editor

REPEATS = 1
ATTRIBUTES = ("Smiling", "Big_Nose")
SLOW, QUICK = "paper", "fast"
INTENSITIES = (0.9, 0.8, 0.7, 0.6)
"""Weaker edits by ``fast``, as it moves further than ``paper`` at the same target."""


def run(
    repeats: int = REPEATS, *, faces: Path | str | None = None, attributes: Sequence[str] = ATTRIBUTES,
    family: str = "starter", device: str = "cpu", manifest: Path | str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Both presets on ``repeats`` faces times ``attributes`` of local edits: sample faces, or the pictures of a folder ``faces``.

    ``ratio``: processor time of ``fast`` over that of ``paper``. ``second_over_first``: time of the second attribute on a photo,
    whose reconstruction is kept, over that of the first, for each preset. Times are processor seconds of the process (of the
    clock on other devices than the CPU), so that other programs count little. ``weaker``: ``fast`` aimed at less, by
    intensity; ``matched`` is the weakest of ``fast`` that succeeds at least as often as ``paper``, to compare what else changed.
    """
    if len(attributes) < 2:
        raise BadRequest("The second attribute on a photo is compared with the first; name two.")
    engine = Engine(family, device, family_file=manifest)
    editor = masked_editor(engine)
    time = "processor_seconds" if engine.device.type == "cpu" else "seconds"
    lines: dict[str, list[dict[str, Any]]] = {SLOW: [], QUICK: []}
    weaker: dict[float, list[dict[str, Any]]] = {intensity: [] for intensity in INTENSITIES}
    chosen = _faces(engine, repeats, faces)
    for face in chosen:
        for preset, found in lines.items():
            editor.forget()
            found += [edit_once(engine, editor, face, attribute, preset)[0] for attribute in attributes]
        for intensity, found in weaker.items():
            found += [
                edit_once(engine, editor, face, attribute, QUICK, intensity=intensity)[0] for attribute in attributes
            ]
    told = {preset: _summary(found, time, len(attributes)) for preset, found in lines.items()}
    less = {intensity: _effect(found) for intensity, found in weaker.items()}
    return {
        "faces": len(chosen),
        "attributes": ", ".join(attributes),
        "family": engine.family,
        "size": engine.size,
        "device": str(engine.device),
        "threads": torch.get_num_threads(),
        **told,
        "weaker": less,
        "matched": matched({1.0: told[QUICK], **less}, told[SLOW]["success"]),
        "ratio": told[QUICK]["seconds"] / told[SLOW]["seconds"],
    }


def _faces(engine: Engine, count: int, folder: Path | str | None) -> list[Face]:
    if folder is None:
        samples = list(engine.sample_faces()[:count])
        return samples + [engine.random_face(seed) for seed in range(count - len(samples))]
    files = pictures(Path(folder))
    names = files.names[:count]
    return [engine.project(engine.use_aligned(load_image(files.read(name), Path(name).name))) for name in names]


def matched(quick: Mapping[float, Mapping[str, Any]], success: float) -> dict[str, Any] | None:
    """The weakest of ``quick``, by intensity, that succeeds at least as often as ``success``; None when none does."""
    enough = [intensity for intensity, one in quick.items() if one["success"] >= success]
    return {"intensity": min(enough), **quick[min(enough)]} if enough else None


def _effect(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "n": len(found),
        "success": mean([float(one["success"]) for one in found]),
        "over_half": mean([float(one["over_half"]) for one in found]),
        "moved": mean([one["moved"] for one in found]),
        "others": mean([one["others"] for one in found]),
        "identity": mean([one["identity"] for one in found]),
        "psnr_inside": mean([one["psnr_inside"] for one in found]),
        "outside_identical": all(one["psnr_outside"] is None for one in found),
    }


def _summary(found: Sequence[Mapping[str, Any]], time: str, attributes: int) -> dict[str, Any]:
    firsts, seconds = found[::attributes], found[1::attributes]
    return {
        "seconds": statistics.fmean(one[time] for one in found),
        "steps": statistics.fmean(one["steps"] for one in found),
        **_effect(found),
        "second_over_first": sum(one[time] for one in seconds) / sum(one[time] for one in firsts),
    }
