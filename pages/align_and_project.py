"""Align & project: a photo in, the face found and projected, shown side by side."""

from __future__ import annotations

import streamlit as st

from ui import projecting, sources, style
from ui.engine import engine, through_router

through_router(__file__)
machine = engine()
st.title("Align & project")
style.lead(
    "Bring a photo of a person. The face is found, aligned, and expressed as a code that the generator understands; "
    "that code is what the sliders edit."
)
with st.container(key="source_row"):
    left, right = st.columns([0.34, 0.66], gap="large")
with left:
    sources.picker(machine)
with right:
    projecting.take(machine)
    projecting.show(machine)
