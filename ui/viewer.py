"""Which two pictures to compare: the face or the whole photo, with the photo's detail or the generator's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from ui.state import Workspace
from workbench.align import crop
from workbench.editor import EditResult
from workbench.engine import Engine
from workbench.face import Face, Photo, to_uint8

LARGEST_FACE = 768
PHOTO_WIDTH, PHOTO_HEIGHT = 760, 620


@dataclass(frozen=True)
class ViewOptions:
    """How a result is shown and saved."""

    whole: bool = False
    keep_detail: bool = True
    colour_match: bool = False


@dataclass(frozen=True, eq=False)
class View:
    """Two pictures (H,W,3) uint8 of one size, their labels, what is seen in one line, and where the face is across."""

    before: np.ndarray
    after: np.ndarray
    labels: tuple[str, str]
    note: str
    middle: float = 0.5


def face_side(face: Face) -> int:
    """Side in pixels at which the photo's own face is cut out for viewing: its true size, within sensible bounds."""
    quad = face.aligned.transform.quad
    side = float(np.linalg.norm(quad[3] - quad[0]))
    return int(np.clip(round(side), face.image.shape[-1], LARGEST_FACE))


def composed(engine: Engine, face: Face, result: EditResult, options: ViewOptions) -> Photo:
    """The whole photo with the edited face in it."""
    return engine.compose(face, result, keep_detail=options.keep_detail, colour_match=options.colour_match)


def view(engine: Engine, work: Workspace, face: Face, result: EditResult, options: ViewOptions) -> View:
    """The pair of pictures that ``options`` ask for."""
    if work.whole_photo and options.whole:
        photo = composed(engine, face, result, options)
        width, height = photo.size
        middle = float(np.clip(face.aligned.transform.quad[:, 0].mean() / width, 0.05, 0.95))
        note = f"Whole photo, {width} × {height} pixels"
        return View(face.aligned.photo.pixels, photo.pixels, ("Photo", "Edited"), note, middle)
    if work.whole_photo and options.keep_detail:
        photo = composed(engine, face, result, options)
        side, quad = face_side(face), face.aligned.transform.quad
        before, after = crop(face.aligned.photo, quad, side).image, crop(photo, quad, side).image
        return View(
            before,
            after,
            ("Photo", "Edited"),
            f"The photo's own detail, edited at {engine.size} × {engine.size} pixels",
        )
    if result.on_photo or face.mode == "photo":
        note = f"The face, {engine.size} × {engine.size} pixels"
        return View(to_uint8(face.target), to_uint8(result.image), ("Before", "Edited"), note)
    note = f"The generator's own pixels, {engine.size} × {engine.size}"
    return View(to_uint8(face.image), to_uint8(result.image), ("Projection", "Edited"), note)


def download_pixels(
    engine: Engine, work: Workspace, face: Face, result: EditResult, options: ViewOptions
) -> np.ndarray:
    """What the download holds: the same picture as the right side of the view, at full size."""
    if work.whole_photo and options.whole:
        return composed(engine, face, result, options).pixels
    return view(engine, work, face, result, options).after


def photo_width(photo: np.ndarray) -> int:
    """CSS width at which a whole photo is shown."""
    height, width = photo.shape[:2]
    return int(min(PHOTO_WIDTH, PHOTO_HEIGHT * width / height, 3 * width))


def view_options(work: Workspace) -> ViewOptions:
    """The switches over a picture: face or whole photo, whose pixels, and colours. A generated face has none."""
    if not work.whole_photo:
        return ViewOptions()
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        shown = st.segmented_control(
            "View",
            ["Face", "Whole photo"],
            default="Face",
            required=True,
            key="view_whole",
            persist_state="session",
            label_visibility="collapsed",
        )
        detail = st.toggle(
            "Photo's own detail",
            value=True,
            key="view_detail",
            persist_state="session",
            help="On: only what the edit changed is added to the photo, so its sharpness stays; new things, like glasses, "
            "are the generator's. Off: the generator's pixels take the face's place.",
        )
        colour = st.toggle(
            "Match colours",
            value=False,
            key="view_colour",
            persist_state="session",
            help="Brings the colours of the generated pixels closer to the photo's.",
        )
    return ViewOptions(shown == "Whole photo", bool(detail), bool(colour))
