"""Models: the weights files, what is there, and how the rest is brought here."""

from __future__ import annotations

import streamlit as st

from ui import models, stranger, style
from ui.engine import through_router

through_router(__file__)
st.title("Models")
style.lead(
    "The files that the program works with: what is there, what each is for, and where the rest comes from. Nothing is "
    "fetched unless you ask for it."
)
models.show()
stranger.show()
