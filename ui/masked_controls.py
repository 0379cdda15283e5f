"""The left side of Masked edit: parts and attributes to choose, how strongly, how large, with which effort and which mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import streamlit as st

from ui import brush, masked_state, state, style
from ui.controls import ends
from ui.masked_state import REGIONS, Settings
from ui.readouts import percent
from workbench.editor import Control, EditorSpec
from workbench.errors import FacetError
from workbench.face import Face, to_uint8

REGION, UPLOAD = "masked_region", "masked_upload"
EFFORTS = {"preview": "Preview", "fast": "Fast", "paper": "Paper"}
SOURCES: dict[masked_state.Source, str] = {"parser": "Found by itself", "file": "From a file", "brush": "Painted"}
TINT = np.array([53, 183, 166], np.float32)


def tinted(face: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """``face`` (S,S,3) uint8 with the part under ``mask`` (S,S) in [0, 1] in colour, and the rest paler."""
    weight = mask[..., None].astype(np.float32)
    grey = 0.55 * face + 0.45 * 235
    lit = 0.62 * face + 0.38 * TINT
    return np.clip(weight * lit + (1 - weight) * grey, 0, 255).astype(np.uint8)


def _show(key: str, value: object) -> None:
    """Set a widget before it is made. Always: one that is not told its value shows its lowest when the browser draws it anew."""
    st.session_state[key] = value


def region() -> str:
    """The chosen part of the face."""
    found = st.session_state.get(REGION)
    return found if found in REGIONS else "mouth"


def attributes(spec: EditorSpec, now: Mapping[str, float]) -> None:
    """The parts, the attributes of the chosen one, and an intensity for each attribute that is asked for.

    ``now``: the photo's probabilities of CelebA's attributes. An attribute that is there is removed at first, another one added.
    """
    if st.session_state.get(REGION) not in REGIONS:
        st.session_state[REGION] = "mouth"
    st.pills(
        "Part of the face",
        REGIONS,
        format_func=str.capitalize,
        required=True,
        key=REGION,
        persist_state="session",
        help="An edit changes the part its attribute lives in, and nothing else. 'Whole face' is for attributes that are seen "
        "everywhere; the background stays as it is.",
    )
    where = region()
    names = masked_state.of_region(spec, where)
    key = f"masked_attributes/{where}"
    asked = [name for name in names if masked_state.settings().values.get(name)]
    _show(key, asked)
    st.pills(
        "Attributes",
        names,
        format_func=lambda name: spec.control(name).label,
        selection_mode="multi",
        key=key,
        on_change=_choose,
        args=(key, {name: now[spec.control(name).attribute or ""] for name in names}),
        help="One or several; they are edited together.",
    )
    chosen = [c for c in spec.controls if c.attribute and masked_state.settings().values.get(c.name)]
    for control in chosen:
        _intensity(control, where, now)
    if not chosen:
        style.small("Choose an attribute, then say how much of it there is to be.")


def _choose(key: str, there: Mapping[str, float]) -> None:
    wanted = st.session_state.get(key) or []
    for name, probability in there.items():
        if name in wanted and not masked_state.settings().values.get(name):
            masked_state.set_value(name, -1.0 if probability > 0.5 else 1.0)
        elif name not in wanted:
            masked_state.set_value(name, None)


def _intensity(control: Control, where: str, now: Mapping[str, float]) -> None:
    key = f"masked_value/{control.name}"
    value = masked_state.settings().values[control.name]
    _show(key, value)
    label = control.label if control.unit == where else f"{control.label} ({control.unit})"
    left, right = st.columns([0.87, 0.13], vertical_alignment="center", gap="small")
    with left:
        st.slider(label, -1.0, 1.0, step=0.05, format="%+.2f", key=key, on_change=_moved, args=(control.name, key))
        ends(st.empty(), f"{percent(now[control.attribute or ''])} now")
    right.button(
        "",
        key=f"masked_drop/{control.name}",
        icon=":material/close:",
        type="tertiary",
        help=f"Leave {control.label} alone",
        on_click=masked_state.set_value,
        args=(control.name, None),
    )


def _moved(name: str, key: str) -> None:
    value = float(st.session_state[key])
    # In the middle an attribute would no longer be asked for; a hair beside it is the classifier's "undecided".
    masked_state.set_value(name, value if abs(value) > 1e-9 else 0.001)


def effort(spec: EditorSpec) -> None:
    """Effort and size."""
    control = spec.control("preset")
    key = "masked_effort"
    index = round(masked_state.settings().values.get(control.name, control.neutral))
    _show(key, index)
    st.segmented_control(
        "Effort",
        range(len(control.choices)),
        format_func=lambda i: EFFORTS[control.choices[i]],
        required=True,
        key=key,
        help=control.help,
        width="stretch",
        on_change=lambda: masked_state.set_value(control.name, float(st.session_state[key])),
    )
    _plain(spec.control("size"))


def advanced(spec: EditorSpec) -> None:
    """The settings that few need."""
    for control in spec.controls:
        if control.advanced and not control.attribute:
            _plain(control)
    key, now = "masked_seed", masked_state.settings()
    _show(key, now.seed)
    st.number_input(
        "Seed",
        0,
        2**31 - 1,
        step=1,
        key=key,
        help="The same seed gives the same pixels.",
        on_change=lambda: masked_state.put(replace(masked_state.settings(), seed=int(st.session_state[key]))),
    )


def _plain(control: Control) -> None:
    key = f"masked_setting/{control.name}"
    value = masked_state.settings().values.get(control.name, control.neutral)
    shown = round(value) if control.choices else float(value)
    _show(key, shown)

    def moved() -> None:
        masked_state.set_value(control.name, float(st.session_state[key]))

    if control.choices:
        st.selectbox(
            control.label,
            range(len(control.choices)),
            format_func=lambda index: control.choices[index],
            key=key,
            help=control.help,
            on_change=moved,
        )
    else:
        low, high, step = float(control.low), float(control.high), float(control.step)
        form = "%+.2f" if control.low < 0 else "%.2f"
        st.slider(control.label, low, high, step=step, format=form, key=key, help=control.help, on_change=moved)


def mask(face: Face) -> None:
    """Where the mask comes from, and bringing or painting one."""
    now = masked_state.settings()
    choices = [source for source in SOURCES if source != "brush" or brush.available()]
    key = "masked_source"
    _show(key, now.source)
    st.segmented_control(
        "Where it may change",
        choices,
        format_func=SOURCES.__getitem__,
        required=True,
        key=key,
        width="stretch",
        help="By itself: the part of the face, as the parser sees it. Or a mask of your own, which is never left.",
        on_change=lambda: masked_state.put(replace(masked_state.settings(), source=st.session_state[key])),
    )
    size = face.target.shape[-1]
    if now.source == "file":
        st.file_uploader(
            "A grey picture of the aligned face: white may change, black stays",
            type=["png", "jpg", "jpeg", "webp"],
            key=UPLOAD,
            max_upload_size=20,
            on_change=_bring,
            args=(face.hash, size),
        )
    elif now.source == "brush":
        style.small("Paint on the face beside this.")
    if now.source == "file" and (masked_state.settings().own is None or masked_state.settings().own_for != face.hash):
        style.small("There is no mask for this face yet.")


def paint(face: Face) -> None:
    """The face to paint on, if that is where the mask comes from."""
    if masked_state.settings().source != "brush" or not brush.available():
        return
    with st.container(border=True, key="masked_paint"):
        st.html('<p class="facet-h">Paint the part that may change</p>')
        _own(brush.paint(to_uint8(face.target), key=f"masked_brush/{face.hash[:8]}"), face.hash)


def _own(painted: np.ndarray | None, face: str) -> None:
    now = masked_state.settings()
    if painted is not None:
        masked_state.put(replace(now, own=painted, own_for=face))
    elif now.own_for == face and now.own is not None:
        masked_state.put(replace(now, own=None))


def _bring(face: str, size: int) -> None:
    file = st.session_state.get(UPLOAD)
    if file is None:
        return
    try:
        own = brush.from_file(file.getvalue(), file.name, size)
    except FacetError as error:
        st.session_state[state.COMPLAINT] = str(error)
        return
    masked_state.put(replace(masked_state.settings(), own=own, own_for=face))


def forget_attributes() -> None:
    """Ask for no attribute any more; effort and the other settings stay."""
    now: Settings = masked_state.settings()
    kept = {"size", "preset", "mode", "likeness", "seam", "start"}
    masked_state.put(replace(now, values={k: v for k, v in now.values.items() if k in kept}))
