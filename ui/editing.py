"""The workbench of 'Semantic edit': sliders, pictures and readouts in one fragment, so a move reruns nothing else."""

from __future__ import annotations

import streamlit as st

from ui import controls, export, handover, readouts, sheets, state, steps, style
from ui.actions import keep_as_start
from ui.compare import compare
from ui.engine import sentences
from ui.projecting import on_the_table
from ui.viewer import photo_width, view, view_options
from workbench.editor import EditorSpec, EditResult
from workbench.engine import Engine
from workbench.face import Face
from workbench.readout import Comparison

ALIGN_PAGE = "pages/align_and_project.py"
FACE_WIDTH = 384


@st.fragment
def show(machine: Engine) -> None:
    """The whole workbench. A change of a control reruns this and nothing else."""
    with sentences():
        _show(machine)


def _show(machine: Engine) -> None:
    here = on_the_table(machine)
    if here is None:
        return
    work, face = here
    specs = [spec for spec in machine.editors() if "latent" in spec.needs and spec.cost == "interactive"]
    if not specs:
        st.error("This family of weights has no editor; choose another family in the sidebar.")
        return
    spec = specs[0]
    handover.offer(machine, work, spec)
    controls.sync(spec, work.history)
    with st.container(key="editor"):
        left, right = st.columns([1, 2.7], gap="large")
    with left, st.container(key="controls", gap="small"):
        steps.toolbar(spec, work.history)
        places = controls.attribute_sliders(spec, work.history, steps.commit)
        with st.expander("Advanced", icon=":material/tune:"):
            controls.advanced_controls(spec, work.history, steps.commit)
    request = controls.request_of(spec, controls.current_values(spec, work.history))
    with right:
        result = machine.edit(face, request)
        comparison = machine.compare(face, result.image, request)
        _results(machine, work, face, spec, result, comparison)
    for control in spec.controls:
        if control.attribute in places and control.attribute in comparison.deltas:
            before, after = (side.values[control.attribute] for side in (comparison.before, comparison.after))
            controls.ends(places[control.attribute], readouts.change(before, after, edited=bool(request.values)))
        elif control.name in places:
            controls.ends(places[control.name], "")


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
        options = view_options(work)
        whole = work.whole_photo and options.whole
        with above if whole else beside:
            shown = view(machine, work, face, result, options)
            width = photo_width(shown.after) if whole else FACE_WIDTH
            compare(shown.before, shown.after, labels=shown.labels, width=width, start=shown.middle)
            style.caption(shown.note)
        export.buttons(machine, work, face, result, options)
        if st.button(
            "Keep as new start",
            key="keep",
            icon=":material/flag:",
            disabled=not steps.edited(spec, work.history),
            width="stretch",
            help="The edited face becomes the one that all sliders start from: zero is then this picture.",
        ):
            state.put(keep_as_start(machine, work, result, keep_detail=options.keep_detail))
            st.rerun()
    with side:
        _numbers(result, comparison)
        asked = [c.attribute for c in spec.controls if c.attribute and c.name in result.request.values]
        readouts.panel(comparison, asked)
        steps.listing(work.history)


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
