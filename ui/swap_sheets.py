"""The tab 'Sheet': every identity on every attribute picture."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ui import state, style, swap_consent, swap_controls, swap_sources, swap_state, swap_tasks
from ui.actions import from_generated
from ui.pictures import data_uri
from ui.sources import TYPES
from ui.state import Workspace
from ui.swap_state import Side
from workbench.editor import Cancel, Progress
from workbench.engine import Engine
from workbench.errors import FacetError
from workbench.face import Face, content_hash, to_uint8
from workbench.swap_sheet import MOST, SwapSheet, swap_sheet
from workbench.swap_studio import Studio, SwapOrder

TITLES: dict[Side, tuple[str, str]] = {
    "identities": ("Identity pictures", "one column each"),
    "attributes": ("Attribute pictures", "one row each"),
}
NAME = "sheet"
SHOWN = 1600
LONGEST = 2048
"""Photos of a sheet stay in memory, and there may be many: their faces need no more pixels."""


def show(studio: Studio, methods: Sequence[str]) -> None:
    """Draw the tab."""
    machine = studio.engine
    with st.container(key="sheet_desk"):
        left, right = st.columns([1, 2.5], gap="large")
    with left, st.container(key="sheet_controls", gap="small"):
        (order,) = swap_controls.orders(swap_controls.method(methods))
    with right:
        for side in TITLES:
            _side(machine, side)
        sides = swap_state.desk(machine).sides
        who, what = _usable(sides["identities"]), _usable(sides["attributes"])
        allowed = swap_consent.given(NAME, (*sides["identities"], *sides["attributes"]))
        if not who or not what:
            st.info("A sheet needs at least one face on either side.", icon=":material/info:")
        elif not allowed:
            swap_consent.wait()
        else:
            _make(studio, order, who, what)


def _usable(side: Sequence[Workspace]) -> list[Face]:
    return [one.face for one in side if one.face is not None]


def _side(machine: Engine, side: Side) -> None:
    desk = swap_state.desk(machine)
    title, about = TITLES[side]
    pictures = desk.sides[side]
    with st.container(border=True, key=f"side_{side}", gap="small"):
        st.html(f'<p class="facet-h">{title} <span class="facet-quiet">{len(pictures)} of {MOST}, {about}</span></p>')
        if pictures:
            with st.container(horizontal=True, gap="xsmall", key=f"side_faces_{side}"):
                for index, one in enumerate(pictures):
                    _face(side, index, one)
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            st.button("4 samples", key=f"side_few/{side}", on_click=_samples, args=(machine, side, swap_state.SAMPLES))
            st.button(f"{MOST} samples", key=f"side_many/{side}", on_click=_samples, args=(machine, side, MOST))
            st.button("Add current face", key=f"side_current/{side}", on_click=_add_current, args=(machine, side))
            st.button("Remove all", key=f"side_clear/{side}", disabled=not pictures, on_click=_keep, args=(side, ()))
        key = f"side_upload/{side}/{swap_sources.count(f'side {side}')}"
        st.file_uploader(
            "Add photos",
            type=TYPES,
            key=key,
            accept_multiple_files=True,
            max_upload_size=20,
            on_change=_take,
            args=(machine, side, key),
            label_visibility="collapsed",
        )
        if side in desk.complaints:
            st.error(desk.complaints[side], icon=":material/error:")
            swap_state.put(desk.complaining(side, None))


def _face(side: Side, index: int, one: Workspace) -> None:
    name = one.photo.name
    picture = one.photo.pixels if one.face is None else to_uint8(one.face.target)
    st.button(
        f"![{name.replace('[', '(').replace(']', ')')}]({data_uri(picture, 128)})",
        key=f"side_remove/{side}/{index}",
        help=f"{name}: click to take it away",
        on_click=_remove,
        args=(side, one),
    )


def _keep(side: Side, pictures: Sequence[Workspace]) -> None:
    swap_state.change(lambda desk: desk.with_side(side, pictures))


def _remove(side: Side, one: Workspace) -> None:
    swap_state.change(lambda desk: desk.with_side(side, [other for other in desk.sides[side] if other is not one]))


def _samples(machine: Engine, side: Side, count: int) -> None:
    faces = machine.sample_faces()
    # The two sides differ where there are samples enough.
    start = count if side == "attributes" and len(faces) >= 2 * count else 0
    _keep(side, [from_generated(face, "sample") for face in faces[start : start + count]])


def _add_current(machine: Engine, side: Side) -> None:
    work = state.workspace()
    if work is None or work.face is None:
        _say(side, "The session has no face yet; open one on the page Align & project.")
        return
    try:
        _add(side, [swap_sources.current(machine, work)], [])
    except FacetError as error:
        _say(side, str(error))


def _take(machine: Engine, side: Side, key: str) -> None:
    """Open all files that came, one broken file costing no other; then the uploader is empty again."""
    opened, sentences = [], []
    for file in st.session_state.get(key) or []:
        try:
            source = swap_sources.open_file(machine, file.getvalue(), file.name, longest=LONGEST)
        except FacetError as error:
            sentences.append(str(error))
            continue
        if source.face is None:
            sentences.append(source.trouble or f"'{file.name}' has no face.")
            continue
        if len(source.detections) > 1:
            sentences.append(f"'{file.name}' shows {len(source.detections)} faces; the largest was taken.")
        opened.append(source)
    swap_sources.empty(f"side {side}")
    _add(side, opened, sentences)


def _add(side: Side, new: Sequence[Workspace], sentences: Sequence[str]) -> None:
    """Photos take the place of samples, so that nobody has to remove those first."""

    def step(desk: swap_state.Desk) -> swap_state.Desk:
        held = [one for one in desk.sides[side] if swap_state.real(one)] if new else list(desk.sides[side])
        seen = {one.photo.hash for one in held}
        fresh = [one for one in new if one.photo.hash not in seen]
        said = list(sentences)
        if len(held) + len(fresh) > MOST:
            said.append(f"A sheet has at most {MOST} pictures on a side; the last ones were left out.")
        return desk.with_side(side, (held + fresh)[:MOST]).complaining(side, " ".join(said) or None)

    swap_state.change(step)


def _say(side: Side, sentence: str) -> None:
    swap_state.change(lambda desk: desk.complaining(side, sentence))


def _make(studio: Studio, order: SwapOrder, who: Sequence[Face], what: Sequence[Face]) -> None:
    settings = content_hash(order, *(face.hash for face in who), "on", *(face.hash for face in what))

    def work(progress: Progress, cancel: Cancel) -> SwapSheet:
        return swap_sheet(studio, order, who, what, progress, cancel)

    busy = swap_tasks.running(NAME, settings)
    done = swap_tasks.known(NAME, settings) and not busy
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.button(
            f"Make the sheet ({len(who)} × {len(what)})",
            key="sheet_make",
            type="primary",
            icon=":material/grid_on:",
            disabled=busy,
            on_click=swap_tasks.start,
            args=(NAME, settings, work),
        )
        if not done:
            style.small(f"{len(who) + len(what)} readings at most and {len(who) * len(what)} renderings.")
    sheet = swap_tasks.outcome(NAME, settings)
    if isinstance(sheet, SwapSheet):
        _show(studio, order, sheet)


def _show(studio: Studio, order: SwapOrder, sheet: SwapSheet) -> None:
    height, width = sheet.pixels.shape[:2]
    st.html(
        f'<img class="facet-wide" alt="Sheet of swaps" style="--most:{width}px" src="{data_uri(sheet.pixels, SHOWN)}">'
    )
    style.caption(
        "First row: the identities. First column: the attribute pictures. Each other picture has its column's identity and "
        "its row's attributes."
    )
    style.facts(
        [
            ("To identity", f"{sheet.to_identity:.2f}", "mean cosine of all pictures"),
            ("To attributes", f"{sheet.to_attributes:.2f}", "by the family's own recogniser"),
            ("Size", f"{width} × {height}", "pixels"),
        ]
    )
    st.download_button(
        "Download sheet",
        data=lambda: studio.png(sheet.pixels, order.request, order.method),
        file_name=f"swaps-{order.method}-{sheet.identities}x{sheet.attributes}.png",
        mime="image/png",
        key="sheet_download",
        icon=":material/download:",
        on_click="ignore",
        help="PNG, marked as AI-made, with the settings inside.",
    )
