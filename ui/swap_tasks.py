"""Steps of several seconds beside the script: started once for their settings, shown with a bar, stopped by hand."""

from __future__ import annotations

from typing import Any

import streamlit as st

from ui.jobs import Job
from workbench.errors import Cancelled, FacetError
from workbench.jobs import Work

PREFIX = "facet_swap_task/"
PATIENCE = 1.0
"""Seconds in which a short step may end before a bar is drawn for it."""


def task(name: str) -> Job[Any] | None:
    """The step called ``name``, if one was started; its title is the settings that it was started with."""
    return st.session_state.get(PREFIX + name)


def start(name: str, settings: str, work: Work[Any]) -> None:
    """Start ``work`` for ``settings``; a step that still runs under this name is stopped."""
    drop(name)
    job: Job[Any] = Job(work, settings)
    st.session_state[PREFIX + name] = job
    job.wait(PATIENCE)


def drop(name: str) -> None:
    """Stop and forget the step called ``name``."""
    before = st.session_state.pop(PREFIX + name, None)
    if before is not None:
        before.cancel()


def outcome(name: str, settings: str) -> Any | None:
    """What the step made for these ``settings``; None when there is nothing, a bar being drawn while it is made.

    Raises the FacetError that the step ended with.
    """
    job = task(name)
    if job is None or job.title != settings:
        return None
    if not job.done:
        _watch(name)
        return None
    try:
        return job.result()
    except Cancelled:
        return None
    except FacetError:
        raise
    except Exception as error:
        raise FacetError(job.sentence) from error


def known(name: str, settings: str) -> bool:
    """Whether the step was started for these ``settings``, however it ended."""
    job = task(name)
    return job is not None and job.title == settings


def running(name: str, settings: str) -> bool:
    """Whether the step for these ``settings`` is being made now."""
    job = task(name)
    return job is not None and job.title == settings and not job.done


@st.fragment(run_every="0.5s")
def _watch(name: str) -> None:
    job = task(name)
    if job is None:
        return
    with st.container(border=True, width=420):
        st.progress(job.fraction, text="Stopping …" if job.cancelled else f"Working … {job.message}")
        if st.button("Cancel", key=f"swap_cancel/{name}", icon=":material/close:", disabled=job.cancelled):
            job.cancel()
    if job.done:
        st.rerun()
