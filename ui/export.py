"""What leaves the app: the picture with its settings inside, the face's code, and settings to load again."""

from __future__ import annotations

import re
from pathlib import PurePath

import streamlit as st

from ui import state, style
from ui.actions import check
from ui.viewer import ViewOptions, download_pixels
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.errors import BadRequest, FacetError
from workbench.export import code_bytes, png_bytes, read_request
from workbench.face import Face, Latent


def stem(work: state.Workspace) -> str:
    """A file name's stem from the photo's name, of letters that every system takes."""
    name = PurePath(work.photo.name).stem if work.origin == "upload" else f"{work.origin}-face"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "face"


def picture(machine: Engine, work: state.Workspace, face: Face, result: EditResult, options: ViewOptions) -> bytes:
    """The PNG of what is on the right of the view, at full size, with settings and provenance inside."""
    pixels = download_pixels(machine, work, face, result, options)
    return png_bytes(pixels, result.request, machine.family, result.weights)


def code(face: Face, result: EditResult) -> bytes:
    """The edited code as safetensors bytes."""
    edited = face.latent.code if result.code is None else result.code
    latent = Latent(edited.cpu(), face.latent.generator, face.latent.projector, face.latent.space)
    return code_bytes(latent, result.request)


def buttons(machine: Engine, work: state.Workspace, face: Face, result: EditResult, options: ViewOptions) -> None:
    """Downloads are made when they are asked for, not before."""
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Download picture",
            data=lambda: picture(machine, work, face, result, options),
            file_name=f"{stem(work)}-edited.png",
            mime="image/png",
            key="download_picture",
            icon=":material/download:",
            type="primary",
            on_click="ignore",
            help="PNG at full size, marked as AI-edited, with its settings inside: opened here, its sliders return.",
        )
        if result.code is not None:
            st.download_button(
                "Code",
                data=lambda: code(face, result),
                file_name=f"{stem(work)}-code.safetensors",
                mime="application/octet-stream",
                key="download_code",
                icon=":material/data_object:",
                on_click="ignore",
                help="The edited W+ code with the id of its generator.",
            )
        with st.popover("Settings", icon=":material/settings_backup_restore:"):
            _settings(machine, result)


def _settings(machine: Engine, result: EditResult) -> None:
    st.download_button(
        "Save the sliders",
        data=result.request.to_json(),
        file_name="facet-settings.json",
        mime="application/json",
        key="download_settings",
        on_click="ignore",
        width="stretch",
    )
    st.file_uploader(
        "Load sliders from a picture saved here, or from such a file",
        type=["png", "jpg", "jpeg", "webp", "json"],
        key="settings_upload",
        max_upload_size=20,
        on_change=_load,
        args=(machine,),
    )
    style.small("The settings are applied to the face on the table.")


def _load(machine: Engine) -> None:
    file = st.session_state.get("settings_upload")
    work = state.workspace()
    if file is None or work is None:
        return
    data = file.getvalue()
    try:
        request = read_request(data)
        if request is None:
            if not file.name.lower().endswith(".json"):
                raise BadRequest(f"'{file.name}' carries no settings; choose a picture that was saved here.")
            request = EditRequest.from_json(data.decode("utf-8", "replace"))
        check(machine, request)
    except FacetError as error:
        st.session_state[state.COMPLAINT] = str(error)
        return
    state.put(state.with_history(work, work.history.push(request, "settings from a file")))
