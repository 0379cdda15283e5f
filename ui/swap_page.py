"""The page of swaps in one fragment: a change of a control draws this anew and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import streamlit as st

from ui import deidentifying, style, swap_frames, swap_sheets, swapping
from ui.engine import sentences
from ui.studio import studio
from workbench.engine import Engine
from workbench.swap_studio import Studio
from workbench.swapping import METHODS

MODELS_PAGE = "pages/models.py"
TABS: Mapping[str, Callable[[Studio, tuple[str, ...]], None]] = {
    "Swap": swapping.show,
    "Sheet": swap_sheets.show,
    "Interpolate": swap_frames.show,
    "De-identify": deidentifying.show,
}


@st.fragment
def show(machine: Engine) -> None:
    """All tabs, or the sentence that says which networks are missing."""
    st.html(f"<style>{style.asset('swaps.css')}</style>")
    with sentences():
        _show(studio(machine))


def _show(made: Studio) -> None:
    troubles = {name: made.trouble(name) for name in METHODS}
    ready = tuple(name for name, trouble in troubles.items() if trouble is None)
    if not ready:
        _nothing(made, [trouble for trouble in troubles.values() if trouble is not None])
        return
    for trouble in troubles.values():
        if trouble is not None:
            st.warning(f"{trouble} The other method works.", icon=":material/warning:")
    tabs = st.tabs(list(TABS), key="swap_tabs", on_change="rerun")
    for tab, draw in zip(tabs, TABS.values(), strict=True):
        if tab.open:
            with tab, sentences():
                draw(made, ready)


def _nothing(made: Studio, troubles: list[str]) -> None:
    st.error(
        f"The '{made.engine.family}' family cannot swap identities: its networks for it are missing or cannot be used. "
        "Choose another family in the sidebar, under 'Change weights or device', or see the page Models.",
        icon=":material/error:",
    )
    style.small(" ".join(troubles))
    st.page_link(MODELS_PAGE, label="Models", icon=":material/deployed_code:")
