"""``align``, ``project`` and ``edit``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from commands.photos import Clock, collect, each, places
from workbench.editor import EditorSpec, EditRequest
from workbench.engine import Engine
from workbench.errors import BadRequest, NoFace
from workbench.export import Provenance, read_request, save_code, save_image
from workbench.face import AlignedFace, Detection, Face, Photo, to_tensor, to_uint8
from workbench.images import load_image

Result = tuple[Mapping[str, Any], str]


def engine_of(options: argparse.Namespace) -> Engine:
    """The engine that the common options ask for."""
    return Engine(
        options.family,
        options.device,
        family_file=options.manifest,
        detector=options.detector,
        precision=options.precision,
    )


def align(options: argparse.Namespace) -> int:
    """Find the faces of each photo and cut one out."""
    inputs = collect(options.photos)
    outputs = places(inputs, options.out, ".png")
    engine = engine_of(options)

    def work(path: Path) -> Result:
        clock = Clock()
        _, aligned, faces = _aligned(engine, path, options, clock)
        output = outputs[path]
        if output is not None:
            with clock.stage("write"):
                save_image(output, aligned.image, Provenance(None, engine.family))
        body = {
            "input": str(path),
            "faces": [_face(face) for face in faces],
            "quad": _numbers(aligned.transform.quad),
            "size": engine.size,
            "seconds": clock.rounded(),
            "output": _text(output),
        }
        return body, f"{path}: {_count(faces, options)}{_written(output)}"

    return each(inputs.photos, work, options.json)


def project(options: argparse.Namespace) -> int:
    """Project one face of each photo into W+."""
    inputs = collect(options.photos)
    outputs = places(inputs, options.out, ".png")
    codes = places(inputs, options.code, ".safetensors", "--code")
    engine = engine_of(options)

    def work(path: Path) -> Result:
        clock = Clock()
        _, aligned, faces = _aligned(engine, path, options, clock)
        face = _project(engine, aligned, options, clock)
        output, code = outputs[path], codes[path]
        with clock.stage("write"):
            if output is not None:
                save_image(output, to_uint8(face.image), Provenance(None, engine.family, (engine.generator_id,)))
            if code is not None:
                save_code(code, face.latent)
        body = {
            "input": str(path),
            "mode": face.mode,
            "identity": round(face.identity, 4),
            "l2": round(face.l2, 5),
            "seconds": round(face.seconds, 4),
            "stages": clock.rounded(),
            "faces": [_face(found) for found in faces],
            "warnings": list(face.warnings),
            "code": _text(code),
            "output": _text(output),
        }
        reached = f"identity {face.identity:.3f}, l2 {face.l2:.4f} in {face.seconds:.2f} s"
        return body, f"{path}: {face.mode}, {reached}{_written(output)}"

    return each(inputs.photos, work, options.json)


def edit(options: argparse.Namespace) -> int:
    """Edit one face of each photo and give the photo back."""
    inputs = collect(options.photos)
    outputs = places(inputs, options.out, ".png")
    engine = engine_of(options)
    request = request_of(options, engine)

    def work(path: Path) -> Result:
        clock = Clock()
        photo, aligned, faces = _aligned(engine, path, options, clock)
        face = _project(engine, aligned, options, clock)
        with clock.stage("edit"):
            result = engine.edit(face, request)
        with clock.stage("readout"):
            comparison = engine.compare(face, result.image, request)
        with clock.stage("compose"):
            keep = not options.replace
            composed = engine.compose(
                face, result, crop=options.crop, keep_detail=keep, colour_match=options.colour_match
            )
        shown = _shown(face, result.image, keep)
        output = outputs[path]
        with clock.stage("write"):
            if output is not None:
                save_image(output, composed.pixels, Provenance(request, engine.family, result.weights))
        identity = engine.identity(shown, face.target)
        body = {
            "input": str(path),
            "faces": [_face(found) for found in faces],
            "mode": face.mode,
            "identity": round(identity, 4),
            "identity_rendering": round(comparison.identity, 4),
            "identity_projection": round(face.identity, 4),
            "l2": round(face.l2, 5),
            "readout_before": _rounded(comparison.before.values),
            "readout_after": _rounded(comparison.after.values),
            "unintended": list(comparison.unintended),
            "warnings": list(face.warnings),
            "stats": {name: float(value) for name, value in result.stats.items()},
            "seconds": clock.rounded(),
            "request": {
                "editor": request.editor,
                "version": request.version,
                "values": dict(request.values),
                "seed": request.seed,
            },
            "size": list(composed.size),
            "photo_size": list(photo.size),
            "output": _text(output),
        }
        changed = ", ".join(
            f"{name} {comparison.before.values[name]:.2f} -> {comparison.after.values[name]:.2f}"
            for name in _asked(engine.spec(request.editor), request)
        )
        text = f"{path}: {changed or 'nothing asked'}; identity {identity:.3f}{_written(output)}"
        return body, text

    return each(inputs.photos, work, options.json)


def request_of(options: argparse.Namespace, engine: Engine) -> EditRequest:
    """The request of ``--request`` and ``--set``; the latter win. Raises BadRequest."""
    start = _read(options.request) if options.request else None
    spec = engine.spec(start.editor if start and options.editor is None else options.editor or "sdflow")
    values = dict(start.values) if start else {}
    for text in options.set:
        name, separator, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = None
        if not separator or number is None:
            raise BadRequest(f"--set takes name=number, such as --set smiling=1; '{text}' is not that.")
        values[spec.control(name.strip()).name] = number
    request = EditRequest(spec.name, spec.version, values, start.seed if start else 0)
    spec.validate(request)
    return request


def _read(name: str) -> EditRequest:
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        raise BadRequest(f"--request '{name}' cannot be read ({error.strerror}).") from error
    found = read_request(data)
    if found is None:
        try:
            found = EditRequest.from_json(data.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise BadRequest(f"--request '{name}' is no export of this program and carries no request.") from error
    return found


def _aligned(
    engine: Engine, path: Path, options: argparse.Namespace, clock: Clock
) -> tuple[Photo, AlignedFace, tuple[Detection, ...]]:
    with clock.stage("load"):
        photo = load_image(path)
    if options.aligned:
        with clock.stage("align"):
            return photo, engine.use_aligned(photo), ()
    with clock.stage("detect"):
        faces = engine.detect(photo)
    if not 0 <= options.face < len(faces):
        raise NoFace(f"There is no face number {options.face}; the photo shows {len(faces)}, counted from 0 (largest).")
    with clock.stage("align"):
        return photo, engine.align(photo, faces[options.face]), faces


def _project(engine: Engine, aligned: AlignedFace, options: argparse.Namespace, clock: Clock) -> Face:
    with clock.stage("project"):
        return engine.project(aligned, options.mode, steps=options.steps)


def _shown(face: Face, image: Tensor, keep_detail: bool) -> Tensor:
    """The face as it stands in the written picture."""
    shown = face.target + image - face.image if keep_detail else image
    return to_tensor(to_uint8(torch.clamp(shown, -1, 1)))


def _asked(spec: EditorSpec, request: EditRequest) -> tuple[str, ...]:
    values = spec.validate(request)
    return tuple(c.attribute for c in spec.controls if c.attribute and values[c.name] != c.neutral)


def _face(found: Detection) -> dict[str, Any]:
    return {
        "box": [round(float(v), 2) for v in found.box],
        "points5": _numbers(found.points5),
        "points68": None if found.points68 is None else _numbers(found.points68),
        "score": round(float(found.score), 4),
        "warnings": list(found.warnings),
    }


def _numbers(array: Any) -> list[list[float]]:
    return [[round(float(v), 2) for v in row] for row in array]


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _count(faces: Sequence[Detection], options: argparse.Namespace) -> str:
    if options.aligned:
        return "taken as aligned"
    return f"{len(faces)} face{'s' if len(faces) != 1 else ''}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _written(path: Path | None) -> str:
    return "" if path is None else f"; written to {path}"
