"""The tab 'Swap': two pictures in, the identity of one on the other, by one method or by both side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from ui import readouts, state, style, swap_consent, swap_controls, swap_sources, swap_state
from ui.compare import compare
from ui.export import stem
from ui.state import Workspace
from ui.swap_tiles import Tile, tiles, whole_photo
from workbench.editor import EditResult
from workbench.face import Face, to_uint8
from workbench.swap_studio import Scores, Studio, SwapOrder, taken_from_identity

EDIT_PAGE = "pages/semantic_edit.py"
PHOTO_WIDTH, PHOTO_HEIGHT, PANEL_HEIGHT = 700, 540, 330
MARKS = {
    "ask": '<span class="facet-mark ask">identity</span>',
    "side": '<span class="facet-mark">neither</span>',
    "rest": "",
}
IDENTITY = "Who the result is to be."
ATTRIBUTES = "The photo that gets the new face."


@dataclass(frozen=True, eq=False)
class Pair:
    """The two sources, with faces."""

    identity: Face
    attributes: Face
    source: Workspace  # of the attributes
    real: bool


@dataclass(frozen=True, eq=False)
class Swapped:
    """One method's result, and the face that stands in the photo then."""

    order: SwapOrder
    result: EditResult
    picture: Tensor


def show(studio: Studio, methods: Sequence[str]) -> None:
    """Draw the tab."""
    machine = studio.engine
    places = sources_row("swap_sources")
    with places[0]:
        who = swap_sources.slot(machine, "identity", "Identity picture", IDENTITY)
    with places[1]:
        what = swap_sources.slot(machine, "attributes", "Attribute picture", ATTRIBUTES)
    allowed = swap_consent.given("swap", (who, what))
    with st.container(key="swap_desk"):
        left, right = st.columns([1, 2.5], gap="large")
    with left, st.container(key="swap_controls", gap="small"):
        made = swap_controls.method(methods, both=True)
        orders = swap_controls.orders(made)
        st.button(
            "Exchange the pictures",
            key="swap_exchange",
            icon=":material/swap_horiz:",
            on_click=_exchange,
            help="The identity picture becomes the attribute picture, and the other way round.",
        )
    with right:
        if who is None or what is None or who.face is None or what.face is None:
            st.info("Both pictures need a face; choose another one where it is missing.", icon=":material/info:")
        elif not allowed:
            swap_consent.wait()
        else:
            pair = Pair(who.face, what.face, what, swap_state.real(who) or swap_state.real(what))
            _results(studio, pair, orders)


def sources_row(key: str, count: int = 2) -> Sequence[DeltaGenerator]:
    """Places side by side for slots, one under the other where the window is narrow."""
    with st.container(key=key):
        return st.columns(count, gap="medium")


def _exchange() -> None:
    def step(desk: swap_state.Desk) -> swap_state.Desk:
        who, what = desk.sources["identity"], desk.sources["attributes"]
        return desk.having("identity", what).having("attributes", who)

    swap_state.change(step)


