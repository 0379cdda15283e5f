"""What the page Masked edit remembers of a visit: the settings, a mask of one's own, and what all visitors share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import streamlit as st
import torch

from ui import state, work_queue
from workbench.editor import EditorSpec, EditRequest
from workbench.engine import Engine
from workbench.jobs import Job
from workbench.masked_jobs import MaskedOrder, Outcome
from workbench.masking import MaskedEditor, masked_editor
from workbench.pace import Paces

SETTINGS, TAKEN = "facet_masked_settings", "facet_masked_taken"
TITLE = "Masked edit"
Source = Literal["parser", "file", "brush"]
REGIONS = ("mouth", "eyebrows", "eyes", "nose", "hair", "whole face")


@dataclass(frozen=True, eq=False)
class Settings:
    """``values`` of moved controls by name, ``seed``, where the mask comes from, and a mask (S,S) uint8 of one's own with the
    hash of the face that it was made for."""

    values: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    source: Source = "parser"
    own: np.ndarray | None = None
    own_for: str = ""


# The editor holds its engine's networks, so that the engine's id is not given to another one while it stands in the cache.
@st.cache_resource(max_entries=2, show_spinner="Loading the masked editor …", hash_funcs={Engine: id})
def editor(machine: Engine) -> MaskedEditor:
    """The masked editor of ``machine``, shared by all visitors: a photo is rebuilt once, whoever asks."""
    return masked_editor(machine)


@st.cache_resource(show_spinner=False)
def paces() -> Paces:
    """What steps cost on this machine."""
    return Paces()


def settings() -> Settings:
    """The settings of this visit."""
    return st.session_state.get(SETTINGS, Settings())


def put(new: Settings) -> None:
    st.session_state[SETTINGS] = new


def set_value(name: str, value: float | None) -> None:
    """Set one control; None takes it away."""
    now = settings()
    values = {key: v for key, v in now.values.items() if key != name}
    put(replace(now, values=values if value is None else {**values, name: value}))


def adopt(work: state.Workspace, spec: EditorSpec) -> None:
    """Take over the request of a file that was opened: it stands in the session's history."""
    entry = work.history.current
    if entry is None or entry.request.editor != spec.name or st.session_state.get(TAKEN) == entry.request.to_json():
        return
    st.session_state[TAKEN] = entry.request.to_json()
    put(replace(settings(), values=dict(entry.request.values), seed=entry.request.seed))


def request(spec: EditorSpec) -> EditRequest:
    """What is asked for: what stands on its neutral value is left out, so that equal orders are equal requests."""
    now = settings()
    values = {c.name: now.values[c.name] for c in spec.controls if now.values.get(c.name, c.neutral) != c.neutral}
    return EditRequest(spec.name, spec.version, values, now.seed)


def order(work: state.Workspace, spec: EditorSpec) -> MaskedOrder | None:
    """The order as it stands; None without a face, an attribute, or the mask that was promised."""
    asked, now = request(spec), settings()
    if work.face is None or not attributes(spec, asked):
        return None
    if now.source == "parser":
        return MaskedOrder(work.face, asked)
    if now.own is None or now.own_for != work.face.hash or not now.own.any():
        return None
    return MaskedOrder(work.face, asked, torch.from_numpy(now.own.astype(np.float32) / 255)[None])


def attributes(spec: EditorSpec, asked: EditRequest) -> list[str]:
    """Names of the attributes' controls that ``asked`` moves."""
    return [c.name for c in spec.controls if c.attribute and asked.values.get(c.name)]


def of_region(spec: EditorSpec, region: str) -> list[str]:
    """Names of the attributes' controls of one region."""
    return [c.name for c in spec.controls if c.attribute and c.unit == region]


def jobs() -> list[Job[Outcome]]:
    """This session's masked edits, the newest first."""
    return [job for job in reversed(work_queue.mine()) if job.title == TITLE]
