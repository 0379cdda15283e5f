"""Where a face can come from: a photo, the camera, a sample, a random code, or a saved code."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ui import state, style
from ui.actions import from_generated
from ui.pictures import data_uri
from workbench.engine import Engine
from workbench.errors import FacetError
from workbench.export import load_code
from workbench.face import Face, to_uint8

KINDS = {"photo": "Photo", "camera": "Camera", "samples": "Samples", "random": "Random"}
TYPES = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff", "heic", "avif"]
LATEST_ALIGNED = "treat_as_aligned"


def _copy(key: str, origin: state.Origin) -> None:
    """Copy an upload into the session at once: the widget forgets it when the page is left."""
    file = st.session_state.get(key)
    if file is not None:
        name = file.name if origin == "upload" else "camera picture"
        st.session_state[state.INCOMING] = state.Incoming(file.getvalue(), name, origin)


def picker(machine: Engine) -> None:
    """The panel that chooses a source; what it yields is left in the session for ``take``."""
    kind = st.segmented_control(
        "Where the face comes from",
        list(KINDS),
        format_func=KINDS.__getitem__,
        default="photo",
        required=True,
        key="source_kind",
        label_visibility="collapsed",
        persist_state="session",
        width="stretch",
    )
    if kind == "photo":
        st.file_uploader(
            "A photo with a face",
            type=TYPES,
            key="upload",
            max_upload_size=20,
            on_change=_copy,
            args=("upload", "upload"),
            help="JPEG, PNG, WebP and most other formats, up to 20 MB. A picture saved here brings its sliders back.",
        )
    elif kind == "camera":
        st.camera_input("Take a picture", key="camera", on_change=_copy, args=("camera", "camera"), resolution="1080p")
        style.small("Browsers offer the camera only on this computer itself or over HTTPS.")
    elif kind == "samples":
        _samples(machine.sample_faces())
    else:
        _random(machine)
    if kind in ("photo", "camera"):
        st.toggle(
            "Already aligned",
            key=LATEST_ALIGNED,
            persist_state="session",
            on_change=_again,
            help="The picture is a square face crop framed as in FFHQ or CelebA-HQ: it is used as it is.",
        )
        style.small(
            "Your photo stays in memory for this session and is sent nowhere. Use your own picture, or one of a person "
            "who agreed to it."
        )


def _again() -> None:
    """The switch applies to the photo on the table, too."""
    work = state.workspace()
    if work is not None and work.origin in ("upload", "camera"):
        st.session_state[state.INCOMING] = work.photo


def _samples(faces: Sequence[Face]) -> None:
    if not faces:
        style.small("No sample faces come with this family of weights; make one under 'Random'.")
        return
    style.small("Generated faces that come with the program. No real person is shown.")
    with st.container(horizontal=True, gap="xsmall", key="samples"):
        for index, face in enumerate(faces):
            st.button(
                f"![Sample {index + 1}]({data_uri(to_uint8(face.image), 160)})",
                key=f"sample/{index}",
                on_click=_use_sample,
                args=(face,),
            )


def _use_sample(face: Face) -> None:
    state.put(from_generated(face, "sample"))


def _random(machine: Engine) -> None:
    style.small("A face that the generator makes up. The same seed gives the same face everywhere.")
    seed = st.number_input(
        "Seed", min_value=0, max_value=2**31 - 1, value=1, step=1, key="seed", persist_state="session"
    )
    truncation = st.slider(
        "Truncation",
        0.0,
        1.0,
        0.7,
        0.05,
        key="truncation",
        persist_state="session",
        help="0 is the mean face, 1 the full variety; between them, fewer accidents and less variety.",
    )
    left, right = st.columns(2)
    left.button(
        "Make this face",
        key="make_random",
        type="primary",
        width="stretch",
        on_click=_make_random,
        args=(machine, int(seed), float(truncation)),
    )
    right.button(
        "Next seed",
        key="next_random",
        icon=":material/casino:",
        width="stretch",
        on_click=_next_random,
        args=(machine, int(seed), float(truncation)),
    )
    st.file_uploader(
        "Or a saved face code",
        type=["safetensors"],
        key="code_upload",
        max_upload_size=5,
        on_change=_open_code,
        args=(machine,),
    )


def _make_random(machine: Engine, seed: int, truncation: float) -> None:
    state.put(from_generated(machine.random_face(seed, truncation), "random"))


def _next_random(machine: Engine, seed: int, truncation: float) -> None:
    st.session_state["seed"] = seed + 1
    _make_random(machine, seed + 1, truncation)


def _open_code(machine: Engine) -> None:
    file = st.session_state.get("code_upload")
    if file is None:
        return
    try:
        face = machine.face_from_code(load_code(file.getvalue(), machine.generator_id, f"'{file.name}'"))
    except FacetError as error:
        st.session_state[state.COMPLAINT] = str(error)
        return
    state.put(from_generated(face, "code"))
