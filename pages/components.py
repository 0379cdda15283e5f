"""Components: eyes, nose and mouth changed or borrowed one by one."""

from __future__ import annotations

import streamlit as st

from ui import components, projecting, style
from ui.engine import engine, through_router

through_router(__file__)
machine = engine()
st.title("Components")
style.lead(
    "Change one part of the face, or borrow it from another face, and leave everything else as it is: both eyes, one eye, the "
    "nose, the mouth."
)
projecting.take(machine)
components.show(machine)
