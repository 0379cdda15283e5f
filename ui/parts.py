"""The four parts of a face drawn over its picture; a click on one chooses it."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from ui.pictures import data_uri
from ui.style import asset
from workbench.parts import BOXES, COMPONENTS

TITLES = {"l_eye": "Left eye", "r_eye": "Right eye", "nose": "Nose", "mouth": "Mouth"}
"""Left and right are those of the picture."""

_parts = component(
    "facet_parts",
    html='<div class="frame"><img></div>',
    css=asset("parts.css"),
    js=asset("parts.js"),
)


def overlay(
    face: np.ndarray,
    on: Collection[str],
    on_pick: Callable[[str], None],
    *,
    key: str,
    alt: str,
    changed: Collection[str] = (),
    width: int = 250,
) -> None:
    """Outline the parts on an aligned ``face`` (S,S,3) uint8, those in ``on`` strongly and those in ``changed`` with a dot.

    A click on a part calls ``on_pick`` with its name. ``width`` is in CSS pixels.
    """

    def picked() -> None:
        index = st.session_state[key].picked
        if index is not None and 0 <= int(index) < len(COMPONENTS):
            on_pick(COMPONENTS[int(index)])

    parts = [
        {"title": TITLES[name], "box": [x0, y0, x1 - x0, y1 - y0], "on": name in on, "changed": name in changed}
        for name, (x0, y0, x1, y1) in zip(COMPONENTS, BOXES, strict=True)
    ]
    _parts(
        key=key,
        data={"src": data_uri(face, width * 2), "alt": alt, "width": width, "parts": parts},
        on_picked_change=picked,
    )
