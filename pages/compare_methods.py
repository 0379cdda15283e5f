"""Compare methods: the same face and target through several methods."""

from __future__ import annotations

import streamlit as st

from ui import comparing, projecting, style
from ui.engine import engine, through_router

through_router(__file__)
machine = engine()
st.title("Compare methods")
style.lead(
    "The same face and the same target, through every method that can do it: what it looks like, whether it worked, and what it cost "
    "in identity, in other attributes and in time."
)
projecting.take(machine)
comparing.show(machine)
