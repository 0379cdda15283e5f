"""Which family of weights this session works with, and changing it without losing the photo."""

from __future__ import annotations

import streamlit as st

from ui import state
from ui.engine import build
from ui.projecting import stop_job
from workbench.devices import choose
from workbench.manifest import Family, families


def editable() -> dict[str, Family]:
    """The families that a photo can be edited with, whether their files are there or not."""
    return {name: family for name, family in families().items() if family.editable}


def ready() -> list[str]:
    """Names of the families whose needed files are all there; the one in use is always among them."""
    return [name for name, family in editable().items() if name == state.choice().family or not family.absent()]


def switch(family: str, device: str | None = None, precision: str | None = None) -> bool:
    """Work with ``family`` from now on; False when it is in use already.

    The networks that every page needs are loaded first: a family that does not load is not switched to, and the
    FacetError says why. A photo stays and is projected anew, because a code belongs to one generator.
    """
    before = state.choice()
    new = state.EngineChoice(family, device or before.device, precision or before.precision)
    if new == before:
        return False
    choose(new.device)
    machine = build(new.family, new.device, new.precision)
    for kind in ("generator", "projector"):
        if kind in machine.store.family.records:
            machine.store.network(kind)
    if machine.store.family.face_size:
        machine.spec("iafaces")
    stop_job()
    work = state.workspace()
    st.session_state[state.CHOICE] = new
    if work is not None:
        del st.session_state[state.WORKSPACE]
        if work.origin in ("upload", "camera") or work.whole_photo:
            st.session_state[state.INCOMING] = work.photo
    return True
