"""The one queue of long work of this server, what of it is this session's, and forgetting that."""

from __future__ import annotations

import uuid

import streamlit as st

from workbench.jobs import Job, Queue

OWNER = "facet_owner"
PAGES = ("", "/compare")
"""Masked edit, and Compare methods: their jobs give different things."""
GONE = 1800.0
"""Seconds after which results that nobody asks for are forgotten; a closed browser tells nobody."""


@st.cache_resource(show_spinner=False)
def queue() -> Queue:
    """The queue of all sessions; each device has one worker."""
    return Queue()


def owner(page: str = "") -> str:
    """This session's name in the queue, for the jobs of one of PAGES: random, known to nobody else."""
    if OWNER not in st.session_state:
        st.session_state[OWNER] = uuid.uuid4().hex
    return st.session_state[OWNER] + page


def mine(page: str = "") -> tuple[Job, ...]:
    """The jobs of this session and page, the oldest first."""
    queue().sweep(GONE)
    return queue().of(owner(page)) if OWNER in st.session_state else ()


def forget() -> None:
    """Cancel and drop all jobs of this session, results included."""
    if OWNER in st.session_state:
        for page in PAGES:
            queue().drop(owner(page))
