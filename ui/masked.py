"""The workbench of 'Masked edit': order on the left with the part shown over the face, the job and its result on the right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import streamlit as st

from ui import handover, masked_controls, masked_result, masked_state, state, style, work_queue
from ui.engine import sentences
from ui.projecting import on_the_table
from workbench.devices import lock
from workbench.editor import EditorSpec, EditRequest
from workbench.engine import Engine
from workbench.errors import MissingWeights
from workbench.face import content_hash, to_uint8
from workbench.jobs import Job
from workbench.masked_jobs import MaskedOrder, Outcome, expected, masked_job, seen
from workbench.pace import spoken

ALIGN_PAGE = "pages/align_and_project.py"
SEEN, ESTIMATE, PICKED = "facet_masked_region", "facet_masked_estimate", "masked_picked"
USED = "facet_masked_used"


@st.fragment
def show(machine: Engine) -> None:
    """The whole workbench. A change of a control reruns this and nothing else."""
    with sentences():
        _show(machine)


def _show(machine: Engine) -> None:
    here = on_the_table(machine)
    if here is None:
        return
    work, _ = here
    try:
        spec = masked_state.editor(machine).spec
    except MissingWeights as error:
        st.error(str(error), icon=":material/error:")
        return
    st.session_state[USED] = True
    masked_state.adopt(work, spec)
    handover.offer(machine, work, spec)
    with st.container(key="editor"):
        left, right = st.columns([1, 2.4], gap="large")
    with left, st.container(key="controls", gap="small"):
        _order(machine, work, spec)
    with right:
        _work(machine, work, spec)


def _order(machine: Engine, work: state.Workspace, spec: EditorSpec) -> None:
    assert work.face is not None
    masked_controls.attributes(spec, machine.readout(work.face.target).values)
    masked_controls.effort(spec)
    with st.expander("Where it may change", icon=":material/brush:"):
        masked_controls.mask(work.face)
    with st.expander("Advanced", icon=":material/tune:"):
        masked_controls.advanced(spec)


def _part(machine: Engine, work: state.Workspace, spec: EditorSpec) -> None:
    """The face with the part that would change; without an attribute, the chosen part."""
    assert work.face is not None
    order = masked_state.order(work, spec)
    asked = masked_state.request(spec)
    if not masked_state.attributes(spec, asked):
        some = masked_state.of_region(spec, masked_controls.region())[0]
        asked = replace(asked, values={**asked.values, some: 1.0})
    own = None if order is None else order.own
    key = content_hash(work.face.hash, asked.to_json(), own)
    known = st.session_state.get(SEEN)
    if known is None or known[0] != key:
        with lock(machine.device):
            found = masked_state.editor(machine).region(work.face, asked, own)
        known = (key, found[0].cpu().numpy())
        st.session_state[SEEN] = known
    picture = masked_controls.tinted(to_uint8(work.face.target), known[1])
    st.image(picture, width="stretch", output_format="PNG", alt="The face; the part that would change is coloured")
    share = float((known[1] > 0).mean())
    style.caption(f"Coloured: what may change, {100 * share:.0f} % of the picture")


def _start(machine: Engine, spec: EditorSpec, order: MaskedOrder | None) -> None:
    asked = masked_state.request(spec)
    named = bool(masked_state.attributes(spec, asked))
    st.html(f'<p class="facet-h">{describe(asked) if named else "Nothing is asked for yet"}</p>')
    if order is not None:
        with sentences():
            _estimate(machine, order)
    elif named:
        style.small("Bring or paint the mask under 'Where it may change', or let the part be found by itself.")
    else:
        style.small("Choose an attribute on the left. What may change is coloured in the picture.")
    st.button(
        "Start the edit",
        key="masked_start",
        type="primary",
        icon=":material/play_arrow:",
        disabled=order is None,
        on_click=_submit,
        args=(machine, order),
    )
    style.small(
        "Every pixel outside the coloured part stays the photo's own. You may leave the page meanwhile and come back."
    )


def _estimate(machine: Engine, order: MaskedOrder) -> None:
    """How long it will take, from what a step costs here."""
    finished = sum(job.done for job in masked_state.jobs())
    key = content_hash(order.face.hash, order.request.to_json(), finished)
    known = st.session_state.get(ESTIMATE)
    if known is None or known[0] != key:
        known = (key, *expected(machine, masked_state.editor(machine), order, masked_state.paces()))
        st.session_state[ESTIMATE] = known
    _, steps, seconds = known
    told = f"At most about {spoken(seconds)} on this machine: {steps} steps of {1000 * seconds / max(steps, 1):.0f} ms."
    ahead = work_queue.queue().waiting(machine.device)
    if ahead:
        told += f" {ahead} {'edit is' if ahead == 1 else 'edits are'} before it in the queue."
    style.small(told)


def _submit(machine: Engine, order: MaskedOrder | None) -> None:
    if order is None or any(not job.done for job in masked_state.jobs()):
        return
    st.session_state.pop(PICKED, None)
    job = masked_job(
        machine, masked_state.editor(machine), order, masked_state.paces(), owner=work_queue.owner(),
        title=masked_state.TITLE,
    )  # fmt: skip
    work_queue.queue().submit(job, machine.device)


def _work(machine: Engine, work: state.Workspace, spec: EditorSpec) -> None:
    jobs = masked_state.jobs()
    running = [job for job in jobs if not job.done]
    if running:
        _watch(running[-1])
        return
    card = st.container(border=True, key="masked_order")
    if work.face is not None:
        masked_controls.paint(work.face)  # first, because the card shows what is painted
    with card:
        left, right = st.columns([1, 1.4], gap="medium")
        with left:
            _part(machine, work, spec)
        with right:
            _start(machine, spec, masked_state.order(work, spec))
    if jobs and jobs[0].state == "failed":
        st.error(jobs[0].sentence, icon=":material/error:")
    elif jobs and jobs[0].state == "cancelled":
        st.info("The edit was stopped; the face is as it was.", icon=":material/info:")
    done = [job for job in jobs if job.state == "done" and _face_of(job) == (work.face.hash if work.face else "")]
    if done:
        masked_result.show(machine, work, _picked(done).result())


def _face_of(job: Job[Outcome]) -> str:
    return job.result().order.face.hash


def _picked(done: list[Job[Outcome]]) -> Job[Outcome]:
    """The result to show: the newest, or an earlier one of this face."""
    if len(done) == 1:
        return done[0]
    names = {job.number: describe(job.result().order.request) for job in done}
    if st.session_state.get(PICKED) not in names:
        st.session_state[PICKED] = done[0].number
    number = st.selectbox("Result", list(names), format_func=names.__getitem__, key=PICKED, persist_state="session")
    return next(job for job in done if job.number == number)


def describe(request: EditRequest) -> str:
    """One line such as "Smiling +1.00, big nose −0.50 · paper"."""
    settings = {"size", "preset", "mode", "likeness", "seam", "start"}
    moved = [f"{name.replace('_', ' ')} {value:+.2f}" for name, value in request.values.items() if name not in settings]
    effort = tuple(masked_controls.EFFORTS)[round(request.values.get("preset", 1.0))]
    line = f"{', '.join(moved)} · {effort}".replace("-", "−")
    return line[:1].upper() + line[1:]


@st.fragment(run_every="1s")
def _watch(job: Job[Outcome]) -> None:
    """The job on its way. It lives outside the page: leaving changes nothing, and coming back finds it by its owner."""
    if job.done:
        st.rerun()
    with st.container(border=True, key="masked_job"):
        left, right = st.columns([1, 1.4], gap="medium")
        preview = seen(job.preview)
        with right:
            ahead = work_queue.queue().position(job)
            work_queue.mine()  # says that this session is still there
            if job.cancelled:
                said = "Stopping after this step …"
            elif job.state == "waiting":
                said = f"Waiting: {ahead} {'edit' if ahead == 1 else 'edits'} of other visitors before this one"
            else:
                said = job.message or "Starting …"
            st.progress(job.fraction, text=said)
            if job.started is not None:
                style.small(_remaining(job))
            st.button(
                "Cancel", key="masked_cancel", icon=":material/close:", disabled=job.cancelled, on_click=job.cancel
            )
        with left:
            if preview is None:
                st.skeleton(height=200)
            else:
                st.image(np.asarray(preview), width="stretch", output_format="PNG", alt="The edit as far as it is")
                style.caption("As far as it is")


def _remaining(job: Job[Outcome]) -> str:
    taken = job.seconds
    if job.fraction < 0.05:
        return f"{taken:.0f} s so far."
    return f"{taken:.0f} s so far, at most about {spoken(taken * (1 - job.fraction) / job.fraction)} to go."


def forget(machine: Engine) -> None:
    """Cancel and drop this session's jobs; of photos the editor keeps nothing, if this session used it."""
    work_queue.forget()
    if st.session_state.get(USED):
        masked_state.editor(machine).forget()
