"""The one studio of swaps for each engine, shared by all visitors; a visit without swaps does not make it."""

from __future__ import annotations

import streamlit as st

from workbench.conceal import best_judge
from workbench.engine import Engine
from workbench.judges import Judge
from workbench.swap_studio import Studio


# The studio holds its engine, so that the engine's id is not given to another one while it stands in the cache.
@st.cache_resource(max_entries=2, show_spinner=False, hash_funcs={Engine: id})
def studio(machine: Engine) -> Studio:
    """The studio of ``machine``."""
    return Studio(machine)


@st.cache_resource(max_entries=2, show_spinner="Loading a recogniser …", hash_funcs={Engine: id})
def judge(machine: Engine) -> Judge:
    """The recogniser that verifies de-identified photos; the studio's cache keeps the engine, as above."""
    return best_judge(machine)
