"""Widgets made from an editor's spec. The history is the truth; a slider shows what the history says.

A moved slider pushes a request before the page runs again, so undo, reset, a page switch and a restored file all go
the same way: the history changes and the sliders follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from workbench.editor import Control, EditorSpec, EditRequest
from workbench.history import History

Commit = Callable[[EditRequest, str], None]


def key_of(spec: EditorSpec, control: Control) -> str:
    """Key of the widget of ``control``."""
    return f"control/{spec.name}/{control.name}"


def title_of(name: str) -> str:
    """``Wavy_Hair`` as people write it."""
    return name.replace("_", " ")


def _whole(control: Control) -> bool:
    return bool(control.choices) or all(float(v).is_integer() for v in (control.low, control.high, control.step))


def _as_widget(control: Control, value: float) -> float | int:
    return round(value) if _whole(control) else float(value)


def current_values(spec: EditorSpec, history: History) -> dict[str, float]:
    """All controls with the values in force, defaults filled in."""
    entry = history.current
    request = entry.request if entry is not None and entry.request.editor == spec.name else spec.neutral()
    return spec.validate(request)


def current_reference(spec: EditorSpec, history: History) -> str:
    """Name of the face that the step in force borrows from, "" for none."""
    entry = history.current
    return entry.request.reference if entry is not None and entry.request.editor == spec.name else ""


def sync(spec: EditorSpec, history: History) -> None:
    """Bring the widgets to what ``history`` says; to be called before they are made."""
    values = current_values(spec, history)
    pairs = layer_pairs(spec)
    for control in spec.controls:
        if control.name in pairs:
            continue
        key, value = key_of(spec, control), _as_widget(control, values[control.name])
        if st.session_state.get(key) != value:
            st.session_state[key] = value


def request_of(spec: EditorSpec, values: dict[str, float], reference: str = "") -> EditRequest:
    """The request for ``values``; what is neutral is left out, so that equal edits are equal requests."""
    moved = {c.name: float(values[c.name]) for c in spec.controls if abs(values[c.name] - c.neutral) > 1e-9}
    return EditRequest(spec.name, spec.version, moved, reference=reference)


def say(control: Control, value: float) -> str:
    """A value as the history shows it."""
    if control.choices:
        return f"{control.label}: {control.choices[round(value)]}"
    number = f"{round(value)}" if _whole(control) else f"{value:+.2f}"
    return f"{control.label} {number}{control.unit}"


def _commit_one(spec: EditorSpec, history: History, control: Control, commit: Commit) -> None:
    value = float(st.session_state[key_of(spec, control)])
    _commit_value(spec, history, control, value, commit)


def _commit_value(spec: EditorSpec, history: History, control: Control, value: float, commit: Commit) -> None:
    values = {**current_values(spec, history), control.name: value}
    commit(request_of(spec, values, current_reference(spec, history)), say(control, value))


def attribute_sliders(
    spec: EditorSpec, history: History, commit: Commit, chosen: Mapping[str, str] | None = None
) -> dict[str, DeltaGenerator]:
    """One slider with its own reset for every plain control, or for the ``chosen`` ones (names and labels to show).

    Returns for each attribute the empty place under its slider, which ``ends`` fills once the readouts are known.
    """
    values = current_values(spec, history)
    places = {}
    for control in spec.controls:
        if control.advanced if chosen is None else control.name not in chosen:
            continue
        left, right = st.columns([0.87, 0.13], vertical_alignment="center", gap="small")
        with left:
            widget(spec, history, control, commit, label=None if chosen is None else chosen[control.name])
            place = places[control.attribute or control.name] = st.empty()
            ends(place, "")  # holds the line's height while the edit is computed
        right.button(
            "",
            key=f"reset/{spec.name}/{control.name}",
            icon=":material/restart_alt:",
            type="tertiary",
            help=f"Put {control.label} back to unchanged",
            disabled=abs(values[control.name] - control.neutral) < 1e-9,
            on_click=_commit_value,
            args=(spec, history, control, control.neutral, commit),
        )
    return places


def widget(spec: EditorSpec, history: History, control: Control, commit: Commit, *, label: str | None = None) -> None:
    """The slider or the list of one control, under its own name or ``label``."""
    key = key_of(spec, control)
    args = (spec, history, control, commit)
    label = label or control.label
    if control.choices:
        st.selectbox(
            label,
            range(len(control.choices)),
            format_func=lambda index: control.choices[index],
            key=key,
            help=control.help or None,
            on_change=_commit_one,
            args=args,
        )
        return
    whole = _whole(control)
    st.slider(
        label + (f" ({control.unit})" if control.unit else ""),
        min_value=_as_widget(control, control.low),
        max_value=_as_widget(control, control.high),
        step=_as_widget(control, control.step),
        format="%d" if whole else "%+.2f",
        key=key,
        help=control.help or None,
        on_change=_commit_one,
        args=args,
    )


def ends(place: DeltaGenerator, middle: str, low: str = "remove", high: str = "add") -> None:
    """What the two ends of a slider mean, and between them what the readout says."""
    place.html(f'<div class="facet-ends"><span>− {low}</span><b>{middle or "&nbsp;"}</b><span>{high} +</span></div>')


def layer_pairs(spec: EditorSpec) -> dict[str, tuple[Control, Control]]:
    """Controls ``first_x`` and ``last_x``, which are one range to a user; by the name of either."""
    by_name = {c.name: c for c in spec.controls if c.advanced and not c.choices}
    pairs = {}
    for name, first in by_name.items():
        last = by_name.get("last_" + name.removeprefix("first_"))
        if name.startswith("first_") and last is not None:
            pairs[name] = pairs[last.name] = (first, last)
    return pairs


def advanced_controls(spec: EditorSpec, history: History, commit: Commit) -> None:
    """The folded controls, in the order of the spec; a first and a last of the same thing are one range."""
    pairs = layer_pairs(spec)
    for control in (c for c in spec.controls if c.advanced):
        if control.name not in pairs:
            widget(spec, history, control, commit)
        elif control is pairs[control.name][0]:
            _range(spec, history, *pairs[control.name], commit)


def _range_key(spec: EditorSpec, first: Control) -> str:
    return f"range/{spec.name}/{first.name}"


def _range(spec: EditorSpec, history: History, first: Control, last: Control, commit: Commit) -> None:
    values = current_values(spec, history)
    key, value = _range_key(spec, first), (round(values[first.name]), round(values[last.name]))
    if st.session_state.get(key) != value:
        st.session_state[key] = value
    title = first.name.removeprefix("first_").replace("_", " ").capitalize() + "s"
    st.slider(
        title,
        min_value=round(first.low),
        max_value=round(last.high),
        key=key,
        help=first.help or None,
        on_change=_commit_range,
        args=(spec, history, first, last, commit),
    )


def _commit_range(spec: EditorSpec, history: History, first: Control, last: Control, commit: Commit) -> None:
    low, high = st.session_state[_range_key(spec, first)]
    values = {**current_values(spec, history), first.name: float(low), last.name: float(high)}
    commit(request_of(spec, values), f"{first.label} {low}, {last.label.lower()} {high}")
