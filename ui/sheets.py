"""Strips and grids: one attribute, or two against each other, at several strengths in one batched solve."""

from __future__ import annotations

import html

import numpy as np
import streamlit as st
from torch import Tensor

from ui import style
from ui.controls import title_of
from ui.pictures import data_uri
from workbench.editor import Control, EditorSpec, EditRequest
from workbench.engine import Engine
from workbench.face import Face, to_uint8

STRIP_STEPS, GRID_STEPS = 7, 5
OTHERS = "The other sliders stay as they are."


def _attributes(spec: EditorSpec) -> dict[str, Control]:
    return {c.attribute: c for c in spec.controls if c.attribute and not c.advanced}


def _strengths(control: Control, count: int) -> list[float]:
    return [float(v) for v in np.linspace(control.low, control.high, count)]


def _cell(picture: Tensor, label: str, neutral: bool) -> str:
    mark = " on" if neutral else ""
    return (
        f'<figure class="facet-cell{mark}"><img alt="{html.escape(label)}" src="{data_uri(to_uint8(picture), 256)}">'
        f"<figcaption>{html.escape(label)}</figcaption></figure>"
    )


def strip(machine: Engine, face: Face, spec: EditorSpec, base: EditRequest) -> None:
    """One attribute from its lowest to its highest strength, on top of the sliders of ``base``."""
    attributes = _attributes(spec)
    name = st.selectbox(
        "Attribute", list(attributes), format_func=title_of, key="strip_attribute", persist_state="session", width=260
    )
    if name is None:
        return
    strengths = _strengths(attributes[name], STRIP_STEPS)
    with st.spinner("Rendering the strip …"):
        pictures = machine.strip(face, attributes[name].name, strengths, spec.name, base=base)
    cells = "".join(
        _cell(picture, f"{value:+.2f}", abs(value) < 1e-9) for picture, value in zip(pictures, strengths, strict=True)
    )
    st.html(f'<div class="facet-sheet strip" style="--n:{STRIP_STEPS}">{cells}</div>')
    style.small(f"{title_of(name)} from remove to add; the outlined picture leaves it unchanged. {OTHERS}")


def grid(machine: Engine, face: Face, spec: EditorSpec, base: EditRequest) -> None:
    """Two attributes against each other, on top of the sliders of ``base``."""
    attributes = _attributes(spec)
    names = list(attributes)
    if len(names) < 2:
        style.small("A grid needs two attributes; this family has fewer.")
        return
    with st.container(horizontal=True, gap="small"):
        down = st.selectbox("Down", names, format_func=title_of, key="grid_down", persist_state="session", width=220)
        others = [name for name in names if name != down]
        across = st.selectbox(
            "Across", others, format_func=title_of, key="grid_across", persist_state="session", width=220
        )
    if down is None or across is None:
        return
    strengths = _strengths(attributes[down], GRID_STEPS)
    with st.spinner("Rendering the grid …"):
        pictures = machine.grid(face, attributes[down].name, attributes[across].name, strengths, spec.name, base=base)
    pairs = [(a, b) for a in strengths for b in strengths]
    cells = "".join(
        _cell(picture, f"{a:+.2f} / {b:+.2f}", abs(a) < 1e-9 and abs(b) < 1e-9)
        for picture, (a, b) in zip(pictures, pairs, strict=True)
    )
    st.html(f'<div class="facet-sheet" style="--n:{GRID_STEPS}">{cells}</div>')
    style.small(
        f"{title_of(down)} grows downwards, {title_of(across)} to the right; captions give both. "
        f"The outlined picture leaves both unchanged. {OTHERS}"
    )
