"""Parts borrowed from a reference face: which, and how much of each."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping

import streamlit as st

from ui import consent, controls, parts, reference, state, steps, style
from ui.reference import Reference
from workbench.editor import EditorSpec
from workbench.engine import Engine
from workbench.errors import FacetError
from workbench.history import History
from workbench.parts import COMPONENTS

PILLS = "borrow_parts"
REFERENCE_WIDTH = 140


def borrowed(values: Mapping[str, float]) -> list[str]:
    """Parts of which something comes from the reference."""
    return [name for name in COMPONENTS if values[f"borrow_{name}"] > 0]


def panel(machine: Engine, spec: EditorSpec, history: History) -> None:
    """The reference, a switch for each part, a blend for each that is on, and where another reference comes from."""
    now = reference.current(machine)
    values = controls.current_values(spec, history)
    on = borrowed(values)

    allowed = reference.usable(now)
    with st.container(key="reference_now"):
        left, right = st.columns([0.6, 0.4], vertical_alignment="center", gap="small")
    with left:
        parts.overlay(
            now.image,
            on,
            toggler(machine, spec) if allowed else _ignore,
            key="reference_overlay",
            alt=f"The reference face: {now.title}",
            width=REFERENCE_WIDTH,
        )
    with right:
        st.html(f'<p class="facet-h">Reference</p><p class="facet-small facet-name">{html.escape(now.title)}</p>')
    if not consent.given("reference", now.uploaded):
        style.small(consent.WAIT)
    if st.session_state.get(PILLS) != on:
        st.session_state[PILLS] = on
    st.pills(
        "Parts to borrow",
        list(COMPONENTS),
        selection_mode="multi",
        format_func=parts.TITLES.__getitem__,
        key=PILLS,
        disabled=not allowed,
        on_change=_switched,
        args=(spec, now.name),
    )
    for name in on:
        control = spec.control(f"borrow_{name}")
        controls.widget(spec, history, control, steps.commit, label=f"{parts.TITLES[name]}: how much")
    if not on:
        style.small("Switch on a part, here or in a picture: 1 takes it whole, less blends it with your own.")
    reference.picker(machine, now, lambda other: _renew(spec, other))


def _ignore(name: str) -> None:
    """A click before the photo was agreed to."""


def toggler(machine: Engine, spec: EditorSpec) -> Callable[[str], None]:
    """What a click on a part does: borrow it whole, or give it back."""

    def toggle(name: str) -> None:
        try:
            now = reference.current(machine)
        except FacetError as error:
            st.session_state[state.COMPLAINT] = str(error)
            return
        if not reference.usable(now):
            return
        on = set(borrowed(_values(spec)))
        _set(spec, now.name, on ^ {name})

    return toggle


def _switched(spec: EditorSpec, name: str) -> None:
    _set(spec, name, set(st.session_state.get(PILLS) or ()))


def _values(spec: EditorSpec) -> dict[str, float]:
    work = state.workspace()
    return controls.current_values(spec, work.history if work is not None else History(""))


def _set(spec: EditorSpec, name: str, on: set[str]) -> None:
    """Borrow exactly the parts ``on`` from the face called ``name``; blends of parts that stay on are kept."""
    values = _values(spec)
    before = set(borrowed(values))
    for part in COMPONENTS:
        if (part in on) != (part in before):
            values[f"borrow_{part}"] = float(part in on)
    words = [
        f"{parts.TITLES[p].lower()} {'borrowed' if p in on else 'given back'}" for p in COMPONENTS if p in on ^ before
    ]
    steps.commit(controls.request_of(spec, values, name if on else ""), ", ".join(words).capitalize())


def _renew(spec: EditorSpec, now: Reference) -> None:
    """The parts that are borrowed come from the new reference from now on; an uploaded one waits for its agreement."""
    values = _values(spec)
    if borrowed(values):
        steps.commit(controls.request_of(spec, values, now.name), f"Reference: {now.title}")
