"""What a visitor can do to the workspace. Each function takes the engine and the workspace and returns the next one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ui.state import Incoming, Origin, Workspace
from workbench.align import detection_from_points
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.errors import BadRequest, FacetError, NoFace
from workbench.face import AlignedFace, Face, Photo
from workbench.images import load_image
from workbench.swapping import described


def from_generated(face: Face, origin: Origin) -> Workspace:
    """A workspace around a generated face, whose photo is its own rendering."""
    return Workspace(origin=origin, photo=face.aligned.photo, treated_as_aligned=True).with_face(face.aligned, face)


def open_incoming(engine: Engine, incoming: Incoming, *, aligned: bool = False) -> Workspace:
    """Decode a file and go as far as possible: to a projected face, or to the sentence that says why not.

    Raises BadImage when the bytes are no picture.
    """
    photo = load_image(incoming.data, incoming.name)
    return open_photo(engine, photo, incoming.origin, aligned=aligned)


def open_photo(engine: Engine, photo: Photo, origin: Origin, *, aligned: bool = False) -> Workspace:
    """Find the faces of ``photo`` and project the largest; with ``aligned`` the picture is taken as it is."""
    fresh = Workspace(origin=origin, photo=photo, treated_as_aligned=aligned, notes=photo.notes)
    if aligned:
        return restore(engine, project(engine, fresh, engine.use_aligned(photo)))
    try:
        found = engine.detect(photo)
    except NoFace as error:
        return replace(fresh, trouble=str(error))
    return restore(engine, choose_face(engine, replace(fresh, detections=found), 0))


def choose_face(engine: Engine, work: Workspace, index: int) -> Workspace:
    """Align and project the face number ``index`` of the photo."""
    aligned = engine.align(work.photo, work.detections[index])
    return project(engine, replace(work, chosen=index), aligned)


def project(engine: Engine, work: Workspace, aligned: AlignedFace) -> Workspace:
    """Project ``aligned`` in one pass; the refined projection runs beside the script (see ``ui.jobs``)."""
    return work.with_face(aligned, engine.project(aligned, "encoder"))


def by_points(engine: Engine, work: Workspace, points: Sequence[tuple[float, float]]) -> Workspace:
    """Align with five points (pixels of the photo) given by hand: eyes, nose tip, corners of the mouth."""
    five = np.asarray(points, dtype=np.float64)
    if five.shape != (5, 2) or not np.isfinite(five).all():
        raise BadRequest("Five points are needed: both eyes, the tip of the nose and both corners of the mouth.")
    detection = detection_from_points(five, work.photo)
    return choose_face(engine, replace(work, detections=(detection,), points=tuple(map(tuple, five.tolist()))), 0)


def check(engine: Engine, request: EditRequest) -> None:
    """Whether ``request`` can be carried out here. Raises BadRequest and MissingWeights with the reason."""
    engine.spec(request.editor).validate(request)
    if request.reference:
        engine.references.find(request.reference)


def restore(engine: Engine, work: Workspace) -> Workspace:
    """Put the settings that an exported picture carries back on the sliders."""
    if work.photo.request is None or work.face is None:
        return work
    swapped = described(work.photo.request)
    if swapped:
        return replace(work, notes=(*work.notes, swapped))
    try:
        request = EditRequest.from_json(work.photo.request)
        check(engine, request)
    except FacetError as error:
        return replace(work, notes=(*work.notes, f"The settings in this file were left out: {error}"))
    note = (
        "This picture was made here; its settings are back on the sliders and act on what the file shows. Press "
        "'Reset all' to see the file as it is, or open the original photo and load this file under 'Settings' to "
        "repeat the edit."
    )
    return replace(work, history=work.history.push(request, "settings from the file"), notes=(*work.notes, note))


def lasting(request: EditRequest) -> EditRequest:
    """``request`` with the output that is added to the photo, whichever of them is being looked at."""
    return replace(request, values={k: v for k, v in request.values.items() if k != "output"})


def keep_as_start(engine: Engine, work: Workspace, result: EditResult, *, keep_detail: bool) -> Workspace:
    """The edited face becomes the face that the sliders start from."""
    if work.face is None:
        return work
    if result.request != lasting(result.request):
        result = engine.edit(work.face, lasting(result.request))
    face = engine.keep(work.face, result, keep_detail=keep_detail)
    return work.going_on_from(face, "kept" if work.whole_photo else work.origin)
