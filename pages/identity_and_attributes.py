"""Identity & attributes: one person's identity on another picture, by two methods."""

from __future__ import annotations

import streamlit as st

from ui import projecting, style, swap_page
from ui.engine import engine, through_router

through_router(__file__)
machine = engine()
st.title("Identity & attributes")
style.lead(
    "Put the identity of one picture on another one's pose, expression and surroundings. Two published methods do it, and "
    "each takes something else from either picture."
)
projecting.take(machine)
swap_page.show(machine)
