"""Masked edit: one part of the face, or one attribute of all of it, by optimisation; every other pixel stays."""

from __future__ import annotations

import streamlit as st

from ui import masked, projecting, style
from ui.engine import engine, through_router

through_router(__file__)
machine = engine()
st.title("Masked edit")
style.lead(
    "Change one part of the face and leave every other pixel alone. It takes longer than a slider: you see the part and the "
    "expected time first, and a picture on the way."
)
projecting.take(machine)
masked.show(machine)
