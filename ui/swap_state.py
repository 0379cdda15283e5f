"""What one visitor has on the page of swaps: pictures, and the key of this session's donors."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import streamlit as st

from ui.actions import from_generated, open_photo
from ui.state import Workspace
from workbench.conceal import Person
from workbench.engine import Engine
from workbench.errors import FacetError
from workbench.face import Photo

Slot = Literal["identity", "attributes", "end", "person", "second"]
Side = Literal["identities", "attributes"]
DESK = "facet_swap_desk"
SAMPLES = 4
"""Sample faces on either side of a sheet at first."""


@dataclass(frozen=True, eq=False)
class Desk:
    """Everything that outlives a page switch and is forgotten with the session.

    ``sources``: the picture in each slot. ``sides``: the pictures of a sheet. ``key`` and
    ``people``: whose donor is whose. ``complaints``: sentences to show once, by place.
    """

    sources: Mapping[Slot, Workspace]
    sides: Mapping[Side, tuple[Workspace, ...]]
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    people: tuple[Person, ...] = ()
    complaints: Mapping[str, str] = field(default_factory=dict)

    def having(self, slot: Slot, source: Workspace | None) -> Desk:
        """The desk with ``source`` in ``slot``, or with the slot empty."""
        rest = {name: one for name, one in self.sources.items() if name != slot}
        return replace(self, sources=rest if source is None else {**rest, slot: source})

    def with_side(self, side: Side, pictures: Iterable[Workspace]) -> Desk:
        """The desk with ``pictures`` on one side of the sheet."""
        return replace(self, sides={**self.sides, side: tuple(pictures)})

    def complaining(self, place: str, sentence: str | None) -> Desk:
        """The desk with a sentence to show at ``place``."""
        rest = {name: one for name, one in self.complaints.items() if name != place}
        return replace(self, complaints=rest if sentence is None else {**rest, place: sentence})


def desk(machine: Engine) -> Desk:
    """The visitor's desk; a first-time visitor has sample faces in every slot. Faces of another generator are made anew."""
    found = st.session_state.get(DESK)
    if not isinstance(found, Desk):
        found = _first(machine)
        put(found)
    elif not all(_fits(machine, one) for one in _all(found)):
        found = _moved(machine, found)
        put(found)
    return found


def put(new: Desk) -> None:
    st.session_state[DESK] = new


def change(step: Callable[[Desk], Desk]) -> None:
    """Take one step on the desk that is there; nothing happens after a wipe."""
    found = st.session_state.get(DESK)
    if isinstance(found, Desk):
        put(step(found))


def real(source: Workspace) -> bool:
    """Whether the picture may show a real person: all but samples and random faces."""
    return source.origin not in ("sample", "random")


def ready(sources: Iterable[Workspace | None]) -> bool:
    """Whether all of them have a face."""
    return all(one is not None and one.face is not None for one in sources)


def _samples(machine: Engine, count: int) -> list[Workspace]:
    faces = machine.sample_faces()[:count]
    made = [from_generated(face, "sample") for face in faces]
    return made + [from_generated(machine.random_face(seed), "random") for seed in range(1, count - len(made) + 1)]


def _first(machine: Engine) -> Desk:
    faces = _samples(machine, 2 * SAMPLES)
    sources: dict[Slot, Workspace] = {
        "identity": faces[0],
        "attributes": faces[1],
        "end": faces[2],
        "person": faces[0],
    }
    return Desk(sources, {"identities": tuple(faces[:SAMPLES]), "attributes": tuple(faces[SAMPLES:])})


def _all(found: Desk) -> list[Workspace]:
    return [*found.sources.values(), *(one for side in found.sides.values() for one in side)]


def _fits(machine: Engine, source: Workspace) -> bool:
    return source.face is None or source.face.latent.generator == machine.generator_id


def _moved(machine: Engine, found: Desk) -> Desk:
    """The desk with another family's generator: photos are opened again, generated faces give way to new ones."""
    fresh = _first(machine)

    def again(source: Workspace) -> Workspace | None:
        if not (source.origin in ("upload", "camera") or source.whole_photo):
            return None
        try:
            return reopened(machine, source, aligned=source.treated_as_aligned)
        except FacetError:
            return None

    sources = {slot: again(one) or fresh.sources.get(slot) for slot, one in found.sources.items()}
    sides = {}
    for side, pictures in found.sides.items():
        kept = tuple(new for new in map(again, pictures) if new is not None)
        sides[side] = kept or fresh.sides[side]
    held = {slot: one for slot, one in sources.items() if one is not None}
    return replace(found, sources=held, sides=sides, people=())


def reopened(machine: Engine, source: Workspace, *, aligned: bool) -> Workspace:
    """The photo of ``source`` once more: with other networks, or taken for a face crop. Raises FacetError."""
    made = open_photo(machine, bare(source.photo), source.origin, aligned=aligned)
    return replace(made, notes=source.notes)


def bare(photo: Photo) -> Photo:
    """``photo`` without the settings of its file, which belong to another page."""
    return replace(photo, request=None)
