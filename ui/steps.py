"""Steps of the session: a moved control becomes one, undo and redo walk them, a list shows them. All editing pages share them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from ui import state
from workbench.editor import EditorSpec, EditRequest
from workbench.history import History

HISTORY_SHOWN = 40
LAST_COMMIT, ONE_MOVE = "facet_last_commit", 1.5  # seconds


def commit(request: EditRequest, label: str) -> None:
    """A new step; moves of one control in quick succession, as arrow keys make them, are one."""
    work = state.workspace()
    entry = None if work is None else work.history.current
    control, now = label.rsplit(" ", 1)[0], time.monotonic()
    last = st.session_state.get(LAST_COMMIT, 0.0)
    st.session_state[LAST_COMMIT] = now
    same = entry is not None and entry.label.rsplit(" ", 1)[0] == control and now - last < ONE_MOVE
    change(lambda history: history.push(request, label, instead=same))


def change(step: Callable[[History], History]) -> None:
    """Take one step in the session's history."""
    work = state.workspace()
    if work is not None:
        state.put(replace(work, history=step(work.history)))


def edited(spec: EditorSpec, history: History) -> bool:
    """Whether the step in force asks the editor of ``spec`` for anything."""
    entry = history.current
    return entry is not None and entry.request.editor == spec.name and bool(entry.request.values)


def toolbar(spec: EditorSpec, history: History) -> None:
    """Undo, redo, and everything back to unchanged."""
    with st.container(horizontal=True, gap="small", key="toolbar"):
        st.button(
            "",
            key="undo",
            icon=":material/undo:",
            help="Undo",
            shortcut="ctrl+z",
            disabled=not history.can_undo,
            on_click=change,
            args=(History.undo,),
        )
        st.button(
            "",
            key="redo",
            icon=":material/redo:",
            help="Redo",
            shortcut="ctrl+shift+z",
            disabled=not history.can_redo,
            on_click=change,
            args=(History.redo,),
        )
        st.button(
            "Reset all",
            key="reset_all",
            icon=":material/restart_alt:",
            disabled=not edited(spec, history),
            on_click=commit,
            args=(spec.neutral(), "everything back to unchanged"),
        )


def listing(history: History) -> None:
    """All steps; a click goes to one."""
    with (
        st.expander(f"History ({len(history.entries)})", icon=":material/history:", key="history_box"),
        st.container(key="history", gap=None),
    ):
        first_shown = max(0, len(history.entries) - HISTORY_SHOWN)
        lines = [(0, "Start")] if first_shown == 0 else []
        lines += [(i + 1, entry.label) for i, entry in enumerate(history.entries) if i >= first_shown]
        for place, label in lines:
            here = place == history.position
            st.button(
                f"{place}. {label}" if place else label,
                key=f"history/{place}",
                type="tertiary",
                icon=":material/arrow_right:" if here else None,
                disabled=here,
                width="stretch",
                on_click=change,
                args=(lambda old, to=place: old.goto(to),),
            )
