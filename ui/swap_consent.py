"""The line to agree to, for the pictures in the slots and on the sides of a sheet."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from ui import consent, swap_state
from ui.state import Workspace

LINE = "The photos show me, or people who agreed to this use."


def given(place: str, sources: Iterable[Workspace | None]) -> bool:
    """Whether the use of all ``sources`` was agreed to; asks for it, once per photo. Samples and random faces need none."""
    photos = {one.photo.hash for one in sources if one is not None and swap_state.real(one)}
    return consent.given(place, photos, LINE)


def wait() -> None:
    """What stands where the result would be."""
    st.info(consent.WAIT, icon=":material/lock:")
