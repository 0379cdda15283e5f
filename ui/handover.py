"""Going on with one method's result in another: the step in force was made on another page, and is kept first."""

from __future__ import annotations

import streamlit as st

from ui import state
from ui.actions import keep_as_start
from workbench.editor import EditorSpec
from workbench.engine import Engine
from workbench.errors import FacetError


def foreign(work: state.Workspace, spec: EditorSpec) -> str:
    """The line of the step in force when another editor than ``spec`` made it, else ""."""
    entry = work.history.current
    return entry.label if entry is not None and entry.request.values and entry.request.editor != spec.name else ""


def offer(machine: Engine, work: state.Workspace, spec: EditorSpec) -> None:
    """Say that these sliders start from the unedited face, and offer to start from the other method's result."""
    label = foreign(work, spec)
    if not label:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="handover"):
        st.info(
            f"The current step, '{label}', was made on another page. The sliders here start from the face without it.",
            icon=":material/swap_horiz:",
        )
        st.button(
            "Keep it and go on",
            key="handover_keep",
            icon=":material/flag:",
            help="The edited face becomes the one that these sliders start from.",
            on_click=_keep,
            args=(machine,),
        )


def _keep(machine: Engine) -> None:
    work = state.workspace()
    entry = None if work is None else work.history.current
    if work is None or work.face is None or entry is None:
        return
    try:
        state.put(keep_as_start(machine, work, machine.edit(work.face, entry.request), keep_detail=True))
    except FacetError as error:
        st.session_state[state.COMPLAINT] = str(error)
