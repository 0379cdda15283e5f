"""The face that parts are borrowed from: a sample, a random face, or an uploaded photo that was agreed to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from ui import consent, state, style
from ui.chooser import face_numbers
from ui.pictures import data_uri
from ui.sources import TYPES
from workbench import references
from workbench.engine import Engine
from workbench.errors import FacetError
from workbench.face import AlignedFace, Photo, to_uint8
from workbench.images import load_image

REFERENCE, TROUBLE = "facet_reference", "facet_reference_trouble"
KINDS = {"sample": "Sample", "random": "Random", "photo": "Photo"}
Change = Callable[["Reference"], None]


@dataclass(frozen=True, eq=False)
class Reference:
    """A chosen face: the name a request carries, a title, its aligned picture (S,S,3) uint8, and for which generator.

    ``aligned`` is set for an uploaded photo, which has ``faces`` to choose from; generated faces are found by their name.
    """

    name: str
    title: str
    image: np.ndarray
    generator: str
    aligned: AlignedFace | None = None
    faces: int = 1
    chosen: int = 0

    @property
    def uploaded(self) -> frozenset[str]:
        """What has to be agreed to: the name of an uploaded face."""
        return frozenset() if self.aligned is None else frozenset({self.name})


def current(machine: Engine) -> Reference:
    """The reference of this session; at first a sample face that is not the one on the table."""
    found = st.session_state.get(REFERENCE)
    if not isinstance(found, Reference):
        found = _first(machine)
    elif found.generator != machine.generator_id:
        # Another family: photos are cut anew at its size, and it has generated faces of its own.
        found = _first(machine) if found.aligned is None else _open(machine, found.aligned.photo, found.chosen)
    elif found.aligned is not None:
        machine.references.lend(found.aligned)  # the engine keeps the pictures used last, of all sessions
    st.session_state[REFERENCE] = found
    return found


def _first(machine: Engine) -> Reference:
    samples = machine.sample_faces()
    work = state.workspace()
    taken = None if work is None or work.face is None else work.face.hash
    free = [i for i, face in enumerate(samples) if face.hash != taken]
    return _sample(machine, free[0]) if free else _random(machine, 2)


def _sample(machine: Engine, index: int) -> Reference:
    image = to_uint8(machine.sample_faces()[index].image)
    return Reference(references.sample(index + 1), f"Sample {index + 1}", image, machine.generator_id)


def _random(machine: Engine, seed: int) -> Reference:
    image = to_uint8(machine.random_face(seed).image)
    return Reference(references.random(seed), f"Random face {seed}", image, machine.generator_id)


def _open(machine: Engine, photo: Photo, chosen: int = 0) -> Reference:
    """Align a face of ``photo`` and lend it to the engine. Raises NoFace."""
    found = machine.detect(photo)
    chosen = min(chosen, len(found) - 1)
    aligned = machine.align(photo, found[chosen])
    name = machine.references.lend(aligned)
    return Reference(name, photo.name, aligned.image, machine.generator_id, aligned, len(found), chosen)


def picker(machine: Engine, now: Reference, on_change: Change) -> None:
    """Ways to choose another reference than ``now``; every choice calls ``on_change``."""
    style.small("Another reference:")
    kind = st.segmented_control(
        "Where the reference comes from",
        list(KINDS),
        format_func=KINDS.__getitem__,
        default="sample",
        required=True,
        key="reference_kind",
        label_visibility="collapsed",
        persist_state="session",
        width="stretch",
    )
    if kind == "sample":
        _samples(machine, on_change)
    elif kind == "random":
        _seed(machine, on_change)
    else:
        st.file_uploader(
            "A photo with a face",
            type=TYPES,
            key="reference_upload",
            max_upload_size=20,
            label_visibility="collapsed",
            on_change=_take,
            args=(machine, on_change),
        )
        style.small("It stays in memory for this session and is sent nowhere.")
    trouble = st.session_state.pop(TROUBLE, None)
    if trouble:
        st.error(trouble, icon=":material/error:")
    if now.faces > 1 and now.aligned is not None:
        _faces(machine, now, on_change)


def _put(made: Reference, on_change: Change) -> None:
    st.session_state[REFERENCE] = made
    on_change(made)


def _samples(machine: Engine, on_change: Change) -> None:
    faces = machine.sample_faces()
    if not faces:
        style.small("No sample faces come with this family of weights; make one under 'Random'.")
    with st.container(horizontal=True, gap="xsmall", key="reference_samples"):
        for index, face in enumerate(faces):
            st.button(
                f"![Sample {index + 1}]({data_uri(to_uint8(face.image), 112)})",
                key=f"reference_sample/{index}",
                on_click=lambda i=index: _put(_sample(machine, i), on_change),
            )


def _seed(machine: Engine, on_change: Change) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        seed = st.number_input("Seed", 0, 2**31 - 2, 2, 1, key="reference_seed", persist_state="session", width=110)
        st.button("Take it", key="reference_random", on_click=lambda: _put(_random(machine, int(seed)), on_change))
        st.button(
            "Next", key="reference_next", icon=":material/casino:", on_click=_next, args=(machine, int(seed), on_change)
        )


def _next(machine: Engine, seed: int, on_change: Change) -> None:
    st.session_state["reference_seed"] = seed + 1
    _put(_random(machine, seed + 1), on_change)


def _take(machine: Engine, on_change: Change) -> None:
    file = st.session_state.get("reference_upload")
    if file is None:
        return
    try:
        made = _open(machine, load_image(file.getvalue(), file.name))
    except FacetError as error:
        st.session_state[TROUBLE] = str(error)
        return
    _put(made, on_change)


def _faces(machine: Engine, now: Reference, on_change: Change) -> None:
    def pick(index: int) -> None:
        assert now.aligned is not None
        _put(replace(_open(machine, now.aligned.photo, index), title=now.title), on_change)

    face_numbers(now.faces, now.chosen, pick, key="reference_face")


def usable(now: Reference) -> bool:
    """Whether ``now`` may be borrowed from: uploaded photos must have been agreed to."""
    return consent.agreed(now.uploaded)
