"""Clickable overlays on a photo: choose one of several faces, or give five points by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from ui.pictures import data_uri
from ui.style import asset
from workbench.face import Detection

POINT_NAMES = (
    "the eye on the left of the picture",
    "the eye on the right of the picture",
    "the tip of the nose",
    "the corner of the mouth on the left",
    "the corner of the mouth on the right",
)


_faces = component(
    "facet_faces",
    html='<div class="frame"><img alt="Photo with the faces found"></div>',
    css=asset("chooser.css"),
    js=asset("faces.js"),
)
_points = component(
    "facet_points",
    html='<div class="frame points"><img alt="Photo to place points on"></div>',
    css=asset("chooser.css"),
    js=asset("points.js"),
)


def display_width(image: np.ndarray, most: int = 560, tallest: int = 480) -> int:
    """CSS width at which a photo is shown: small photos enlarged at most twice, tall ones kept on the screen."""
    height, width = image.shape[:2]
    return int(min(most, tallest * width / height, max(width, 2 * width if width < 300 else width)))


def face_overlay(
    photo: np.ndarray,
    detections: Sequence[Detection],
    chosen: int,
    on_pick: Callable[[int], None],
    *,
    key: str = "face_overlay",
    most: int = 560,
) -> None:
    """Outline all ``detections`` on ``photo`` (H,W,3) uint8; a click on one calls ``on_pick`` with its place.

    ``most`` is the largest width in CSS pixels; two overlays on one page need different values of ``key``.
    """
    height, width = photo.shape[:2]
    boxes = []
    for found in detections:
        left, top, right, bottom = found.box
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        boxes.append([left / width, top / height, (right - left) / width, (bottom - top) / height])
    shown = display_width(photo, most)

    def picked() -> None:
        index = st.session_state[key].picked
        if index is not None and 0 <= int(index) < len(detections):
            on_pick(int(index))

    _faces(
        key=key,
        data={"src": data_uri(photo, shown * 2), "width": shown, "boxes": boxes, "chosen": chosen},
        on_picked_change=picked,
    )


def point_overlay(
    photo: np.ndarray, points: Sequence[tuple[float, float]], on_point: Callable[[float, float], None]
) -> None:
    """Show ``points`` (pixels of ``photo``) and call ``on_point`` with x, y of a click until there are five."""
    height, width = photo.shape[:2]
    shown = display_width(photo)
    key = "point_overlay"

    def placed() -> None:
        point = st.session_state[key].point
        if point is not None:
            on_point(float(point[0]) * width, float(point[1]) * height)

    _points(
        key=key,
        data={
            "src": data_uri(photo, shown * 2),
            "width": shown,
            "points": [[x / width, y / height] for x, y in points],
            "most": len(POINT_NAMES),
        },
        on_point_change=placed,
    )


def face_numbers(count: int, chosen: int, on_pick: Callable[[int], None], *, key: str = "face_number") -> None:
    """Buttons "Face 1" to "Face ``count``", for whoever cannot click on the outlines; ``on_pick`` gets the place."""
    # The choice is the truth and the buttons follow it: an outline may have been clicked.
    if st.session_state.get(key) != chosen:
        st.session_state[key] = chosen
    st.segmented_control(
        "Face",
        range(count),
        format_func=lambda index: f"Face {index + 1}",
        required=True,
        key=key,
        label_visibility="collapsed",
        on_change=lambda: on_pick(int(st.session_state[key])),
    )
