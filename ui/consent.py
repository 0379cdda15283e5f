"""One line to agree to before anything is made of an uploaded picture, asked once per picture and session."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

LINE = "The photo shows me, or a person who agreed to this use."
WAIT = "Nothing is made of an uploaded photo before the line is ticked."
AGREED = "facet_agreed"


def agreed(photos: Collection[str]) -> bool:
    """Whether the use of all ``photos`` was agreed to in this session."""
    return frozenset(photos) <= _agreed()


def given(place: str, photos: Collection[str], line: str = LINE) -> bool:
    """Whether the use of ``photos`` (names or hashes; generated faces need none) was agreed to; asks for it otherwise.

    ``place`` names the page that asks. Wiping the session takes every agreement back.
    """
    needed = frozenset(photos)
    if not needed:
        return True
    ticked = agreed(needed)
    key = f"consent/{place}"
    # The agreement is the truth and the tick follows it: a new photo is a new question.
    if st.session_state.get(key) != ticked:
        st.session_state[key] = ticked
    with st.container(border=not ticked, key=f"consent_{place}"):
        st.checkbox(line, key=key, on_change=_answer, args=(key, needed))
    return ticked


def _agreed() -> frozenset[str]:
    return st.session_state.get(AGREED, frozenset())


def _answer(key: str, photos: frozenset[str]) -> None:
    st.session_state[AGREED] = _agreed() | photos if st.session_state.get(key) else _agreed() - photos
