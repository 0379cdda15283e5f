"""Going on with one method's result in another: the step in force was made on another page, and is kept first."""

from __future__ import annotations

import streamlit as st

from ui import state
from ui.actions import keep_as_start
from workbench.editor import EditorSpec
from workbench.engine import Engine
from workbench.errors import FacetError


def foreign(work: state.Workspace, spec: EditorSpec) -> str:
    """Name of the editor that made the step in force, when it is another than that of ``spec``; else ""."""
    entry = work.history.current
    return (
        entry.request.editor if entry is not None and entry.request.values and entry.request.editor != spec.name else ""
    )


def offer(machine: Engine, work: state.Workspace, spec: EditorSpec) -> None:
    """Say that these sliders start from the unedited face, and offer to start from the other method's result."""
    other = foreign(work, spec)
    if not other:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="handover"):
        st.info(
            f"The face is being edited with {machine.spec(other).title}. The sliders here start from the face without that edit.",
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
