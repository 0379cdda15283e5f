"""The one queue of long work of this server, what of it is this session's, and dropping what belongs to nobody any more."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from workbench.jobs import Job, Queue

OWNER = "facet_owner"
PAGES = ("", "/compare")
"""Masked edit, and Compare methods: their jobs give different things."""
PATIENCE = 150.0
"""Seconds after which a session without a browser is gone: Streamlit itself keeps it for two minutes."""
UNASKED = 1800.0
"""Seconds after which results that nobody asks for are forgotten, whatever became of their session."""


class Visitors:
    """Which owner belongs to which browser session, and since when a session has had no browser. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str, str] = {}
        self._away: dict[str, float] = {}

    def greet(self, owner: str, session: str) -> None:
        """``owner`` is here, in ``session``."""
        with self._lock:
            self._sessions[owner] = session
            self._away.pop(owner, None)

    def gone(self, alive: Callable[[str], bool], now: float) -> list[str]:
        """Owners whose session has not been ``alive`` for PATIENCE seconds up to ``now``; they are forgotten here."""
        with self._lock:
            for owner, session in self._sessions.items():
                if alive(session):
                    self._away.pop(owner, None)
                else:
                    self._away.setdefault(owner, now)
            left = [owner for owner, since in self._away.items() if now - since > PATIENCE]
            for owner in left:
                del self._away[owner], self._sessions[owner]
            return left


@st.cache_resource(show_spinner=False)
def queue() -> Queue:
    """The queue of all sessions; each device has one worker."""
    return Queue()


@st.cache_resource(show_spinner=False)
def visitors() -> Visitors:
    """All owners that this server has met."""
    return Visitors()


def owner(page: str = "") -> str:
    """This session's name in the queue, for the jobs of one of PAGES: random, known to nobody else."""
    if OWNER not in st.session_state:
        st.session_state[OWNER] = uuid.uuid4().hex
    return st.session_state[OWNER] + page


def mine(page: str = "") -> tuple[Job, ...]:
    """The jobs of this session on a page, the oldest first. Jobs of closed browsers are stopped and dropped on the way."""
    _sweep()
    return queue().of(owner(page)) if OWNER in st.session_state else ()


def forget() -> None:
    """Cancel and drop all jobs of this session, results included."""
    if OWNER in st.session_state:
        for page in PAGES:
            queue().drop(owner(page))


def _sweep() -> None:
    context = get_script_run_ctx()
    if context is not None and OWNER in st.session_state:
        visitors().greet(owner(), context.session_id)
    if runtime.exists():
        for left in visitors().gone(runtime.get_instance().is_active_session, time.monotonic()):
            for page in PAGES:
                queue().drop(left + page)
    queue().sweep(UNASKED)
