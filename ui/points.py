"""Points by hand: the way on when no face was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from ui import state, style
from ui.actions import by_points
from ui.chooser import POINT_NAMES, point_overlay
from ui.engine import sentences
from workbench.engine import Engine


def ask(machine: Engine, work: state.Workspace) -> None:
    """Say why there is no face, and let the visitor show where it is."""
    st.error(work.trouble or "There is no face yet.", icon=":material/error:")
    style.lead(
        "You can show where the face is: click five points in this order. Or switch on 'Already aligned' if the "
        "picture is a face crop already."
    )
    placed = work.points
    done = len(placed) == len(POINT_NAMES)
    asked = "All five points are placed." if done else f"Point {len(placed) + 1} of 5: {POINT_NAMES[len(placed)]}."
    st.markdown(f"**{asked}**")
    point_overlay(work.photo.pixels, placed, _add_point)
    with st.container(horizontal=True):
        if st.button("Use these points", key="use_points", type="primary", disabled=not done):
            with sentences():
                state.put(by_points(machine, work, placed))
                st.rerun()
        st.button("Remove the last", key="undo_point", disabled=not placed, on_click=_drop_point)
    with st.expander("Type the points instead", icon=":material/keyboard:"):
        width, height = work.photo.size
        style.small(f"Ten numbers, x and y of each point in pixels of the photo ({width} × {height}).")
        st.text_input("Points", key="typed_points", placeholder="x1 y1 x2 y2 x3 y3 x4 y4 x5 y5", on_change=_type_points)


def _set_points(points: tuple[tuple[float, float], ...]) -> None:
    work = state.workspace()
    if work is not None:
        state.put(replace(work, points=points))


def _add_point(x: float, y: float) -> None:
    work = state.workspace()
    if work is not None and len(work.points) < len(POINT_NAMES):
        _set_points((*work.points, (x, y)))


def _drop_point() -> None:
    work = state.workspace()
    if work is not None:
        _set_points(work.points[:-1])


def _type_points() -> None:
    text = str(st.session_state.get("typed_points", "")).replace(",", " ").replace(";", " ")
    try:
        numbers = np.array([float(part) for part in text.split()]).reshape(-1, 2)[: len(POINT_NAMES)]
    except ValueError:
        st.session_state[state.COMPLAINT] = "The points must be pairs of numbers, such as 120 200 190 198 155 250."
        return
    _set_points(tuple((float(x), float(y)) for x, y in numbers))
