"""The workbench of 'Compare methods': one face, one target, every method that can edit it, side by side with the same numbers."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from ui import style, work_queue
from ui.controls import title_of
from ui.engine import sentences
from ui.pictures import data_uri
from ui.projecting import on_the_table
from workbench import contest
from workbench.contest import Entry
from workbench.editor import EditorSpec
from workbench.engine import Engine
from workbench.face import Face, to_uint8
from workbench.jobs import Job

ALIGN_PAGE, PAGE = "pages/align_and_project.py", "/compare"
ATTRIBUTE, SIDE, MATCH, STRENGTH, EFFORT = (
    f"compare_{n}" for n in ("attribute", "side", "match", "strength", "effort")
)
SIDES = {"flip": "The other way than the photo", "add": "Add it", "remove": "Remove it"}
MATCHES = {"success": "As soon as it shows", "strength": "Same share of the slider"}
FIRST, KEPT = "Smiling", "facet_compare_kept"
EFFORTS = ("preview", "fast")


@dataclass(frozen=True)
class Order:
    """What all methods are asked for."""

    attribute: str
    add: bool
    match: str
    strength: float
    effort: str


@st.fragment
def show(machine: Engine) -> None:
    """The whole page below its title. A change of a control reruns this and nothing else."""
    with sentences():
        _show(machine)


def _show(machine: Engine) -> None:
    here = on_the_table(machine)
    if here is None:
        return
    work, face = here
    specs = machine.editors()
    table = {a: [s for s in specs if a in contest.editable(s)] for s in specs for a in contest.editable(s)}
    several = {name: found for name, found in table.items() if len(found) > 1}
    if not several:
        st.error(
            f"The {machine.family} family has fewer than two methods that edit the same attribute; choose another family in "
            "the sidebar.",
            icon=":material/error:",
        )
        return
    order = _order(machine, face, several)
    if work.history.current is not None and work.history.current.request.values:
        style.small(
            "The methods start from the face without the current edit; keep it as a new start to go on from it."
        )
    entries, waiting = _entries(machine, face, several[order.attribute], order)
    _cards(face, several[order.attribute], order, entries)
    for spec in waiting:
        _slow(machine, face, spec, order)
    missing = [s.title for s in specs if s not in several[order.attribute]]
    if missing:
        style.small(f"Without a control for {title_of(order.attribute)}: {', '.join(missing)}.")
    _explain(order)


def _order(machine: Engine, face: Face, several: Mapping[str, Sequence[EditorSpec]]) -> Order:
    names = sorted(several, key=lambda name: (-len(several[name]), name))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="compare_order"):
        attribute = st.selectbox(
            "Target",
            names,
            index=names.index(FIRST) if FIRST in names else 0,
            format_func=lambda name: f"{title_of(name)} ({len(several[name])} methods)",
            key=ATTRIBUTE,
            persist_state="session",
            width=250,
        )
        side = st.selectbox(
            "Which way", list(SIDES), format_func=SIDES.__getitem__, key=SIDE, persist_state="session", width=230
        )
        match = st.segmented_control(
            "How far",
            list(MATCHES),
            format_func=MATCHES.__getitem__,
            default="success",
            required=True,
            key=MATCH,
            persist_state="session",
            help="As soon as it shows: each fast method stops at the weakest of eight strengths that convinces the judge, so "
            "that the costs can be compared. Methods that run for minutes go for their target by themselves.",
        )
        strength = 1.0
        if match == "strength":
            strength = st.slider("Share of the slider's range", 0.1, 1.0, 1.0, 0.1, key=STRENGTH, width=200)
        slow = any(spec.cost == "minutes" for spec in several[str(attribute)])
        effort = EFFORTS[0]
        if slow:
            effort = st.selectbox("Effort of slow methods", EFFORTS, key=EFFORT, persist_state="session", width=170)
    chosen = str(attribute)
    add = contest.towards(machine, face, chosen) if side == "flip" else side == "add"
    return Order(chosen, add, str(match), float(strength), str(effort))


def _fixed(spec: EditorSpec, order: Order) -> dict[str, float]:
    """Values of the controls that stay fixed: the effort, where a method has one."""
    efforts = next((c.choices for c in spec.controls if c.name == "preset"), ())
    return {"preset": float(efforts.index(order.effort))} if order.effort in efforts else {}


def _entries(
    machine: Engine, face: Face, specs: Sequence[EditorSpec], order: Order
) -> tuple[dict[str, Entry], list[EditorSpec]]:
    """Results of the fast methods and of finished jobs, and the slow methods without a result yet."""
    found: dict[str, Entry] = {}
    waiting: list[EditorSpec] = []
    for spec in specs:
        if spec.cost != "minutes":
            found[spec.name] = _fast(machine, face, spec, order)
            continue
        job = _job(face, spec, order)
        if job is not None and job.state == "done":
            found[spec.name] = job.result()
        else:
            waiting.append(spec)
    return found, waiting


def _fast(machine: Engine, face: Face, spec: EditorSpec, order: Order) -> Entry:
    """The entry of a method that follows a slider; kept while the face stays, because the page runs again while jobs do."""
    kept = st.session_state.get(KEPT)
    if kept is None or kept[0] != face.hash:
        kept = st.session_state[KEPT] = (face.hash, {})
    key = (spec.name, order.attribute, order.add, order.match, order.strength)
    if key not in kept[1]:
        if order.match == "success":
            with st.spinner(f"{spec.title}: eight strengths …"):
                tries = contest.curve(machine, face, spec, order.attribute, order.add)
            kept[1][key] = contest.first_success(tries)
        else:
            kept[1][key] = contest.enter(machine, face, spec, order.attribute, order.add, order.strength)
    return kept[1][key]


def _title(face: Face, spec: EditorSpec, order: Order) -> str:
    return f"{spec.name} {order.attribute} {order.add} {order.effort} {face.hash}"


def _job(face: Face, spec: EditorSpec, order: Order) -> Job[Entry] | None:
    title = _title(face, spec, order)
    return next((job for job in reversed(work_queue.mine(PAGE)) if job.title == title), None)


def _cards(face: Face, specs: Sequence[EditorSpec], order: Order, entries: Mapping[str, Entry]) -> None:
    known = next(iter(entries.values()), None)
    cells = [_card(data_uri(to_uint8(face.target), 320), "Photo", _photo_line(order, known), [])]
    best = {
        "identity": max((e.identity for e in entries.values() if e.success), default=None),
        "unintended": min((e.unintended for e in entries.values() if e.success), default=None),
    }
    for spec in specs:
        entry = entries.get(spec.name)
        if entry is None:
            cells.append(_card("", spec.title, "Not made yet", []))
            continue
        verdict = "convinced" if entry.success else "not convinced"
        numbers = [
            ("Judge", f"{100 * entry.before:.0f} → {100 * entry.after:.0f} %", verdict, entry.success),
            ("Identity", f"{entry.identity:.2f}", "cosine with the photo", entry.identity == best["identity"]),
            (
                "Unintended",
                f"{100 * entry.unintended:.1f}",
                "points, other 39",
                entry.unintended == best["unintended"],
            ),
            ("Time", f"{entry.seconds:.2f} s" if entry.seconds < 10 else f"{entry.seconds:.0f} s", "this edit", False),
            ("Strength", f"{100 * entry.strength:.0f} %", "of the slider's range", False),
        ]
        cells.append(_card(data_uri(to_uint8(entry.image), 320), spec.title, "", numbers))
    st.html(f'<div class="facet-contest">{"".join(cells)}</div>')


def _photo_line(order: Order, known: Entry | None) -> str:
    seen = "" if known is None else f": the judge reads {title_of(order.attribute)} at {100 * known.before:.0f} %"
    return f"{'Add' if order.add else 'Remove'} {title_of(order.attribute)}{seen}"


def _card(source: str, title: str, line: str, numbers: Sequence[tuple[str, str, str, bool]]) -> str:
    picture = f'<img alt="{html.escape(title)}" src="{source}">' if source else '<div class="none"></div>'
    rows = "".join(
        f'<tr><td>{html.escape(name)}</td><td class="v{" best" if good else ""}">{html.escape(value)}</td>'
        f"<td>{html.escape(note)}</td></tr>"
        for name, value, note, good in numbers
    )
    small = f'<p class="facet-small">{html.escape(line)}</p>' if line else ""
    return f'<figure>{picture}<figcaption class="facet-h">{html.escape(title)}</figcaption>{small}<table>{rows}</table></figure>'


def _slow(machine: Engine, face: Face, spec: EditorSpec, order: Order) -> None:
    job = _job(face, spec, order)
    if job is not None and not job.done:
        _watch(job, spec.title)
        return
    if job is not None and job.sentence and job.state == "failed":
        st.error(job.sentence, icon=":material/error:")
    st.button(
        f"Run {spec.title}",
        key=f"compare_run/{spec.name}",
        icon=":material/play_arrow:",
        help="It optimises for this photo, which takes a while; it runs beside the page and can be stopped.",
        on_click=_start,
        args=(machine, face, spec, order),
    )


def _start(machine: Engine, face: Face, spec: EditorSpec, order: Order) -> None:
    work = contest.job_of(machine, face, spec, order.attribute, order.add, _fixed(spec, order))
    job: Job[Entry] = Job(work, _title(face, spec, order), owner=work_queue.owner(PAGE))
    work_queue.queue().submit(job, machine.device)


@st.fragment(run_every="1s")
def _watch(job: Job[Entry], title: str) -> None:
    """The job on its way; it is found again after leaving the page."""
    if job.done:
        st.rerun()
    with st.container(border=True, width=420):
        ahead = work_queue.queue().position(job)
        waiting = f"{title} waits for {ahead} other {'edit' if ahead == 1 else 'edits'} …"
        said = (
            "Stopping after this step …"
            if job.cancelled
            else waiting
            if ahead
            else f"{title}: {job.message or 'starting'}"
        )
        st.progress(job.fraction, text=said)
        if st.button("Cancel", key=f"compare_cancel/{job.number}", icon=":material/close:", disabled=job.cancelled):
            job.cancel()


def _explain(order: Order) -> None:
    matched = (
        "Each fast method is shown at the weakest strength that convinces the judge."
        if order.match == "success"
        else "All methods are shown at the same share of their sliders, which does not mean the same effect."
    )
    style.small(
        f"{matched} What the edit changed is added to the photo, as in a download. The judge is a classifier that guided no edit; "
        "bold marks the best of those that convinced it. One face proves nothing: 'python cli.py evaluate compare' does the same on many."
    )
