"""The sidebar: whose face is on the table, what it runs on, and how to be forgotten."""

from __future__ import annotations

import streamlit as st

from ui import family as families_of
from ui import masked, state, style
from ui.engine import engine, sentences
from ui.pictures import data_uri
from ui.studio import studio
from workbench.devices import PRECISIONS, available
from workbench.face import to_uint8

ORIGINS = {
    "sample": "Sample face",
    "random": "Random face",
    "upload": "Your photo",
    "camera": "Camera picture",
    "kept": "Kept edit",
    "code": "Saved code",
}


def _forget() -> None:
    with sentences():
        masked.forget(engine())
    state.wipe()
    with sentences():
        machine = engine()
        machine.forget()
        studio(machine).forget()


def show() -> None:
    """Draw the sidebar for the current workspace."""
    with st.sidebar:
        work = state.workspace()
        if work is not None and work.face is not None:
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.html(
                    f'<img alt="Current face" width="84" height="84" style="border-radius:8px;display:block" '
                    f'src="{data_uri(to_uint8(work.face.image), 168)}">',
                    width=84,
                )
                st.html(
                    f'<p class="facet-h">{ORIGINS[work.origin]}</p>'
                    f'<p class="facet-small" style="margin:0">{_how(work)}</p>',
                    width="stretch",
                )
        with sentences():
            machine = engine()
            style.facts(
                [
                    ("Weights", machine.family, ""),
                    ("Device", str(machine.device).upper(), ""),
                    ("Face", f"{machine.size} px", ""),
                ],
                tight=True,
            )
        _engine_settings()
        st.button(
            "Forget everything",
            key="wipe",
            icon=":material/delete_sweep:",
            help="Deletes photos, faces, edits and codes from memory, the engine's copies included.",
            on_click=_forget,
            width="stretch",
        )
        style.small(
            "Photos stay in this program's memory for this session only. Nothing is written to disk, and nothing is "
            "sent anywhere else."
        )
        style.small(
            "Use pictures of yourself, or of people who agreed. Edited pictures are marked as AI-edited in their "
            "metadata; do not pass them off as real."
        )


def _how(work: state.Workspace) -> str:
    if work.origin in ("sample", "random", "code"):
        return "no real person"
    if work.face is None:
        return ""
    return "as it is" if work.face.mode == "photo" else f"{work.face.mode} projection"


def _engine_settings() -> None:
    names, devices = families_of.ready(), ["auto", *available()]
    waiting = [name for name in families_of.editable() if name not in names]
    with st.expander("Change weights or device", icon=":material/tune:"):
        chosen = state.choice()
        family = st.selectbox("Family of weights", names, index=names.index(chosen.family))
        device = st.selectbox("Device", devices, index=devices.index(chosen.device))
        precision = st.selectbox(
            "Precision",
            list(PRECISIONS),
            index=list(PRECISIONS).index(chosen.precision),
            help="Of the generator's convolutions. bfloat16 is faster where the device has it, and slower where not; its "
            "pictures differ a little.",
        )
        if waiting:
            style.small(f"Not offered, because files are missing: {', '.join(waiting)}. See the page Models.")
        if st.button("Use these", key="use_engine", width="stretch"):
            with sentences(), st.spinner("Loading the networks …"):
                if families_of.switch(family, device, precision):
                    st.rerun()
