"""What a masked edit gave: before and after, what a judge says of it, what else changed, the loss on the way, and going on."""

from __future__ import annotations

import streamlit as st

from ui import export, readouts, state, style
from ui.actions import keep_as_start
from ui.compare import compare
from ui.masked_controls import forget_attributes
from ui.viewer import ViewOptions, photo_width, view, view_options
from workbench.engine import Engine
from workbench.masked_jobs import Outcome

FACE_WIDTH = 384


def show(machine: Engine, work: state.Workspace, outcome: Outcome) -> None:
    """Draw one outcome on the face it was made for."""
    face, result = outcome.order.face, outcome.result
    above = st.container(gap="small")
    with st.container(key="compare_row"):
        middle, side = st.columns([1.2, 1], gap="large")
    with middle:
        options = view_options(work)
        beside = st.container(gap="small")
        whole = work.whole_photo and options.whole
        with above if whole else beside:
            shown = view(machine, work, face, result, options)
            width = photo_width(shown.after) if whole else FACE_WIDTH
            compare(
                shown.before, shown.after, labels=shown.labels, width=width, start=shown.middle, key="masked_compare"
            )
            style.caption(shown.note)
        export.buttons(machine, work, face, result, options)
        st.button(
            "Edit again from here",
            key="masked_again",
            icon=":material/flag:",
            width="stretch",
            help="The edited face becomes the one that every page starts from.",
            on_click=_again,
            args=(machine, outcome, options),
        )
        _trace(outcome)
    with side:
        _verdict(outcome)
        asked = [name for name in outcome.comparison.deltas if name.lower() in outcome.judged.asked]
        readouts.panel(outcome.comparison, asked, before_is="the photo's value", key="masked_readouts")


def _again(machine: Engine, outcome: Outcome, options: ViewOptions) -> None:
    work = state.workspace()
    if work is None or work.face is None or work.face.hash != outcome.order.face.hash:
        return
    state.put(keep_as_start(machine, work, outcome.result, keep_detail=options.keep_detail))
    forget_attributes()


def _verdict(outcome: Outcome) -> None:
    found, stats = outcome.judged, outcome.result.stats
    for name, one in found.asked.items():
        label = name.replace("_", " ").capitalize()
        wanted = ("there" if one.towards else "gone") if one.crosses else ("stronger" if one.towards else "weaker")
        told = f"{label}: {readouts.percent(one.before)} → {readouts.percent(one.after)}"
        side = f"photos that have it read above {readouts.percent(one.threshold)}"
        if one.success:
            st.success(f"{told}. The judge sees it {wanted} ({side}).", icon=":material/check:")
        else:
            st.warning(
                f"{told}. The judge does not see it {wanted} ({side}); more effort or intensity may help.",
                icon=":material/info:",
            )
    untouched = "identical" if found.psnr_outside is None else f"{found.psnr_outside:.1f} dB"
    inside = "-" if found.psnr_inside is None else f"{found.psnr_inside:.1f} dB"
    style.facts(
        [
            ("Identity", f"{found.identity:.2f}", "edit with photo"),
            ("Outside the part", untouched, "pixels of the photo"),
            ("Inside the part", inside, "PSNR to the photo"),
            ("Time", f"{stats['seconds']:.1f} s", f"{stats['steps']:.0f} steps"),
        ]
    )
    if found.guided_too:
        style.small(
            "This family has no separate judge: the network that guided the edit also judges it, which flatters."
        )
    if stats.get("reduced"):
        style.small("The device ran out of memory, so the edit was made at half the size.")


def _trace(outcome: Outcome) -> None:
    names = {"reconstruction": "Rebuilding", "edit": "Editing", "noise": "Fine detail"}
    with st.expander("Loss on the way", icon=":material/show_chart:"):
        points = outcome.result.trace
        rows = {
            "step": [p.step for p in points],
            "loss": [p.total for p in points],
            "stage": [names.get(p.stage, p.stage) for p in points],
        }
        st.line_chart(rows, x="step", y="loss", color="stage", height=180)
        style.small("Each stage has its own terms, so its numbers are compared with themselves only.")
