"""The result side of 'Align & project': faces to choose from, aligned beside projected, and the long way to refine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from ui import points, state, style
from ui.actions import choose_face, from_generated, open_incoming, open_photo
from ui.chooser import face_numbers, face_overlay
from ui.engine import sentences
from ui.jobs import Job
from ui.sources import LATEST_ALIGNED
from workbench.editor import Cancel, Progress
from workbench.engine import Engine
from workbench.errors import Cancelled, FacetError
from workbench.face import Face, Photo, to_uint8
from workbench.history import History

ALIGN_PAGE, EDIT_PAGE = "pages/align_and_project.py", "pages/semantic_edit.py"
PARTS_PAGE = "pages/components.py"
FACE_WIDTH = 320


def take(machine: Engine) -> state.Workspace:
    """Work on what came in since the last run; without anything, the first sample face is on the table."""
    incoming = st.session_state.pop(state.INCOMING, None)
    if incoming is not None:
        stop_job()
        aligned = bool(st.session_state.get(LATEST_ALIGNED, False))
        with sentences(), st.spinner("Finding, aligning and projecting the face …"):
            if isinstance(incoming, Photo):
                work = state.workspace()
                origin = work.origin if work is not None else "upload"
                state.put(open_photo(machine, incoming, origin, aligned=aligned))
            else:
                state.put(open_incoming(machine, incoming, aligned=aligned))
    complaint()
    return first(machine)


def complaint() -> None:
    """Say once what went wrong in a callback."""
    said = st.session_state.pop(state.COMPLAINT, None)
    if said:
        st.error(said, icon=":material/error:")


def on_the_table(machine: Engine) -> tuple[state.Workspace, Face] | None:
    """The workspace and its face for a page that edits; None, said and with the way back, where there is no face."""
    complaint()
    work = first(machine)
    if work.face is None:
        st.error(work.trouble or "There is no face yet.", icon=":material/error:")
        st.page_link(ALIGN_PAGE, label="Back to Align & project", icon=":material/arrow_back:")
        return None
    return work, work.face


def first(machine: Engine) -> state.Workspace:
    """The workspace; a first-time visitor gets the first sample face, so that there is something to move."""
    work = state.workspace()
    if work is None:
        samples = machine.sample_faces()
        face = samples[0] if samples else machine.random_face(1)
        work = from_generated(face, "sample")
        state.put(work)
    return work


def show(machine: Engine) -> None:
    """The right side of the page."""
    work = first(machine)
    for note in work.notes:
        st.info(note, icon=":material/info:")
    if work.face is None:
        points.ask(machine, work)
        return
    if len(work.detections) > 1:
        _choose(machine, work)
    elif work.whole_photo and work.detections:
        with st.expander("Where the face is in the photo", icon=":material/crop_free:"):
            face_overlay(work.photo.pixels, work.detections, work.chosen, lambda index: None)
    _pair(work, work.face)
    warnings = list(dict.fromkeys([*_detection_warnings(work), *work.face.warnings]))
    for warning in warnings:
        st.warning(warning, icon=":material/warning:")
    own = work.origin in ("upload", "camera", "kept")
    if own and state.job() is not None:
        _watch()  # above the buttons, where the one that started it was: below them it would be off the screen
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        if st.button("Edit this face", key="go_edit", type="primary", icon=":material/tune:"):
            st.switch_page(PARTS_PAGE if machine.store.family.face_size else EDIT_PAGE)
        if own and state.job() is None and work.face.mode != "photo":
            _mode(machine, work, work.face)


def _detection_warnings(work: state.Workspace) -> tuple[str, ...]:
    return work.detections[work.chosen].warnings if work.chosen < len(work.detections) else ()


def _choose(machine: Engine, work: state.Workspace) -> None:
    style.small(f"{len(work.detections)} faces found. Click the one to work on.")

    def pick(index: int) -> None:
        _pick(machine, index)

    face_overlay(work.photo.pixels, work.detections, work.chosen, pick)
    face_numbers(len(work.detections), work.chosen, pick)


def _pick(machine: Engine, index: int) -> None:
    work = state.workspace()
    if work is None or index == work.chosen:
        return
    stop_job()
    try:
        state.put(choose_face(machine, work, index))
    except FacetError as error:
        st.session_state[state.COMPLAINT] = str(error)


def _pair(work: state.Workspace, face: Face) -> None:
    generated = work.origin in ("sample", "random", "code")
    if face.mode == "photo" and not generated:
        with st.container(width=FACE_WIDTH):
            _face(to_uint8(face.target), "Aligned photo")
        style.small("This family of weights edits the photo as it is, part by part: nothing is projected.")
        return
    if generated:
        with st.container(width=FACE_WIDTH):
            _face(to_uint8(face.image), "Generated face")
    else:
        with st.container(key="pair", width=2 * FACE_WIDTH + 24):
            places = st.columns(2, gap="medium")
        with places[0]:
            _face(to_uint8(face.target), "Aligned photo")
        with places[1]:
            _face(to_uint8(face.image), f"Projected ({face.mode})")
    if generated:
        style.small("This face was made by the generator, so its code is exact and there is nothing to project.")
        return
    style.facts(
        [
            ("Identity", f"{face.identity:.2f}", "cosine with the photo, 1 is the same"),
            ("Distance", f"{face.l2:.3f}", "mean squared error, 0 is the same"),
            ("Projection", face.mode, f"{face.seconds:.1f} s"),
            ("Shown at", f"{face.image.shape[-1]} px", "the generator's size, enlarged"),
        ]
    )


def _face(pixels: np.ndarray, caption: str) -> None:
    st.image(pixels, width="stretch", output_format="PNG", alt=caption)
    style.caption(caption)


def _mode(machine: Engine, work: state.Workspace, face: Face) -> None:
    if face.mode == "encoder":
        if st.button(
            "Refine the likeness",
            key="refine",
            icon=":material/auto_fix_high:",
            help="Optimises the code for this photo. It takes a while, can be cancelled, and may edit less freely.",
        ):
            aligned = face.aligned

            def refine(progress: Progress, cancel: Cancel) -> Face:
                return machine.project(aligned, "refined", progress=progress, cancel=cancel)

            st.session_state[state.JOB] = Job(refine, work.photo.hash)
            st.rerun()
    elif st.button("Back to the encoder's projection", key="unrefine", icon=":material/undo:"):
        state.put(_swap(work, machine.project(face.aligned, "encoder")))
        st.rerun()


def _swap(work: state.Workspace, face: Face) -> state.Workspace:
    """The same photo with another projection: the settings stay, the pictures are made anew."""
    kept = work.history
    return replace(work, face=face, history=History(face.hash, kept.entries, kept.position))


@st.fragment(run_every="0.5s")
def _watch() -> None:
    running = state.job()
    if running is None:
        return
    with st.container(border=True, width=420):
        said = "Stopping after this step …" if running.cancelled else f"Refining … {running.message}"
        st.progress(running.fraction, text=said)
        if st.button("Cancel", key="cancel_refine", icon=":material/close:", disabled=running.cancelled):
            running.cancel()
    if running.done:
        _finish(running)
        st.rerun()


def _finish(running: Job[Face]) -> None:
    del st.session_state[state.JOB]
    work = state.workspace()
    try:
        face = running.result()
    except Cancelled:
        return
    except FacetError as error:
        st.session_state[state.COMPLAINT] = str(error)
        return
    if work is not None and work.photo.hash == running.title:
        state.put(_swap(work, face))


def stop_job() -> None:
    """Cancel a running refinement: its photo is leaving the table."""
    running = st.session_state.pop(state.JOB, None)
    if running is not None:
        running.cancel()
