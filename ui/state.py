"""What one visitor is working on: frozen, on the CPU, kept for the length of the session and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import streamlit as st

from ui.jobs import Job
from workbench import jobs
from workbench.face import AlignedFace, Detection, Face, Photo
from workbench.history import History

Origin = Literal["sample", "random", "upload", "camera", "kept", "code"]
WORKSPACE, INCOMING, JOB, CHOICE = "facet_workspace", "facet_incoming", "facet_job", "facet_engine"
COMPLAINT, ROUTED, WANTED, MODELS_JOB = "facet_complaint", "facet_routed", "facet_wanted", "facet_models_job"


@dataclass(frozen=True, eq=False)
class Incoming:
    """A file as it came from the browser, copied at once because the uploader forgets it on a page switch."""

    data: bytes
    name: str
    origin: Origin


@dataclass(frozen=True, eq=False)
class Workspace:
    """A photo on its way to an edited face.

    ``points`` are placed by hand in pixels of the photo; ``trouble`` is the sentence that says why there is no face
    yet; ``notes`` are things worth knowing that stopped nothing.
    """

    origin: Origin
    photo: Photo
    detections: tuple[Detection, ...] = ()
    chosen: int = 0
    treated_as_aligned: bool = False
    aligned: AlignedFace | None = None
    face: Face | None = None
    history: History = field(default_factory=lambda: History(""))
    points: tuple[tuple[float, float], ...] = ()
    trouble: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def whole_photo(self) -> bool:
        """Whether there is more to the photo than the aligned face."""
        return self.origin in ("upload", "camera", "kept") and not self.treated_as_aligned

    def with_face(self, aligned: AlignedFace, face: Face) -> Workspace:
        """The workspace with a new face and an empty history."""
        return replace(self, aligned=aligned, face=face, history=History(face.hash), trouble=None)

    def going_on_from(self, face: Face, origin: Origin) -> Workspace:
        """The workspace after an edit was kept: ``face`` in its own composed photo, with an empty history."""
        found = (face.aligned.detection,) if face.aligned.detection else ()
        return replace(
            self.with_face(face.aligned, face),
            origin=origin,
            photo=face.aligned.photo,
            detections=found,
            chosen=0,
            notes=(),
        )


@dataclass(frozen=True)
class EngineChoice:
    """Which weights, on which device, and the precision of the generator's convolutions there."""

    family: str = "starter"
    device: str = "auto"
    precision: str = "float32"


def workspace() -> Workspace | None:
    """What the visitor works on; None before anything was opened."""
    return st.session_state.get(WORKSPACE)


def put(new: Workspace) -> None:
    st.session_state[WORKSPACE] = new


def with_history(work: Workspace, history: History) -> Workspace:
    """The workspace with another history."""
    return replace(work, history=history)


def job() -> Job[Face] | None:
    """The projection that is running beside the script, if any."""
    return st.session_state.get(JOB)


def models_job() -> Job[list[str]] | None:
    """The download or check of weights files that is running beside the script, if any."""
    return st.session_state.get(MODELS_JOB)


def choice() -> EngineChoice:
    return st.session_state.get(CHOICE, EngineChoice())


def wipe() -> None:
    """Forget everything of this session, a running step included."""
    for running in list(st.session_state.values()):
        if isinstance(running, jobs.Job):
            running.cancel()
    for key in list(st.session_state.keys()):
        del st.session_state[key]
