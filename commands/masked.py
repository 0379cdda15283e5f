"""``mask-edit``: one part of the face, or one global attribute, by masked latent optimisation."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from commands.faces import Result, _aligned, engine_of
from commands.photos import Clock, collect, complain, each, places
from maskfacegan.controls import MODES, value_of
from maskfacegan.editor import MaskedResult, MaskFaceGANEditor, Snapshot
from maskfacegan.presets import PRESETS
from workbench.devices import lock
from workbench.editor import EditRequest
from workbench.engine import Engine
from workbench.errors import BadImage, BadRequest, Cancelled
from workbench.export import Provenance, save_image, write
from workbench.face import Face, content_hash
from workbench.masking import Judged, judged, masked_editor

SAVE_EVERY = 25


def mask_edit(options: argparse.Namespace) -> int:
    """Edit one face of each photo under a mask; photos of a folder whose result is there already are left out."""
    inputs = collect(options.photos)
    outputs = places(inputs, options.out, ".png")
    masks = places(inputs, options.save_mask, ".png", "--save-mask")
    for place in masks.values():
        if place is not None and place.suffix.lower() != ".png":
            raise BadRequest(f"'{place}' is no name for a mask, which must be lossless; let it end in .png.")
    engine = engine_of(options)
    editor = masked_editor(engine)
    request = request_of(options, editor)
    own = None if options.mask is None else _read_mask(Path(options.mask), engine.size)
    if own is not None and inputs.many:
        raise BadRequest("--mask belongs to one face; give one photo with it.")
    done = {photo for photo in inputs.photos if inputs.many and _there(outputs[photo]) and _there(masks[photo], True)}
    if done and not options.again:
        complain(
            f"{len(done)} of {len(inputs.photos)} results are there already and are left alone; --again makes them anew."
        )
        todo = [photo for photo in inputs.photos if photo not in done]
    else:
        todo = list(inputs.photos)

    def work(path: Path) -> Result:
        clock = Clock()
        _, aligned, _ = _aligned(engine, path, options, clock)
        with clock.stage("project"):
            face = engine.project(aligned)
        output, mask_file = outputs[path], masks[path]
        with clock.stage("edit"):
            result = _run(engine, editor, face, request, own, output)
        with clock.stage("judge"):
            body = _told(judged(engine, face, result))
        with clock.stage("compose"):
            composed = engine.compose(face, result, crop=options.crop)
        with clock.stage("write"):
            if output is not None:
                save_image(output, composed.pixels, Provenance(request, engine.family, result.weights))
            if mask_file is not None and result.mask is not None:
                _write_mask(mask_file, result.mask)
        trace = [{"step": p.step, "stage": p.stage, "loss": round(p.total, 6)} for p in result.trace]
        body |= {
            "input": str(path),
            "output": None if output is None else str(output),
            "mask": None if mask_file is None else str(mask_file),
            "steps": int(result.stats["steps"]),
            "loss_trace": trace,
            "stats": {name: float(value) for name, value in result.stats.items()},
            "seconds": clock.rounded(),
            "request": {"editor": request.editor, "values": dict(request.values), "seed": request.seed},
        }
        told = ", ".join(f"{n} {a['before']:.2f} -> {a['after']:.2f}" for n, a in body["judge"].items())
        return body, f"{path}: {told}; {body['steps']} steps in {clock.seconds['edit']:.1f} s" + (
            f"; written to {output}" if output is not None else ""
        )

    return each(todo, work, options.json)


def request_of(options: argparse.Namespace, editor: MaskFaceGANEditor) -> EditRequest:
    """The request of the options. Raises BadRequest."""
    names, targets = options.attribute, options.target or [1.0]
    if len(targets) not in (1, len(names)):
        raise BadRequest(f"{len(names)} attributes need one --target or one each; {len(targets)} were given.")
    if len(targets) == 1:
        targets = targets * len(names)
    values: dict[str, float] = {}
    for name, target in zip(names, targets, strict=True):
        control = editor.spec.control(name)
        if control.attribute is None:
            raise BadRequest(f"'{name}' is a setting; --attribute takes one of CelebA's attributes, such as smiling.")
        values[control.name] = value_of(target)
    if not 0.5 <= options.size <= 2:
        raise BadRequest(f"--size is a factor on the part's area between 0.5 and 2; {options.size:g} is not.")
    if options.size != 1:
        values["size"] = float(np.log2(options.size))
    values["preset"] = float(list(PRESETS).index(options.preset))
    values["mode"] = float(MODES.index(options.mode))
    request = EditRequest(editor.spec.name, editor.spec.version, values, options.seed)
    editor.spec.validate(request)
    return request


def _run(
    engine: Engine, editor: MaskFaceGANEditor, face: Face, request: EditRequest, own: Tensor | None, output: Path | None
) -> MaskedResult:
    """The edit, going on from a stopped run of the same order that left its state beside ``output``."""
    kept = None if output is None else output.with_name(output.name + ".part")
    key = content_hash(face.hash, request.to_json(), own)
    resume = None if kept is None else _resume(kept, key)

    def watch(now: Snapshot) -> None:
        if kept is not None and (now.point.step + 1) % SAVE_EVERY == 0:
            part = kept.with_name(kept.name + ".new")
            part.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"key": key, "state": now.state()}, part)
            os.replace(part, kept)

    with lock(engine.device):
        try:
            result = editor.run(face, request, mask=own, resume=resume, watch=watch)
        except torch.OutOfMemoryError:
            complain("The device ran out of memory; once more at half the size.")
            result = editor.run(face, request, mask=own, reduced=True)
    if kept is not None:
        kept.unlink(missing_ok=True)
    if not isinstance(result, MaskedResult):
        raise Cancelled("The edit gave no result.")
    return result


def _resume(path: Path, key: str) -> Mapping[str, Any] | None:
    """The state in ``path`` if it belongs to this order; a damaged or strange file is ignored."""
    if not path.is_file():
        return None
    try:
        body = torch.load(path, weights_only=True)
        return body["state"] if body["key"] == key else None
    except (OSError, RuntimeError, KeyError, ValueError, EOFError):
        return None


def _told(found: Judged) -> dict[str, Any]:
    """The measurement as JSON."""
    asked = {
        name: {
            "before": round(one.before, 4),
            "after": round(one.after, 4),
            "threshold": one.threshold,
            "success": one.success,
        }
        for name, one in found.asked.items()
    }
    return {
        "judge": asked,
        "judge_id": found.judge,
        "judge_guided_too": found.guided_too,
        "others_change": round(found.others, 4),
        "identity": round(found.identity, 4),
        "psnr_inside": _rounded(found.psnr_inside),
        "psnr_outside": _rounded(found.psnr_outside),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _read_mask(path: Path, size: int) -> Tensor:
    """A grey picture as (1,S,S) in [0, 1]. Raises BadImage."""
    data = path.read_bytes() if path.is_file() else b""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE) if data else None
    if image is None:
        raise BadImage(f"The mask '{path}' is no picture that can be read; give a grey PNG of the aligned face.")
    if image.shape != (size, size):
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return torch.from_numpy(image.astype(np.float32) / 255)[None]


def _there(place: Path | None, unasked: bool = False) -> bool:
    """Whether the file ``place`` is there; ``unasked`` where none is wanted."""
    return unasked if place is None else place.is_file()


def _write_mask(path: Path, mask: Tensor) -> None:
    """Write the blend mask as a grey PNG: 0 exactly where nothing may change."""
    values = mask[0].detach().cpu().numpy()
    grey = np.where(values > 0, np.clip(np.round(values * 255), 1, 255), 0).astype(np.uint8)
    _, data = cv2.imencode(".png", grey)
    write(path, data.tobytes())
