"""What an edit of face parts gave: before and after, the change map, numbers, readouts, history and downloads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui import controls, export, readouts, state, steps, style
from ui.actions import keep_as_start, lasting
from ui.compare import compare
from ui.viewer import ViewOptions, photo_width, view, view_options
from workbench import change
from workbench.editor import EditorSpec, EditRequest, EditResult
from workbench.engine import Engine
from workbench.face import Face, to_uint8
from workbench.parts import OUTPUT_MODES
from workbench.readout import Comparison

FACE_WIDTH = 384
OUTPUTS = {"residual": "Photo", "decoded": "Network's picture", "difference": "Change"}
NOTES = {
    "decoded": "What the network draws by itself, its reconstruction on the left: the price of going through it.",
    "difference": "How far each pixel of the network's picture moved: black is unchanged, white half the range.",
}


def plain_picture(machine: Engine, face: Face, request: EditRequest) -> np.ndarray:
    """(S,S,3) uint8: the edited aligned face with the photo's own detail."""
    result = machine.edit(face, lasting(request))
    return machine.compose(face, result, crop=True).pixels


def results(machine: Engine, work: state.Workspace, face: Face, spec: EditorSpec, request: EditRequest) -> Comparison:
    """Draw the right side for ``request``; returns what the readouts say."""
    lasts = machine.edit(face, lasting(request))
    comparison = machine.compare(face, lasts.image, lasts.request)
    above = st.container(gap="small")
    with st.container(key="compare_row"):
        middle, side = st.columns([1.2, 1], gap="large")
    with middle:
        output = _output(spec, work)
        options = view_options(work) if output == "residual" else ViewOptions(keep_detail=False)
        whole = work.whole_photo and options.whole
        beside = st.container(gap="small")
        with above if whole else beside:
            _pictures(machine, work, face, request, lasts, output, options)
        shown = lasts if output == "residual" else machine.edit(face, request)
        export.buttons(machine, work, face, shown, options)
        if st.button(
            "Keep as new start",
            key="keep",
            icon=":material/flag:",
            disabled=not steps.edited(spec, work.history),
            width="stretch",
            help="The edited face becomes the one that the sliders of all pages start from. Its code is found anew, so that "
            "other methods can go on with it.",
        ):
            detail = options.keep_detail or output != "residual"
            state.put(keep_as_start(machine, work, lasts, keep_detail=detail))
            st.rerun()
        steps.listing(work.history)
    with side:
        _numbers(face, lasts, comparison)
        asked = [c.attribute for c in spec.controls if c.attribute and c.name in request.values]
        _map(face, lasts)
        asked += _alone(spec, request)
        if any(name.startswith("borrow_") for name in lasts.request.values):
            marks = {**readouts.MARKS, "side": '<span class="facet-mark">changed</span>'}
            readouts.panel(comparison, asked, summary=_unnamed(comparison, asked), marks=marks)
        else:
            readouts.panel(comparison, asked)
    return comparison


def _unnamed(comparison: Comparison, asked: list[str]) -> str:
    """What changed besides ``asked`` when parts are borrowed, which bring attributes that nobody names."""
    names = ", ".join(controls.title_of(name) for name in comparison.unintended if name not in asked)
    return f"Changed with the borrowed parts: {names}." if names else "No attribute moved by more than 15 points."


def _alone(spec: EditorSpec, request: EditRequest) -> list[str]:
    """Attributes that are asked for in single parts."""
    names = {name.partition("@")[0] for name in request.values if "@" in name}
    return [c.attribute for c in spec.controls if c.attribute and c.name in names]


def _output(spec: EditorSpec, work: state.Workspace) -> str:
    control = spec.control("output")
    value = round(controls.current_values(spec, work.history)[control.name])
    key = "components_output"
    if st.session_state.get(key) != value:
        st.session_state[key] = value
    st.segmented_control(
        "Output",
        range(len(OUTPUT_MODES)),
        format_func=lambda index: OUTPUTS[OUTPUT_MODES[index]],
        required=True,
        key=key,
        help=control.help,
        label_visibility="collapsed",
        on_change=_set_output,
        args=(spec, key),
    )
    return OUTPUT_MODES[value]


def _set_output(spec: EditorSpec, key: str) -> None:
    work = state.workspace()
    if work is None:
        return
    control, value = spec.control("output"), float(st.session_state[key])
    values = {**controls.current_values(spec, work.history), control.name: value}
    request = controls.request_of(spec, values, controls.current_reference(spec, work.history))
    steps.commit(request, controls.say(control, value))


def _pictures(
    machine: Engine,
    work: state.Workspace,
    face: Face,
    request: EditRequest,
    lasts: EditResult,
    output: str,
    options: ViewOptions,
) -> None:
    if output == "residual":
        shown = view(machine, work, face, lasts, options)
        width = photo_width(shown.after) if work.whole_photo and options.whole else FACE_WIDTH
        compare(shown.before, shown.after, labels=shown.labels, width=width, start=shown.middle)
        style.caption(shown.note)
        return
    after = machine.edit(face, request).image
    bare = EditRequest(request.editor, request.version, {"output": request.values["output"]})
    before = machine.edit(face, bare).image if output == "decoded" else face.target
    labels = ("Reconstruction", "Edited") if output == "decoded" else ("Photo", "Change")
    compare(to_uint8(before), to_uint8(after), labels=labels, width=FACE_WIDTH)
    style.caption(NOTES[output])


def _numbers(face: Face, result: EditResult, comparison: Comparison) -> None:
    found = change.measure(face.image, result.image, result.mask)
    elsewhere = "no pixel" if found.outside == 0 else f"{found.outside:.4f}"
    style.facts(
        [
            ("Identity kept", f"{comparison.identity_kept:.2f}", "edit with the face before"),
            ("Change elsewhere", elsewhere, "beyond the parts' edges"),
            ("Time", f"{result.stats.get('seconds', 0.0):.2f} s", "this edit"),
        ]
    )


def _map(face: Face, result: EditResult) -> None:
    with st.container(key="change_map"):
        left, right = st.columns([0.42, 0.58], vertical_alignment="center")
    left.image(
        change.picture(face.image, result.image),
        width="stretch",
        output_format="PNG",
        alt="Change map: where the edited face differs from the one before",
    )
    with right:
        st.html('<p class="facet-h">Change map</p>')
        style.small("Coloured where the face differs from the one before, orange where it differs most.")


def ends(spec: EditorSpec, places: Mapping[str, DeltaGenerator], comparison: Comparison, *, edited: bool) -> None:
    """Fill the lines under the sliders with what the readouts say of their attributes."""
    for name, place in places.items():
        base = name.partition("@")[0]
        attribute = next((c.attribute for c in spec.controls if base in (c.name, c.attribute)), None)
        if attribute is not None and attribute in comparison.deltas:
            before, after = (side.values[attribute] for side in (comparison.before, comparison.after))
            controls.ends(place, readouts.change(before, after, edited=edited))
        else:
            controls.ends(place, "")
