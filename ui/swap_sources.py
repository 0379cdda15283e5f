"""A slot for one picture: an upload, a sample, a random face, or the face that the session works on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import streamlit as st

from ui import state, style, swap_state
from ui.actions import choose_face, from_generated, keep_as_start, open_photo
from ui.chooser import face_numbers, face_overlay
from ui.pictures import data_uri, fit
from ui.sources import TYPES
from ui.state import Workspace
from ui.swap_state import Slot
from workbench.engine import Engine
from workbench.errors import FacetError
from workbench.face import Face, to_uint8
from workbench.images import load_image
from workbench.swapping import described

KINDS = {"photo": "Photo", "sample": "Sample", "random": "Random", "current": "Current"}
NAMES: dict[state.Origin, str] = {
    "sample": "Sample face",
    "random": "Random face",
    "upload": "Your photo",
    "camera": "Camera picture",
    "kept": "Kept edit",
    "code": "Saved code",
}
OVERLAY = 300


def slot(machine: Engine, name: Slot, title: str, about: str, *, narrow: bool = False) -> Workspace | None:
    """Draw the slot ``name`` with its picture and the ways to change it; returns what is in it.

    A ``narrow`` slot has the ways below its picture.
    """
    desk = swap_state.desk(machine)
    source = desk.sources.get(name)
    with st.container(border=True, key=f"slot_{name}", gap="small"):
        left, right = st.columns([0.36, 0.64], gap="medium")
        with left:
            thumbnail(source)
        with right:
            st.html(f'<p class="facet-h">{title}</p><p class="facet-small">{about}</p>')
            if not narrow:
                _ways(machine, name, source)
        if narrow:
            _ways(machine, name, source)
        if name in desk.complaints:
            st.error(desk.complaints[name], icon=":material/error:")
            swap_state.put(desk.complaining(name, None))
        if source is not None:
            _state(machine, name, source)
    return source


def optional(machine: Engine, name: Slot, title: str, about: str) -> Workspace | None:
    """A slot that is empty at first, takes photos only, and can be emptied again."""
    desk = swap_state.desk(machine)
    source = desk.sources.get(name)
    with st.container(border=True, key=f"slot_{name}", gap="small"):
        left, right = st.columns([0.36, 0.64], gap="medium")
        with left:
            thumbnail(source, "no photo")
        with right:
            st.html(f'<p class="facet-h">{title}</p><p class="facet-small">{about}</p>')
            upload(machine, name)
            if source is not None:
                st.button("Take it away", key=f"swap_empty/{name}", on_click=_empty, args=(name,))
        if name in desk.complaints:
            st.error(desk.complaints[name], icon=":material/error:")
            swap_state.put(desk.complaining(name, None))
        if source is not None:
            _state(machine, name, source)
    return source


def _empty(name: Slot) -> None:
    swap_state.change(lambda desk: desk.having(name, None))


def thumbnail(source: Workspace | None, empty: str = "no face") -> None:
    """The aligned face with a line about where it is from."""
    if source is None or source.face is None:
        st.html(f'<div class="facet-empty">{empty}</div>')
        return
    name = source.photo.name if source.origin == "upload" else NAMES[source.origin]
    st.html(
        f'<img class="facet-source" alt="{_plain(name)}" src="{data_uri(to_uint8(source.face.target), 320)}">'
        f'<p class="facet-quiet facet-name">{_plain(name)}</p>'
    )


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _ways(machine: Engine, name: Slot, source: Workspace | None) -> None:
    kind = st.segmented_control(
        "Where this picture comes from",
        list(KINDS),
        format_func=KINDS.__getitem__,
        default="sample",
        required=True,
        key=f"swap_kind/{name}",
        label_visibility="collapsed",
        persist_state="session",
    )
    if kind == "photo":
        upload(machine, name)
    elif kind == "sample":
        _samples(machine, name, source)
    elif kind == "random":
        _random(machine, name)
    else:
        _current(machine, name, source)


def upload(machine: Engine, name: Slot, label: str = "A photo with a face") -> None:
    """The uploader of a slot. What it brings is in the session before the page is drawn again.

    The uploader is empty then: the picture stands beside it, and may go elsewhere without it.
    """
    key = f"swap_upload/{name}/{count(name)}"
    st.file_uploader(
        label,
        type=TYPES,
        key=key,
        max_upload_size=20,
        on_change=_take,
        args=(machine, name, key),
        label_visibility="collapsed",
    )


def _take(machine: Engine, name: Slot, key: str) -> None:
    file = st.session_state.get(key)
    if file is not None:
        bring(machine, name, file.getvalue(), file.name)
        empty(name)


def empty(name: str) -> None:
    """Empty the uploader ``name``: its next number is another uploader."""
    st.session_state[f"swap_uploads/{name}"] = count(name) + 1


def count(name: str) -> int:
    """How many times the uploader ``name`` was emptied."""
    return int(st.session_state.get(f"swap_uploads/{name}", 0))


def bring(machine: Engine, name: Slot, data: bytes, file: str) -> None:
    """Open ``data`` for a slot; when it is no picture, the sentence that says so stands in the slot instead."""
    try:
        source = open_file(machine, data, file)
    except FacetError as error:
        sentence = str(error)
        swap_state.change(lambda desk: desk.complaining(name, sentence))
        return
    swap_state.change(lambda desk: desk.having(name, source).complaining(name, None))


def open_file(machine: Engine, data: bytes, file: str, *, longest: int | None = None) -> Workspace:
    """A photo as a source, its largest face projected; without a face its ``trouble`` says why. Raises BadImage.

    ``longest``: the photo is shrunk to this many pixels a side first, where only its face will be used.
    """
    photo = load_image(data, file)
    if longest is not None and max(photo.size) > longest:
        photo = replace(photo, pixels=fit(photo.pixels, longest), hash="")
    source = open_photo(machine, swap_state.bare(photo), "upload")
    told = described(photo.request)
    return replace(source, notes=(*source.notes, told)) if told else source


def _samples(machine: Engine, name: Slot, source: Workspace | None) -> None:
    faces = machine.sample_faces()
    if not faces:
        style.small("No sample faces come with this family of weights; make one under 'Random'.")
        return
    with st.container(horizontal=True, gap="xxsmall", key=f"swap_samples_{name}"):
        sample_buttons(faces, f"swap_sample/{name}", lambda face: _use(name, from_generated(face, "sample")))


def sample_buttons(faces: Sequence[Face], prefix: str, use: Callable[[Face], None]) -> None:
    """One button per sample face."""
    for index, face in enumerate(faces):
        st.button(
            f"![Sample {index + 1}]({data_uri(to_uint8(face.image), 96)})",
            key=f"{prefix}/{index}",
            on_click=use,
            args=(face,),
        )


def _use(name: Slot, source: Workspace) -> None:
    swap_state.change(lambda desk: desk.having(name, source))


def _random(machine: Engine, name: Slot) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        seed = st.number_input(
            "Seed",
            min_value=0,
            max_value=2**31 - 2,
            value=1,
            step=1,
            key=f"swap_seed/{name}",
            persist_state="session",
            width=110,
        )
        st.button("Make it", key=f"swap_random/{name}", on_click=_make, args=(machine, name, int(seed)))
        st.button(
            "Next",
            key=f"swap_next/{name}",
            icon=":material/casino:",
            on_click=_make,
            args=(machine, name, int(seed) + 1),
        )


def _make(machine: Engine, name: Slot, seed: int) -> None:
    st.session_state[f"swap_seed/{name}"] = seed
    _use(name, from_generated(machine.random_face(seed), "random"))


def _current(machine: Engine, name: Slot, source: Workspace | None) -> None:
    work = state.workspace()
    if work is None or work.face is None:
        style.small("The session has no face yet; open one on the page Align & project.")
        return
    st.button(
        "Take the current face",
        key=f"swap_current/{name}",
        icon=":material/person_check:",
        on_click=_take_current,
        args=(machine, name),
        help="The face in the sidebar, as it is edited now.",
    )


def _take_current(machine: Engine, name: Slot) -> None:
    work = state.workspace()
    if work is None or work.face is None:
        return
    try:
        _use(name, current(machine, work))
    except FacetError as error:
        sentence = str(error)
        swap_state.change(lambda desk: desk.complaining(name, sentence))


def current(machine: Engine, work: Workspace) -> Workspace:
    """The face that the session works on, with the edit that is in force. Raises FacetError."""
    entry = work.history.current
    if work.face is None or entry is None or not entry.request.values:
        return work
    return keep_as_start(machine, work, machine.edit(work.face, entry.request), keep_detail=True)


def _state(machine: Engine, name: Slot, source: Workspace) -> None:
    if source.face is None:
        st.error(source.trouble or "There is no face yet.", icon=":material/error:")
    for note in source.notes:
        st.info(note, icon=":material/info:")
    if len(source.detections) > 1 and source.photo is not None:
        _choose(machine, name, source)
    if source.face is not None:
        found = source.detections[source.chosen].warnings if source.chosen < len(source.detections) else ()
        for warning in dict.fromkeys((*found, *source.face.warnings)):
            st.warning(warning, icon=":material/warning:")
    if source.origin in ("upload", "camera"):
        _aligned(machine, name, source)


def _aligned(machine: Engine, name: Slot, source: Workspace) -> None:
    key = f"swap_aligned/{name}"
    if st.session_state.get(key) != source.treated_as_aligned:
        st.session_state[key] = source.treated_as_aligned
    st.toggle(
        "Already aligned",
        key=key,
        on_change=_again,
        args=(machine, name, key),
        help="The picture is a square face crop framed as in FFHQ or CelebA-HQ: it is used as it is.",
    )
    if source.face is None:
        style.small("Or show the face by five points on the page Align & project, and take it from 'Current'.")


def _again(machine: Engine, name: Slot, key: str) -> None:
    aligned = bool(st.session_state[key])

    def step(desk: swap_state.Desk) -> swap_state.Desk:
        try:
            return desk.having(name, swap_state.reopened(machine, desk.sources[name], aligned=aligned))
        except FacetError as error:
            return desk.complaining(name, str(error))

    swap_state.change(step)


def _choose(machine: Engine, name: Slot, source: Workspace) -> None:
    style.small(f"{len(source.detections)} faces found. Click the one to use, or choose its number.")

    def pick(index: int) -> None:
        def step(desk: swap_state.Desk) -> swap_state.Desk:
            try:
                return desk.having(name, choose_face(machine, desk.sources[name], index))
            except FacetError as error:
                return desk.complaining(name, str(error))

        if index != source.chosen:
            swap_state.change(step)

    face_overlay(source.photo.pixels, source.detections, source.chosen, pick, key=f"swap_overlay/{name}", most=OVERLAY)
    face_numbers(len(source.detections), source.chosen, pick, key=f"swap_face/{name}")
