"""The numbers of one set of pairs: every method and base on them, beside what the numbers are worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation import registry
from evaluation.features import kernel_distance
from evaluation.metrics import frechet
from evaluation.swap_faces import Pairs, aligned, drawn
from evaluation.swap_readers import Readers, Reading, read
from evaluation.swap_report import save_sheet
from evaluation.swap_scores import Number, identity, mean, shape, surroundings
from idswap.swap import Strengths
from workbench.engine import Engine
from workbench.errors import BadRequest
from workbench.face import AlignedFace, Face, to_tensor
from workbench.judges import Judge
from workbench.swapping import Base, Swapping

FLOOR = 3 << 41
"""First seed of the faces that show how far the generator itself is from the pictures."""
Tell = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Side:
    """The pictures (N,3,S,S) of one side of all pairs, their faces, projected where that is possible, and what was read off them."""

    faces: tuple[Face | AlignedFace, ...]
    images: Tensor
    readings: tuple[Reading, ...]


def side(engine: Engine, readers: Readers, faces: Sequence[AlignedFace | Face]) -> Side:
    """Project ``faces``, where the family can, and read them."""
    able = "projector" in engine.store.family.records
    projected = tuple(face if isinstance(face, Face) or not able else engine.project(face, "encoder") for face in faces)
    images = torch.stack([to_tensor(aligned(face).image) for face in faces])
    return Side(projected, images, tuple(read(readers, image, engine.device) for image in images))


def swapped(
    swapping: Swapping,
    method: str,
    base: Base,
    who: Sequence[Face | AlignedFace],
    what: Sequence[Face | AlignedFace],
    strengths: Strengths,
) -> tuple[Tensor, dict[str, list[float]]]:
    """Results (N,3,S,S) as they would be written, and seconds per pair of both encodings and of the rest."""
    images, seconds = [], {"encode": [], "swap": []}
    for one, other in zip(who, what, strict=True):
        started = time.perf_counter()
        codes = swapping.codes(method, one)
        swapping.codes(method, other)
        between = time.perf_counter()
        result = swapping.swap_codes(method, codes, other, strengths, base=base)
        seconds["encode"].append(between - started)
        seconds["swap"].append(time.perf_counter() - between)
        images.append(to_tensor(swapping.place(other, result, crop=True, base=base)))
    return torch.stack(images), seconds


def measure_pairs(
    engine: Engine,
    pairs: Pairs,
    readers: Readers,
    swapping: Swapping,
    methods: Sequence[str],
    bases: Sequence[Base],
    strengths: Strengths,
    tell: Tell,
    sheet: Path | None = None,
) -> dict[str, Any]:
    """All numbers of one set of pairs; pairs whose sources show no face are left out and named."""
    who, what = (side(engine, readers, faces) for faces in (pairs.identities, pairs.attributes))
    good = [i for i, (a, b) in enumerate(zip(who.readings, what.readings, strict=True)) if a.found and b.found]
    faceless = [_names(pairs, i) for i in range(len(who.readings)) if i not in good]
    if len(good) < 2:
        raise BadRequest(
            f"Of {len(who.readings)} pairs ({pairs.kind}) {len(good)} show faces in both; give other faces."
        )
    who, what = (_kept(one, good) for one in (who, what))
    tell(f"{pairs.kind}: {len(good)} pairs")
    apart = torch.stack([a.judged @ b.judged for a, b in zip(who.readings, what.readings, strict=True)])
    known = vectors(readers, pairs.others, engine.device)
    body: dict[str, Any] = {
        "pairs": len(good),
        "compared_with": len(pairs.others),
        "left_out": [*pairs.left_out, *faceless],
        "sources_apart": mean(apart.double().numpy()).told(),
        "references": {},
        "results": {},
    }
    # What the numbers are worth: the attribute picture left alone, and its projection, which is as good as w can be.
    known_for = {"attribute_picture": (what.images, what.readings)}
    rendered = [face.image for face in what.faces if isinstance(face, Face)]
    projections = torch.stack(rendered) if len(rendered) == len(what.faces) else None
    if projections is not None:
        known_for["projection"] = projections, tuple(read(readers, image, engine.device) for image in projections)
    for name, (images, readings) in known_for.items():
        scores = scored(images, readings, who, what, readers, engine.device, known)
        body["references"][name] = _told(scores)
    if readers.features is not None:
        floor = drawn(engine, len(good), FLOOR)
        body["generator_floor"] = _told(quality(known, vectors(readers, floor, engine.device)))
    shown: dict[str, Tensor] = {}
    for method in methods:
        for base in bases:
            label = f"{method}/{base}"
            swapping.forget()  # so that every label pays for its own encodings
            images, seconds = swapped(swapping, method, base, who.faces, what.faces, strengths)
            readings = tuple(read(readers, image, engine.device) for image in images)
            scores = scored(images, readings, who, what, readers, engine.device, known)
            same, _ = swapped(swapping, method, base, what.faces, what.faces, strengths)
            body["results"][label] = {
                **_told(scores),
                "reconstruction": _told(reconstruction(same, what, readers.judge, engine.device)),
                "seconds": {name: round(float(np.median(values)), 4) for name, values in seconds.items()},
                "weights": list(swapping.weights(method)),
                "without_face": [_names(pairs, good[i]) for i, r in enumerate(readings) if not r.found],
            }
            shown[label] = images
            tell(f"{pairs.kind} {label}: {_short(scores)}")
    if sheet is not None:
        save_sheet(sheet, who.images, what.images, projections, shown, engine.family)
    return body


def scored(
    images: Tensor,
    readings: Sequence[Reading],
    who: Side,
    what: Side,
    readers: Readers,
    device: torch.device,
    others: Tensor,
) -> dict[str, dict[str, Number]]:
    """Everything that is read off results ``images`` (N,3,S,S) against both sources; ``others`` (M,D) are features of photos."""
    found = {"identity": identity(readings, who.readings, what.readings, lambda r: r.judged)}
    if readers.judge.id != readers.own.id:
        found["identity_by_training_recogniser"] = identity(readings, who.readings, what.readings, lambda r: r.own)
    found["shape"] = shape(readings, what.readings)
    if readers.features is not None:
        for name, source in (("to_identity", who), ("to_attributes", what)):
            found[name] = surroundings(readers.features, images, readings, source.images, source.readings, device)
        found["quality"] = quality(others, vectors(readers, images, device))
    return found


def reconstruction(same: Tensor, what: Side, judge: Judge, device: torch.device) -> dict[str, Number]:
    """How well swapping a face with itself gives it back. Identity is read at the places of the original's points."""
    found = {}
    for name in ("mse", "psnr", "ms_ssim"):
        result = registry.run(name, what.images, same)
        found[name] = Number(result.value, result.n, result.low, result.high)
    again = [judge.embed(image, device, reading.five) for image, reading in zip(same, what.readings, strict=True)]
    kept = [float(a @ b.judged) for a, b in zip(again, what.readings, strict=True)]
    return {**found, "identity": mean(kept)}


