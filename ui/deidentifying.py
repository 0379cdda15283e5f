"""The tab 'De-identify': a face of nobody in the photo, and what a recogniser says before and after."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from ui import readouts, style, swap_consent, swap_controls, swap_sources, swap_state, swap_tasks
from ui.export import stem
from ui.state import Workspace
from ui.studio import judge
from ui.swap_tiles import Tile, tiles, whole_photo
from ui.swapping import sources_row
from workbench.conceal import SAME, Concealed, Person, conceal, person_of
from workbench.donors import DonorSettings, Mode
from workbench.editor import Cancel, Progress
from workbench.face import Face, content_hash, to_uint8
from workbench.judges import Judge
from workbench.swap_studio import Studio

NAME = "conceal"
MODES: dict[Mode, tuple[str, str]] = {
    "synthetic": ("Synthetic", "A generated face that is unlike this person takes over."),
    "rotate": ("Rotation", "The person's own identity, turned on its sphere by the angle below."),
    "k-same": ("k-same", "The mean of the generated faces nearest to this person: unlike, but of the same kind."),
}
MARKS = {"ask": "", "side": '<span class="facet-mark">changed</span>', "rest": ""}
PHOTO_WIDTH = 700


def show(studio: Studio, methods: Sequence[str]) -> None:
    """Draw the tab."""
    machine = studio.engine
    places = sources_row("person_sources")
    with places[0]:
        source = swap_sources.slot(machine, "person", "The photo", "Its pose, expression and surroundings stay.")
    with places[1]:
        second = swap_sources.optional(
            machine,
            "second",
            "Another photo of the same person",
            "Optional: only with a second photo can recognition itself be tried, before and after.",
        )
    allowed = swap_consent.given(NAME, (source, second))
    with st.container(key="person_desk"):
        left, right = st.columns([1, 2.5], gap="large")
    with left, st.container(key="person_controls", gap="small"):
        (method,) = swap_controls.method(methods)
        settings = _settings()
        st.button(
            "Another nobody",
            key="person_key",
            icon=":material/casino:",
            on_click=_new_key,
            help="Draws a new secret key for this session, and with it other donors.",
        )
        style.small(
            "One person keeps one donor for as long as this session lasts: the donor is drawn under a random key that is "
            "never written anywhere and goes with 'Forget everything'."
        )
    with right:
        if source is None or source.face is None:
            st.info("The photo needs a face; choose another one.", icon=":material/info:")
        elif not allowed:
            swap_consent.wait()
        else:
            _conceal(studio, method, settings, source, source.face, None if second is None else second.face)


def _settings() -> DonorSettings:
    chosen = st.segmented_control(
        "Whose face instead",
        list(MODES),
        format_func=lambda name: MODES[name][0],
        default="synthetic",
        required=True,
        key="conceal_mode",
        persist_state="session",
    )
    mode: Mode = "synthetic"
    for name in MODES:
        mode = name if name == chosen else mode
    style.small(MODES[mode][1])
    plain = DonorSettings()
    if mode == "rotate":
        degrees = st.slider(
            "Strength (degrees)",
            0,
            180,
            round(plain.degrees),
            5,
            key="conceal_degrees",
            persist_state="session",
            help="0 is the person, 90 an identity that has nothing in common with it, 180 its opposite.",
        )
        return DonorSettings("rotate", degrees=float(degrees))
    if mode == "k-same":
        k = st.slider("Faces averaged (k)", 2, 20, plain.k, key="conceal_k", persist_state="session")
        return DonorSettings("k-same", k=int(k))
    threshold = st.slider(
        "Highest similarity of the donor",
        0.0,
        0.8,
        plain.threshold,
        0.05,
        key="conceal_threshold",
        persist_state="session",
        help="Generated faces are drawn until one is at most this similar to the person, by the family's recogniser.",
    )
    return DonorSettings("synthetic", threshold=float(threshold))


def _new_key() -> None:
    swap_state.change(lambda desk: replace(desk, key=secrets.token_bytes(32), people=()))


def _person(studio: Studio, face: Face) -> Person:
    desk = swap_state.desk(studio.engine)
    person = person_of(studio.engine, face, desk.key, desk.people)
    if all(person is not one for one in desk.people):
        swap_state.put(replace(desk, people=(*desk.people, person)))
    return person


def _conceal(
    studio: Studio, method: str, settings: DonorSettings, source: Workspace, face: Face, second: Face | None
) -> None:
    person, verifier = _person(studio, face), judge(studio.engine)
    what = content_hash(method, settings, face.hash, person.seed, verifier.id, "" if second is None else second.hash)

    def work(progress: Progress, cancel: Cancel) -> Concealed:
        progress(0.1, "drawing a donor")
        return conceal(studio, method, settings, face, person, verifier, second)

    if not swap_tasks.known(NAME, what):
        with st.spinner("Drawing a donor …"):
            swap_tasks.start(NAME, what, work)
    made = swap_tasks.outcome(NAME, what)
    if isinstance(made, Concealed):
        _show(studio, method, source, face, made)
    elif not swap_tasks.running(NAME, what):
        st.button("De-identify", key="conceal_make", on_click=swap_tasks.start, args=(NAME, what, work))


def _show(studio: Studio, method: str, source: Workspace, face: Face, made: Concealed) -> None:
    whole = source.whole_photo and whole_photo("conceal_view")
    result = to_uint8(made.result.image)
    tiles(
        [
            Tile(to_uint8(face.target), "Photo"),
            Tile(to_uint8(made.own.image), "Same network, own identity"),
            Tile(result, "De-identified", True),
        ]
    )
    pixels = studio.swapping.place(face, made.result, square=True) if whole else result
    if whole:
        height, width = pixels.shape[:2]
        tiles([Tile(pixels, f"Whole photo, {width} × {height} pixels")], largest=min(PHOTO_WIDTH, 3 * width))
    with st.container(key="person_numbers"):
        left, right = st.columns([1, 1.15], gap="large")
    with left:
        verification(made)
        st.download_button(
            "Download photo" if whole else "Download face",
            data=lambda: studio.png(pixels, made.request, method),
            file_name=f"{stem(source) if source.origin != 'upload' else 'photo'}-deidentified.png",
            mime="image/png",
            key="conceal_download",
            icon=":material/download:",
            type="primary",
            on_click="ignore",
            help="PNG, marked as AI-made. It holds neither the key nor the donor's seed, and not the photo's name.",
        )
    with right:
        readouts.panel(
            studio.compare(studio.face_of(made.result), face),
            [],
            marks=MARKS,
            summary="What else the new face changed, against the photo.",
            before_is="the photo",
            key="conceal_readouts",
            height=300,
        )


def verification(made: Concealed) -> None:
    """Before and after as the judge sees it, and which judge that is."""
    rows = [("Photo with itself", "through the same network, own identity", made.before, made.after)]
    if made.second_before is not None and made.second_after is not None:
        rows.append(("With the other photo", "of the same person", made.second_before, made.second_after))
    body = "".join(
        f"<tr><td>{name}<br><span>{note}</span></td><td>{_said(before)}</td><td>{_said(after)}</td></tr>"
        for name, note, before, after in rows
    )
    st.html(
        '<table class="facet-verify"><thead><tr><th>Verification</th><th>before</th><th>after</th></tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
    style.small(_about(made.judge))


def _said(cosine: float) -> str:
    yes = cosine >= SAME
    return f'<b>{cosine:.2f}</b><br><span class="{"yes" if yes else "no"}">{"recognised" if yes else "not recognised"}</span>'


def _about(judge: Judge) -> str:
    limit = f"A cosine of {SAME:g} and more counts as recognised."
    if judge.independent:
        return f"Judged by {judge.id}, a recogniser that took no part in the training. {limit}"
    return (
        f"Judged by the family's own recogniser ({judge.id}), which took part in the training of the swap and flatters: no "
        f"independent one is installed, so this shows that the network did what it was asked to, not that the person is safe "
        f"from other recognisers or from people. {limit}"
    )
