"""The tab 'Interpolate': from one identity to another, or from one attribute picture to another, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from ui import style, swap_consent, swap_controls, swap_sources, swap_tasks
from ui.swap_state import Slot
from ui.swap_tiles import Tile, tiles
from ui.swapping import sources_row
from workbench.editor import Cancel, Progress
from workbench.face import Face, content_hash
from workbench.swap_frames import Frames, Journey, gif, render
from workbench.swap_path import Moves
from workbench.swap_studio import Studio

NAME = "frames"
MOVES: dict[Moves, str] = {"identity": "The identity", "attributes": "The attributes"}
SLOTS: dict[Moves, tuple[tuple[Slot, str, str], ...]] = {
    "identity": (
        ("attributes", "Attribute picture", "Held in all frames."),
        ("identity", "First identity", "The first frame."),
        ("end", "Last identity", "The last frame."),
    ),
    "attributes": (
        ("identity", "Identity picture", "Held in all frames."),
        ("attributes", "First attributes", "The first frame."),
        ("end", "Last attributes", "The last frame."),
    ),
}
FACE_WIDTH, PHOTO_WIDTH, LARGEST_GIF = 320, 560, 1024


def show(studio: Studio, methods: Sequence[str]) -> None:
    """Draw the tab."""
    machine = studio.engine
    moves = _moves()
    places = sources_row("frame_sources", 3)
    sources = []
    for place, (name, title, about) in zip(places, SLOTS[moves], strict=True):
        with place:
            sources.append(swap_sources.slot(machine, name, title, about, narrow=True))
    allowed = swap_consent.given(NAME, sources)
    with st.container(key="frame_desk"):
        left, right = st.columns([1, 2.5], gap="large")
    with left, st.container(key="frame_controls", gap="small"):
        (method,) = swap_controls.method(methods)
        frames = st.slider("Frames", 3, 24, 9, key="swap_frames", persist_state="session", help="Both ends are frames.")
        after = st.toggle(
            "Mix mapped codes",
            key="swap_space",
            persist_state="session",
            help="Off: identities follow the sphere before the mapper. On: the mapped codes (W) are mixed straight, which "
            "is the published default.",
        )
        held = sources[0]
        whole = False
        if moves == "identity" and held is not None and held.whole_photo:
            whole = st.toggle(
                "Whole photo",
                key="swap_frames_whole",
                persist_state="session",
                help="The frames in the photo that they belong to, instead of the face alone.",
            )
    with right:
        faces = [one.face for one in sources if one is not None and one.face is not None]
        if len(faces) < len(sources):
            st.info("All three pictures need a face; choose another one where it is missing.", icon=":material/info:")
        elif not allowed:
            swap_consent.wait()
        else:
            _frames(studio, Journey(method, moves, int(frames), "w" if after else "z"), faces, whole)


def _moves() -> Moves:
    chosen = st.segmented_control(
        "What changes from frame to frame",
        list(MOVES),
        format_func=MOVES.__getitem__,
        default="identity",
        required=True,
        key="swap_moves",
        persist_state="session",
    )
    return "attributes" if chosen == "attributes" else "identity"


def _frames(studio: Studio, journey: Journey, faces: Sequence[Face], whole: bool) -> None:
    settings = content_hash(journey, whole, *(face.hash for face in faces))
    kept, first, last = faces

    def work(progress: Progress, cancel: Cancel) -> Frames:
        return render(studio, journey, kept, first, last, whole=whole, progress=progress, cancel=cancel)

    if not swap_tasks.known(NAME, settings):
        with st.spinner("Rendering the frames …"):
            swap_tasks.start(NAME, settings, work)
    made = swap_tasks.outcome(NAME, settings)
    if isinstance(made, Frames):
        _look(studio, journey, made)
    elif not swap_tasks.running(NAME, settings):
        st.button("Make the frames", key="frames_make", on_click=swap_tasks.start, args=(NAME, settings, work))


def _look(studio: Studio, journey: Journey, made: Frames) -> None:
    count = len(made.faces)
    if int(st.session_state.get("swap_frame", 1)) > count:
        st.session_state["swap_frame"] = count
    at = st.slider(
        "Frame",
        1,
        count,
        key="swap_frame",
        persist_state="session",
        help="1 is the first picture's swap, the last the other's.",
    )
    shown = made.photos or made.faces
    pixels = shown[int(at) - 1]
    width = pixels.shape[1]
    tiles([Tile(pixels, f"Frame {at} of {count}")], largest=min(PHOTO_WIDTH, 3 * width) if made.photos else FACE_WIDTH)
    tiles([Tile(one, f"{i + 1}", i + 1 == int(at)) for i, one in enumerate(made.faces)], largest=96, strip=True)
    style.small("All frames in order; the outlined one is shown above.")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        rate = st.number_input("Frames per second", 1, 25, 8, key="swap_rate", persist_state="session", width=150)
        provenance = studio.provenance(journey.request, journey.method)
        st.download_button(
            "Download GIF",
            data=lambda: gif(shown, 1 / int(rate), provenance, LARGEST_GIF),
            file_name=f"between-{journey.moves}-{journey.method}.gif",
            mime="image/gif",
            key="frames_gif",
            icon=":material/gif_box:",
            type="primary",
            on_click="ignore",
            help="All frames, endless, marked as AI-made.",
        )
        st.download_button(
            "This frame",
            data=lambda: studio.png(pixels, journey.request, journey.method),
            file_name=f"between-{journey.moves}-{journey.method}-{int(at):02d}.png",
            mime="image/png",
            key="frame_png",
            icon=":material/download:",
            on_click="ignore",
            help="PNG of the frame above, marked as AI-made.",
        )