@torch.inference_mode()
def vectors(readers: Readers, images: Tensor, device: torch.device) -> Tensor:
    """Feature vectors (N,D) of ``images`` (N,3,S,S) on the CPU; none without a feature network."""
    features = readers.features
    if features is None:
        return torch.zeros(len(images), 0)
    return torch.cat([features.vectors(part.to(device)) for part in images.split(64)])


def quality(known: Tensor, rows: Tensor) -> dict[str, Number]:
    """Frechet and kernel distance of feature vectors ``rows`` (N,D) of a set of pictures to ``known`` (M,D) of photos."""
    return {
        "fd_own": Number(frechet(known.numpy(), rows.numpy()), len(rows)),
        "kid_own": Number(float(kernel_distance(known, rows)), len(rows)),
    }


def _kept(one: Side, index: Sequence[int]) -> Side:
    faces, readings = (tuple(values[i] for i in index) for values in (one.faces, one.readings))
    return Side(faces, one.images[list(index)], readings)  # pyright: ignore[reportArgumentType]


def _names(pairs: Pairs, at: int) -> str:
    return " + ".join(aligned(face).photo.name for face in (pairs.identities[at], pairs.attributes[at]))


def _told(groups: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v.told() if isinstance(v, Number) else _told(v) for k, v in groups.items()}


def _short(scores: Mapping[str, Mapping[str, Number]]) -> str:
    who, how = scores["identity"], scores["shape"]
    parts = (
        ("identity", who["similarity"]),
        ("leak", who["leak"]),
        ("closer", who["closer"]),
        ("yaw", how["yaw_correlation"]),
    )
    return ", ".join(f"{name} {'-' if n.value is None else f'{n.value:.3f}'}" for name, n in parts)
