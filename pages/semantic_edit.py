"""Semantic edit: sliders for attributes, and what else they change."""

from __future__ import annotations

import streamlit as st

from ui import editing, projecting, style
from ui.engine import engine, through_router

through_router(__file__)
machine = engine()
st.title("Semantic edit")
style.lead(
    "Move a slider to add or remove an attribute; zero leaves the face as it is. The readouts show what else changed."
)
projecting.take(machine)
editing.show(machine)
