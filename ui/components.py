"""The workbench of 'Components': parts to click on, their sliders, parts borrowed from another face, and what changed."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from ui import borrowing, component_view, consent, controls, handover, parts, steps, style
from ui.engine import sentences
from ui.projecting import on_the_table
from workbench.editor import Control, EditorSpec
from workbench.engine import Engine
from workbench.errors import MissingWeights
from workbench.history import History
from workbench.parts import COMPONENTS

EDITOR = "iafaces"
ALIGN_PAGE, MODELS_PAGE = "pages/align_and_project.py", "pages/models.py"
WHOLE, PART, MODE = "whole", "components_part", "components_mode"
CHOICES = {WHOLE: "Whole face", **parts.TITLES}
MODES = {"attributes": "Attributes", "borrow": "Borrow"}
UNFITTED = (
    "This network has no attribute directions yet, so there is nothing to slide: parts can be borrowed. 'python cli.py "
    "directions fit' with '--family {}' fits them on labelled faces."
)
SINGLE = {name: f", {place} alone" for name, place in parts.TITLES.items()}


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
    try:
        spec = machine.spec(EDITOR)
    except MissingWeights:
        _without(machine)
        return
    handover.offer(machine, work, spec)
    controls.sync(spec, work.history)
    with st.container(key="editor"):
        left, right = st.columns([1, 2.7], gap="large")
    places: dict[str, DeltaGenerator] = {}
    with left, st.container(key="controls", gap="small"):
        face_place = st.container(key="parts_face")
        mode = st.segmented_control(
            "What to do with the parts",
            list(MODES),
            format_func=MODES.__getitem__,
            default="attributes",
            required=True,
            key=MODE,
            label_visibility="collapsed",
            persist_state="session",
            width="stretch",
        )
        if mode == "attributes":
            _choose_part()
        steps.toolbar(spec, work.history)
        if mode == "attributes":
            places = controls.attribute_sliders(spec, work.history, steps.commit, chosen(spec, part()))
            if not attributes(spec):
                style.small(UNFITTED.format(machine.family))
        else:
            borrowing.panel(machine, spec, work.history)
        with st.expander("Advanced", icon=":material/tune:"):
            _advanced(spec, work.history)
    values = controls.current_values(spec, work.history)
    request = controls.request_of(spec, values, controls.current_reference(spec, work.history))
    with right:
        if request.reference.startswith("photo:") and not consent.agreed({request.reference}):
            st.info(consent.WAIT, icon=":material/lock:")
            return
        comparison = component_view.results(machine, work, face, spec, request)
    marked = borrowing.borrowed(values) if mode == "borrow" else (list(COMPONENTS) if part() == WHOLE else [part()])
    with face_place:
        parts.overlay(
            component_view.plain_picture(machine, face, request),
            marked,
            borrowing.toggler(machine, spec) if mode == "borrow" else _pick,
            key="parts_overlay",
            alt="The face as it is now, with its four parts",
            changed=[name for name in COMPONENTS if touched(spec, values, name)],
        )
        style.small(
            "Click a part to choose it." if mode == "attributes" else "Click a part to borrow it or to give it back."
        )
    component_view.ends(spec, places, comparison, edited=bool(request.values))


def _without(machine: Engine) -> None:
    st.error(
        f"The {machine.family} family has no component network, so parts of a face cannot be edited with it. Choose a "
        "family that has one in the sidebar, or see the page Models.",
        icon=":material/error:",
    )
    st.page_link(MODELS_PAGE, label="To the page Models", icon=":material/deployed_code:")


def part() -> str:
    """The chosen part, or WHOLE."""
    found = st.session_state.get(PART)
    return found if found in CHOICES else "mouth"


def _pick(name: str) -> None:
    """A click on a part chooses it; on the chosen one, the whole face."""
    st.session_state[PART] = WHOLE if part() == name else name


def _choose_part() -> None:
    if st.session_state.get(PART) not in CHOICES:
        st.session_state[PART] = "mouth"
    st.pills(
        "Part",
        list(CHOICES),
        format_func=CHOICES.__getitem__,
        required=True,
        key=PART,
        label_visibility="collapsed",
        persist_state="session",
    )


def attributes(spec: EditorSpec) -> list[Control]:
    """The controls of attributes of the whole face."""
    return [c for c in spec.controls if not c.advanced and not c.name.startswith("borrow_")]


def chosen(spec: EditorSpec, name: str) -> dict[str, str]:
    """Controls to show for part ``name`` or WHOLE, with labels: in one part an attribute of several has its own control."""
    found = {}
    by_name = {c.name: c for c in spec.controls}
    for control in attributes(spec):
        alone = f"{control.name}@{name}"
        if name == WHOLE:
            found[control.name] = control.label
        elif name in control.where:
            found[alone if alone in by_name else control.name] = control.label
    return found


def touched(spec: EditorSpec, values: dict[str, float], name: str) -> bool:
    """Whether ``values`` ask for anything in part ``name``."""
    switched = round(values[f"edit_{name}"]) == 1
    for control in spec.controls:
        if name not in control.where or values[control.name] == control.neutral or control.choices:
            continue
        if control.advanced or control.name.startswith("borrow_") or switched:
            return True
    return False


def _advanced(spec: EditorSpec, history: History) -> None:
    style.small("Parts that the sliders for the whole face change:")
    for control in spec.controls:
        if control.name.startswith("edit_"):
            _toggle(spec, history, control, parts.TITLES[control.where[0]], 1.0)
    style.small("Borrowed parts:")
    _toggle(spec, history, spec.control("seam"), "Fitted to the light around them", 0.0)


def _toggle(spec: EditorSpec, history: History, control: Control, label: str, when_on: float) -> None:
    """A switch for a control of two choices, 0 and 1, that is on at ``when_on``."""
    key = f"switch/{control.name}"
    on = controls.current_values(spec, history)[control.name] == when_on
    if st.session_state.get(key) != on:
        st.session_state[key] = on
    args = (spec, history, control, key, when_on)
    st.toggle(label, key=key, help=control.help, on_change=_switch, args=args)


def _switch(spec: EditorSpec, history: History, control: Control, key: str, when_on: float) -> None:
    on = bool(st.session_state[key])
    values = {**controls.current_values(spec, history), control.name: when_on if on else 1 - when_on}
    request = controls.request_of(spec, values, controls.current_reference(spec, history))
    said = control.choices[round(values[control.name])] if control.name == "seam" else "on" if on else "off"
    steps.commit(request, f"{control.label}: {said}")
