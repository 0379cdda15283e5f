"""The workbench of 'Semantic edit': sliders, pictures and readouts in one fragment, so a move reruns nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import streamlit as st

from ui import controls, export, readouts, sheets, state, style
from ui.actions import keep_as_start
from ui.compare import compare
from ui.engine import sentences
from ui.projecting import first
from ui.viewer import ViewOptions, view
from workbench.editor import EditorSpec, EditRequest, EditResult
from workbench.engine import Engine
from workbench.face import Face
from workbench.history import History
from workbench.readout import Comparison

ALIGN_PAGE = "pages/align_and_project.py"
FACE_WIDTH, PHOTO_WIDTH, PHOTO_HEIGHT = 384, 760, 620
HISTORY_SHOWN = 40
LAST_COMMIT, ONE_MOVE = "facet_last_commit", 1.5  # seconds


def _commit(request: EditRequest, label: str) -> None:
    """A new step; moves of one control in quick succession, as arrow keys make them, are one."""
    work = state.workspace()
    entry = None if work is None else work.history.current
    control, now = label.rsplit(" ", 1)[0], time.monotonic()
    last = st.session_state.get(LAST_COMMIT, 0.0)
    st.session_state[LAST_COMMIT] = now
    same = entry is not None and entry.label.rsplit(" ", 1)[0] == control and now - last < ONE_MOVE
    _change(lambda history: history.push(request, label, instead=same))


def _change(step: Callable[[History], History]) -> None:
    work = state.workspace()
    if work is not None:
        state.put(replace(work, history=step(work.history)))


@st.fragment
def show(machine: Engine) -> None:
    """The whole workbench. A change of a control reruns this and nothing else."""
    with sentences():
        _show(machine)


def _show(machine: Engine) -> None:
    complaint = st.session_state.pop(state.COMPLAINT, None)
    if complaint:
        st.error(complaint, icon=":material/error:")
    work = first(machine)
    if work.face is None:
        st.error(work.trouble or "There is no face yet.", icon=":material/error:")
        st.page_link(ALIGN_PAGE, label="Back to Align & project", icon=":material/arrow_back:")
        return
    specs = [spec for spec in machine.editors() if "latent" in spec.needs and spec.cost == "interactive"]
    if not specs:
        st.error("This family of weights has no editor; choose another family in the sidebar.")
        return
    spec = specs[0]
    controls.sync(spec, work.history)
    with st.container(key="editor"):
        left, right = st.columns([1, 2.7], gap="large")
    with left, st.container(key="controls", gap="small"):
        _toolbar(spec, work.history)
        places = controls.attribute_sliders(spec, work.history, _commit)
        with st.expander("Advanced", icon=":material/tune:"):
            controls.advanced_controls(spec, work.history, _commit)
    request = controls.request_of(spec, controls.current_values(spec, work.history))
    with right:
        result = machine.edit(work.face, request)
        comparison = machine.compare(work.face, result.image, request)
        _results(machine, work, work.face, spec, result, comparison)
    for control in spec.controls:
        if control.attribute in places and control.attribute in comparison.deltas:
            before, after = (side.values[control.attribute] for side in (comparison.before, comparison.after))
            controls.ends(places[control.attribute], readouts.change(before, after, edited=bool(request.values)))
        elif control.name in places:
            controls.ends(places[control.name], "")


def _toolbar(spec: EditorSpec, history: History) -> None:
    with st.container(horizontal=True, gap="small", key="toolbar"):
        st.button(
            "",
            key="undo",
            icon=":material/undo:",
            help="Undo",
            shortcut="ctrl+z",
            disabled=not history.can_undo,
            on_click=_change,
            args=(History.undo,),
        )
        st.button(
            "",
            key="redo",
            icon=":material/redo:",
            help="Redo",
            shortcut="ctrl+shift+z",
            disabled=not history.can_redo,
            on_click=_change,
            args=(History.redo,),
        )
        st.button(
            "Reset all",
            key="reset_all",
            icon=":material/restart_alt:",
            disabled=not _edited(history),
            on_click=_commit,
            args=(spec.neutral(), "everything back to unchanged"),
        )


def _edited(history: History) -> bool:
    return history.current is not None and bool(history.current.request.values)


def _results(
    machine: Engine, work: state.Workspace, face: Face, spec: EditorSpec, result: EditResult, comparison: Comparison
) -> None:
    tabs = st.tabs(["Compare", "Strip", "Grid"], key="views", on_change="rerun")
    if tabs[0].open:
        with tabs[0]:
            _compare_tab(machine, work, face, spec, result, comparison)
    if tabs[1].open:
        with tabs[1]:
            sheets.strip(machine, face, spec, result.request)
    if tabs[2].open:
        with tabs[2]:
            sheets.grid(machine, face, spec, result.request)


def _compare_tab(
    machine: Engine, work: state.Workspace, face: Face, spec: EditorSpec, result: EditResult, comparison: Comparison
) -> None:
    above = st.container(gap="small")
    with st.container(key="compare_row"):
        middle, side = st.columns([1.2, 1], gap="large")
    with middle:
        beside = st.container(gap="small")
        options = _view_options(work)
        whole = work.whole_photo and options.whole
        with above if whole else beside:
            shown = view(machine, work, face, result, options)
            width = _photo_width(shown.after) if whole else FACE_WIDTH
            compare(shown.before, shown.after, labels=shown.labels, width=width, start=shown.middle)
            style.caption(shown.note)
        export.buttons(machine, work, face, result, options)
        if st.button(
            "Keep as new start",
            key="keep",
            icon=":material/flag:",
            disabled=not _edited(work.history),
            width="stretch",
            help="The edited face becomes the one that all sliders start from: zero is then this picture.",
        ):
            state.put(keep_as_start(machine, work, result, keep_detail=options.keep_detail))
            st.rerun()
    with side:
        _numbers(result, comparison)
        asked = [c.attribute for c in spec.controls if c.attribute and c.name in result.request.values]
        readouts.panel(comparison, asked)
        _history(work.history)


def _photo_width(photo: np.ndarray) -> int:
    height, width = photo.shape[:2]
    return int(min(PHOTO_WIDTH, PHOTO_HEIGHT * width / height, 3 * width))


def _view_options(work: state.Workspace) -> ViewOptions:
    if not work.whole_photo:
        return ViewOptions()
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        shown = st.segmented_control(
            "View",
            ["Face", "Whole photo"],
            default="Face",
            required=True,
            key="view_whole",
            persist_state="session",
            label_visibility="collapsed",
        )
        detail = st.toggle(
            "Photo's own detail",
            value=True,
            key="view_detail",
            persist_state="session",
            help="On: only what the edit changed is added to the photo, so its sharpness stays. Off: the generator's "
            "pixels take the face's place.",
        )
        colour = st.toggle(
            "Match colours",
            value=False,
            key="view_colour",
            persist_state="session",
            help="Brings the colours of the generated pixels closer to the photo's.",
        )
    return ViewOptions(shown == "Whole photo", bool(detail), bool(colour))


def _numbers(result: EditResult, comparison: Comparison) -> None:
    stats = result.stats
    style.facts(
        [
            ("Identity kept", f"{comparison.identity_kept:.2f}", "edit with projection"),
            ("Identity", f"{comparison.identity:.2f}", "edit with photo"),
            ("Time", f"{stats.get('seconds', 0.0):.2f} s", "this edit"),
        ]
    )
    size = 0 if result.code is None else result.code.numel()
    readouts.gauge(stats.get("log_likelihood_before"), stats.get("log_likelihood_after"), size)


def _history(history: History) -> None:
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
                on_click=_change,
                args=(lambda old, to=place: old.goto(to),),
            )
