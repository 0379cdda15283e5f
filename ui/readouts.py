"""The panel that says what an edit did: asked-for changes, changes nobody asked for, and all the rest."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

import streamlit as st

from ui import style
from ui.controls import title_of
from workbench.readout import Comparison

PANEL_HEIGHT = 400
LIKELIHOOD_SPAN = 20.0
MARKS = {
    "ask": '<span class="facet-mark ask">asked</span>',
    "side": '<span class="facet-mark">unasked</span>',
    "rest": "",
}


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def change(before: float, after: float, *, edited: bool) -> str:
    """The two probabilities, or the one of a face that is not edited."""
    return f"{percent(before)} → {percent(after)}" if edited else percent(before)


def points(value: float) -> str:
    """A change in percentage points; a change that rounds to nothing is a plain 0."""
    rounded = round(100 * value)
    return "0" if rounded == 0 else f"{rounded:+d}"


def row(name: str, before: float, after: float, kind: str, marks: Mapping[str, str] = MARKS) -> str:
    """One line of the panel: name, mark, bar from before to after, probability now, change in points."""
    low, high = sorted((before, after))
    mark = marks[kind]
    return (
        f'<tr class="{kind}"><td class="n">{html.escape(title_of(name))}{mark}</td>'
        f'<td class="b"><div class="facet-bar" title="before {percent(before)}, after {percent(after)}">'
        f'<i style="left:{100 * low:.1f}%;width:{max(100 * (high - low), 1.5):.1f}%"></i>'
        f'<u style="left:{100 * before:.1f}%"></u></div></td>'
        f'<td class="p">{percent(after)}</td><td class="d">{points(after - before)}</td></tr>'
    )


def order(comparison: Comparison, asked: Sequence[str]) -> list[tuple[str, str]]:
    """Names with their kind: what was asked for, what changed unasked, then the rest by the size of the change."""
    wanted = [name for name in comparison.deltas if name in asked]
    side = [name for name in comparison.unintended if name not in asked]
    rest = sorted(
        (name for name in comparison.deltas if name not in wanted and name not in side),
        key=lambda name: -abs(comparison.deltas[name]),
    )
    return [*((n, "ask") for n in wanted), *((n, "side") for n in side), *((n, "rest") for n in rest)]


def _summary(comparison: Comparison, asked: Sequence[str]) -> str:
    unasked = [name for name in comparison.unintended if name not in asked]
    if not asked:
        return "Nothing is edited yet: these are the readouts of the projection."
    if unasked:
        return f"Changed without being asked: {', '.join(title_of(name) for name in unasked)}."
    return "No other attribute moved by more than 15 points."


def panel(
    comparison: Comparison,
    asked: Sequence[str],
    *,
    summary: str = "",
    marks: Mapping[str, str] = MARKS,
    before_is: str = "the value before",
    key: str = "readouts",
    height: int = PANEL_HEIGHT,
) -> None:
    """All 40 readouts with the change of each; ``asked`` are the attributes that sliders were moved for.

    Where nothing is asked for by name, as in a swap, ``summary`` and ``marks`` say what the first two kinds of rows are.
    """
    style.small(summary or _summary(comparison, asked))
    before, after = comparison.before.values, comparison.after.values
    body = "".join(row(name, before[name], after[name], kind, marks) for name, kind in order(comparison, asked))
    with st.container(height=height, border=False, key=key):
        st.html(f'<table class="facet-read"><tbody>{body}</tbody></table>')
    style.small(
        f"Probability now and its change in points, read by a classifier ({comparison.after.judge}). "
        f"The tick is {before_is}. A reading is an estimate about a picture, not a fact about a person."
    )


def gauge(before: float | None, after: float | None, dimensions: int) -> None:
    """How likely the edited code is under the flow; ``before`` and ``after`` in nats per dimension, None if not known.

    The needle stands in the middle where the edit is as likely as the projection, and at an end where the whole code
    of ``dimensions`` numbers gained or lost LIKELIHOOD_SPAN nats.
    """
    at: float | None = None
    note = "Appears with the first edit: how likely the edited code is under the flow."
    if before is not None and after is not None:
        change = (after - before) * dimensions
        at = min(1.0, max(0.0, 0.5 + 0.5 * change / LIKELIHOOD_SPAN))
        verdict = "as likely as" if abs(change) < 1 else "more likely than" if change > 0 else "less likely than"
        note = f"{after:.3f} nats per dimension; {change:+.1f} nats in all: {verdict} the projection."
    needle = "" if at is None else f'<i style="left:{100 * at:.1f}%"></i>'
    st.html(
        f'<div class="facet-facts" style="--least:100%"><div><span>Likelihood</span></div></div>'
        f'<div class="facet-gauge{" off" if at is None else ""}" role="img" aria-label="{note}">{needle}</div>'
        f'<p class="facet-small">{note}</p>'
    )