def _results(studio: Studio, pair: Pair, orders: Sequence[SwapOrder]) -> None:
    swaps = []
    for order in orders:
        result = studio.swap(order, pair.identity, pair.attributes)
        swaps.append(Swapped(order, result, studio.face(order, pair.attributes, result)))
    whole = pair.source.whole_photo and whole_photo("swap_view")
    sources = [
        Tile(to_uint8(pair.identity.target), "Identity"),
        Tile(to_uint8(pair.attributes.target), "Attributes"),
    ]
    results = [Tile(to_uint8(one.picture), _named(one, swaps), True) for one in swaps]
    tiles([*sources, *results])
    if len(swaps) == 1:
        (one,) = swaps
        if whole:
            _photo(studio, pair, one, PHOTO_WIDTH)
        with st.container(key="swap_numbers"):
            left, right = st.columns([1, 1.15], gap="large")
        with left:
            _facts(studio, pair, one)
            _buttons(studio, pair, one, whole)
        with right:
            _readouts(studio, pair, one)
        return
    with st.container(key="swap_both"):
        columns = st.columns(len(swaps), gap="large")
    for column, one in zip(columns, swaps, strict=True):
        with column:
            st.html(f'<p class="facet-h">{swap_controls.title(one.order.method)}</p>')
            if whole:
                _photo(studio, pair, one, PHOTO_WIDTH // 2)
            _facts(studio, pair, one)
            _buttons(studio, pair, one, whole)
            _readouts(studio, pair, one)


def _named(one: Swapped, swaps: Sequence[Swapped]) -> str:
    return swap_controls.title(one.order.method) if len(swaps) > 1 else "Result"


def _photo(studio: Studio, pair: Pair, one: Swapped, most: int) -> None:
    after = studio.pixels(one.order, pair.attributes, one.result, crop=False)
    before = pair.attributes.aligned.photo.pixels
    height, width = after.shape[:2]
    shown = int(min(most, PHOTO_HEIGHT * width / height, 3 * width))
    middle = min(max(float(pair.attributes.aligned.transform.quad[:, 0].mean()) / width, 0.05), 0.95)
    key = f"swap_compare/{one.order.method}"
    compare(before, after, labels=("Photo", "Swapped"), width=shown, start=middle, key=key)
    style.caption(f"Whole photo, {width} × {height} pixels")


def _facts(studio: Studio, pair: Pair, one: Swapped) -> None:
    scores = studio.scores(one.picture, pair.identity, pair.attributes)
    style.facts(
        [
            ("To identity", f"{scores.to_identity:.2f}", "cosine, 1 is the same"),
            ("To attributes", f"{scores.to_attributes:.2f}", _verdict(scores)),
            ("The two", f"{scores.apart:.2f}", "one with the other"),
        ]
    )
    style.small(
        f"Made in {one.result.stats.get('seconds', 0.0):.2f} s. Identity by the family's recogniser ({scores.judge}), which "
        "takes part in both methods and so flatters; it does not recognise people reliably."
    )


def _verdict(scores: Scores) -> str:
    gap = scores.to_identity - scores.to_attributes
    if abs(gap) < 0.05:
        return "as near to both"
    return "nearer to the identity" if gap > 0 else "still nearer to this one"


def _buttons(studio: Studio, pair: Pair, one: Swapped, whole: bool) -> None:
    order = one.order

    def file() -> bytes:
        pixels = studio.pixels(order, pair.attributes, one.result, crop=not whole)
        return studio.png(pixels, order.request, order.method)

    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Download photo" if whole else "Download face",
            data=file,
            file_name=f"{stem(pair.source)}-{order.method}-swap.png",
            mime="image/png",
            key=f"swap_download/{order.method}",
            icon=":material/download:",
            type="primary",
            on_click="ignore",
            help="PNG of what is shown, marked as AI-made, with the settings inside. 'Whole photo' above saves the photo."
            if pair.source.whole_photo
            else "PNG, marked as AI-made, with the settings inside.",
        )
        if st.button(
            "Edit this face",
            key=f"swap_edit/{order.method}",
            icon=":material/tune:",
            help="The swapped face becomes the current face, and Semantic edit starts from it.",
        ):
            state.put(as_current(studio, pair, one))
            st.switch_page(EDIT_PAGE)


def as_current(studio: Studio, pair: Pair, one: Swapped) -> Workspace:
    """The swap as the face that the session works on, its photo being the one with the new face in it."""
    face = studio.engine.keep(pair.attributes, one.result, keep_detail=one.order.base == "photo")
    source = pair.source
    kept = source.going_on_from(face, "kept" if pair.real else source.origin)
    # A generated attribute picture is nothing but its face, also under somebody's identity.
    return replace(kept, treated_as_aligned=not source.whole_photo)


def _readouts(studio: Studio, pair: Pair, one: Swapped) -> None:
    comparison = studio.compare(one.picture, pair.attributes)
    taken = taken_from_identity(comparison, studio.compare(pair.identity.target, pair.attributes))
    moved, rest = len(taken), len(comparison.unintended) - len(taken)
    readouts.panel(
        comparison,
        taken,
        summary=f"Against the attribute picture, {moved} of 40 readouts moved by more than 15 points towards the identity "
        f"picture, and {rest} in a way that neither picture explains.",
        marks=MARKS,
        before_is="the attribute picture",
        key=f"swap_readouts_{one.order.method}",
        height=PANEL_HEIGHT,
    )
