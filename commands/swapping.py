"""``swap``: one face's identity on another's attributes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from commands.faces import engine_of
from commands.photos import Clock, each
from idswap.swap import Strengths
from workbench.engine import Engine
from workbench.errors import BadRequest, NoFace
from workbench.export import Provenance, check_place, form_of, save_image
from workbench.face import AlignedFace, Face, to_tensor
from workbench.images import load_image
from workbench.swapping import Swapping, checked, described


def swap(options: argparse.Namespace) -> int:
    """Swap once and write the photo, or with ``--crop`` the face."""
    who, what, out = Path(options.identity), Path(options.attributes), Path(options.out)
    for source in (who, what):
        if source.resolve() == out.resolve():
            raise BadRequest(f"--out '{out}' would overwrite the photo itself; choose another name.")
    form_of(out)
    check_place(out)
    engine = engine_of(options)
    swapping = Swapping(engine)
    strengths = checked(Strengths(options.identity_strength, options.attribute_strength))

    clock = Clock()
    with clock.stage("align identity"):
        identity = aligned_of(engine, who, options.aligned)

    def work(path: Path) -> tuple[Mapping[str, Any], str]:
        with clock.stage("align attributes"):
            attributes = aligned_of(engine, path, options.aligned)
        with clock.stage("encode"):
            for face in (identity, attributes):
                swapping.codes(options.method, face)
        start: Face | AlignedFace = attributes
        if options.base == "photo":
            with clock.stage("project attributes"):
                start = engine.project(attributes, "encoder")
        with clock.stage("swap"):
            result = swapping.swap(options.method, identity, start, strengths, base=options.base)
        with clock.stage("compose"):
            shown = swapping.place(start, result, crop=True, base=options.base)
            pixels = shown if options.crop else swapping.place(start, result, base=options.base)
        with clock.stage("write"):
            save_image(out, pixels, Provenance(result.request, engine.family, result.weights))
        first, second = (to_tensor(face.image) for face in (identity, attributes))
        to_identity, to_attributes = (engine.identity(to_tensor(shown), one) for one in (first, second))
        body = {
            "identity": str(who),
            "attributes": str(path),
            "method": options.method,
            "base": options.base,
            "identity_strength": strengths.identity,
            "attribute_strength": strengths.attributes,
            "identity_to_identity": round(to_identity, 4),
            "identity_to_attributes": round(to_attributes, 4),
            "sources_apart": round(engine.identity(first, second), 4),
            "weights": list(result.weights),
            "warnings": [*remarks(identity, attributes), *(start.warnings if isinstance(start, Face) else ())],
            "request": json.loads(result.request.to_json()),
            "size": [pixels.shape[1], pixels.shape[0]],
            "seconds": clock.rounded(),
            "output": str(out),
        }
        scores = f"identity {to_identity:.3f} to '{who.name}', {to_attributes:.3f} to '{path.name}'"
        return body, f"{path}: {scores}; written to {out}"

    return each([what], work, options.json)


def remarks(*faces: AlignedFace) -> list[str]:
    """What is to be said of pictures that are swaps of this program themselves."""
    told = ((face.photo.name, described(face.photo.request)) for face in faces)
    return [f"{name}: {sentence}" for name, sentence in told if sentence]


def aligned_of(engine: Engine, path: Path, is_aligned: bool) -> AlignedFace:
    """The largest face of the photo ``path``, or with ``is_aligned`` the picture itself. Raises BadImage and NoFace."""
    photo = load_image(path)
    if is_aligned:
        return engine.use_aligned(photo)
    faces = engine.detect(photo)
    if not faces:
        raise NoFace(f"No face was found in '{path}'; use another photo, or --aligned for a face cut out already.")
    return engine.align(photo, faces[0])
