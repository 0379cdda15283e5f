"""The Models page: families and collections of files, what is there, and how the rest is brought here."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from ui import family as families_of
from ui import state, style
from ui.engine import sentences
from ui.jobs import Job
from workbench.editor import Cancel, Progress
from workbench.errors import Cancelled, FacetError
from workbench.fetch import fetch
from workbench.manifest import Family, FileState, Record, check, families, verify
from workbench.meter import megabytes

MARKS = {
    "verified": ("verified", "every byte was read and agrees"),
    "present": ("present", "there, not read in full yet"),
    "missing": ("missing", "not there"),
    "broken": ("broken", "there, but cannot be right"),
}
REPORT = "facet_models_report"
ABREAST = 3
"""Cards of families in a row."""


def show() -> None:
    """The whole page but the file that is dragged in."""
    known = families()
    _cards()
    st.subheader("Files")
    name = st.segmented_control(
        "Which files",
        list(known),
        format_func=lambda one: LABELS.get(one, known[one].title),
        default=state.choice().family,
        required=True,
        key="models_family",
        label_visibility="collapsed",
        persist_state="session",
    )
    with st.container():
        _report()
    _files(known[name or next(iter(known))])


LABELS = {
    "starter": "Starter",
    "official": "Official, 1024 px",
    "ffhq256": "Identity mixing, 256 px",
    "iafaces-256": "IA-FaceS, 256 px",
    "iafaces-cam-256": "IA-FaceS-CAM, 256 px",
    "iafaces-1024": "IA-FaceS, 1024 px",
    "iafaces-cam-1024": "IA-FaceS-CAM, 1024 px",
    "helpers": "Helpers",
}


# families


def _cards() -> None:
    current = state.choice().family
    choices = families_of.editable()
    names = list(choices)
    with st.container(key="model_cards"):
        for start in range(0, len(names), ABREAST):
            places = st.columns(min(ABREAST, len(names)), gap="medium")
            for place, name in zip(places, names[start : start + ABREAST], strict=False):
                with place, st.container(border=True, height="stretch", key=f"card/{name}"):
                    _card(choices[name], current == name)


def _card(family: Family, in_use: bool) -> None:
    needed = [kind for kind, record in family.records.items() if not record.optional]
    absent = family.absent()
    mark = '<span class="facet-mark ask">in use</span>' if in_use else ""
    st.html(
        f'<p class="facet-h">{html.escape(family.title)}{mark}</p>'
        f'<p class="facet-small">{html.escape(family.about)}</p>'
    )
    if absent:
        words = ", ".join(family.record(kind).file for kind in absent)
        style.small(f"{len(absent)} of its {len(needed)} needed files are missing: {words}.")
    else:
        style.small(f"All {len(needed)} needed files are here.")
    if st.button(
        "In use in this session" if in_use else "Use this family",
        key=f"use/{family.name}",
        disabled=in_use or bool(absent),
        type="secondary" if in_use or absent else "primary",
        help="Its files have to be here first; see below." if absent and not in_use else None,
    ):
        with sentences(), st.spinner("Loading the networks …"):
            if families_of.switch(family.name):
                st.rerun()


# files


def _files(family: Family) -> None:
    running = state.models_job()
    found = {kind: check(family, kind, full=False) for kind in family.records}
    if not family.editable and family.about:
        style.small(family.about)
    missing = [
        kind
        for kind, one in found.items()
        if one.state in ("missing", "broken") and family.record(kind).urls and not family.record(kind).optional
    ]
    there = [kind for kind, one in found.items() if one.path is not None]
    with st.container(horizontal=True, gap="small"):
        if missing:
            st.button(
                _fetch_all(family, missing),
                key=f"fetch_all/{family.name}",
                icon=":material/download:",
                help="Files that lie in a shared folder have to be brought by hand.",
                disabled=running is not None,
                on_click=_start_fetch,
                args=(family, missing),
            )
        if there:
            st.button(
                "Check every byte",
                key=f"verify/{family.name}",
                icon=":material/fact_check:",
                help="Reads the files in full and compares their SHA-256 with the recorded one, or with what it was "
                "when they were first seen.",
                disabled=running is not None,
                on_click=_start_verify,
                args=(family, there),
            )
    # A place of its own, so that the rows below keep theirs while it comes and goes.
    with st.container():
        if running is not None:
            _watch()
    with st.container(key="model_files", gap=None):
        for kind, one in found.items():
            _row(family, family.record(kind), one, running is not None)


def _fetch_all(family: Family, missing: Sequence[str]) -> str:
    sizes = [family.record(kind).size or family.record(kind).about_mib << 20 for kind in missing]
    files = "the missing file" if len(missing) == 1 else f"the {len(missing)} missing files that have an address"
    return f"Fetch {files}" + (f" (about {megabytes(sum(sizes))})" if all(sizes) else "")


def _row(family: Family, record: Record, one: FileState, busy: bool) -> None:
    with st.container(
        key=f"file/{family.name}/{record.kind}", horizontal=True, vertical_alignment="center", gap="small"
    ):
        st.html(_describe(record, one), width="stretch")
        if one.state in ("missing", "broken"):
            with st.container(width="content", horizontal=True, gap="xsmall"):
                if record.urls:
                    st.button(
                        "Fetch",
                        key=f"fetch/{family.name}/{record.kind}",
                        icon=":material/download:",
                        help=f"Downloads it from {record.urls[0]} to {family.place(record.kind)}",
                        disabled=busy,
                        on_click=_start_fetch,
                        args=(family, [record.kind]),
                    )
                elif not record.shipped:
                    with st.popover("By hand", icon=":material/folder_open:"):
                        _by_hand(family, record)


def _describe(record: Record, one: FileState) -> str:
    word, meaning = MARKS[one.state]
    size = megabytes(one.size) if one.size else f"about {megabytes(record.about_mib << 20)}" if record.about_mib else ""
    optional = '<span class="facet-quiet">optional</span>' if record.optional else ""
    told = " · ".join(html.escape(part) for part in (size, _licence(record), record.origin) if part)
    lines = [
        f'<p class="facet-file"><span class="facet-state {one.state}" title="{html.escape(meaning)}">{word}</span>'
        f"<b>{html.escape(record.file)}</b>{optional}</p>",
        f'<p class="facet-small">{html.escape(_for(record))}</p>',
        f'<p class="facet-small facet-faint" title="{html.escape(record.paper)}">{told}</p>',
    ]
    if one.state == "broken":
        lines.append(f'<p class="facet-small facet-bad">It {html.escape(one.message)}.</p>')
    elif one.state == "verified":
        lines[0] = lines[0].replace(html.escape(meaning), html.escape(one.message))
    return "".join(lines)


def _licence(record: Record) -> str:
    return "no licence stated" if record.licence in ("none stated", "unknown") else record.licence


def _for(record: Record) -> str:
    return f"For {record.needed_for}." if record.needed_for else f"For '{record.kind}'."


def _by_hand(family: Family, record: Record) -> None:
    st.markdown(
        f"This file cannot be fetched by a program. Get it from {record.by_hand or record.origin}, and put it to"
    )
    st.code(str(family.place(record.kind)), language=None, wrap_lines=True)
    style.small("Or drag it into the field below: it is recognised by what is in it.")


# long steps


def _start_fetch(family: Family, kinds: Sequence[str]) -> None:
    def work(progress: Progress, cancel: Cancel) -> list[str]:
        trouble = []
        for number, kind in enumerate(kinds):
            file = family.record(kind).file
            shares = _part(progress, number, len(kinds), file)
            try:
                fetch(family, kind, progress=shares, cancel=cancel)
            except Cancelled:
                raise
            except FacetError as error:
                trouble.append(str(error))
        return trouble or [""]

    _start(work, "fetch")


def _start_verify(family: Family, kinds: Sequence[str]) -> None:
    def work(progress: Progress, cancel: Cancel) -> list[str]:
        def pause() -> None:
            if cancel():
                raise Cancelled("The check was stopped.")

        trouble = []
        for number, kind in enumerate(kinds):
            file = family.record(kind).file
            _part(progress, number, len(kinds), file)(0.0, "reading")
            one = verify(family, kind, pause)
            if one.state == "broken":
                trouble.append(f"'{file}' is broken: it {one.message}.")
        return trouble or [""]

    _start(work, "check")


def _part(progress: Progress, number: int, count: int, file: str) -> Progress:
    """``progress`` of one of several files as part of the whole."""
    name = file if count == 1 else f"{file} ({number + 1} of {count})"

    def say(fraction: float, message: str = "") -> None:
        progress((number + fraction) / count, f"{name}: {message}")

    return say


def _start(work: object, title: str) -> None:
    st.session_state.pop(REPORT, None)
    st.session_state[state.MODELS_JOB] = Job(work, title)  # type: ignore[arg-type]


@st.fragment(run_every="0.5s")
def _watch() -> None:
    running = state.models_job()
    if running is None:
        return
    with st.container(border=True, key="models_progress"):
        said = "Stopping …" if running.cancelled else running.message or "Starting …"
        st.progress(running.fraction, text=said.replace("_", r"\_"))
        if st.button("Cancel", key="models_cancel", icon=":material/close:", disabled=running.cancelled):
            running.cancel()
    if running.done:
        _finish(running)
        st.rerun()


def _finish(running: Job[list[str]]) -> None:
    del st.session_state[state.MODELS_JOB]
    try:
        trouble = [sentence for sentence in running.result() if sentence]
        done = {"fetch": "Everything that was asked for is here.", "check": "Every file that was read is whole."}
        st.session_state[REPORT] = ("error", trouble) if trouble else ("success", [done[running.title]])
    except Cancelled as error:
        st.session_state[REPORT] = ("info", [str(error)])
    except FacetError as error:
        st.session_state[REPORT] = ("error", [str(error)])


def _report() -> None:
    """What the last long step came to; it stays until the next one."""
    kind, lines = st.session_state.get(REPORT, ("", []))
    for line in lines:
        if kind == "error":
            st.error(line, icon=":material/error:")
        elif kind == "info":
            st.info(line, icon=":material/info:")
        else:
            st.success(line, icon=":material/check:")
