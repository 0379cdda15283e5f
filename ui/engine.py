"""The shared engine, and the one place where a user's error becomes a sentence on the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from ui.state import ROUTED, WANTED, choice
from workbench.engine import Engine
from workbench.errors import FacetError


@st.cache_resource(max_entries=2, show_spinner="Loading the networks …")
def build(family: str, device: str, precision: str = "float32") -> Engine:
    """One engine for all visitors of ``family`` on ``device``; it holds its own lock per device."""
    return Engine(family, device, precision=precision)


def engine() -> Engine:
    """The engine of this session's choice."""
    chosen = choice()
    return build(chosen.family, chosen.device, chosen.precision)


def through_router(page: str) -> None:
    """Send a visitor to the router, and back to the file ``page``, who came to its address before anyone had opened the app.

    Streamlit runs a file in ``pages/`` alone until the first call of ``st.navigation``.
    """
    if not st.session_state.get(ROUTED):
        st.session_state[WANTED] = f"pages/{Path(page).name}"
        st.switch_page("app.py")


@contextmanager
def sentences() -> Iterator[None]:
    """Show a FacetError as its sentence; everything else passes."""
    try:
        yield
    except FacetError as error:
        st.error(str(error), icon=":material/error:")
