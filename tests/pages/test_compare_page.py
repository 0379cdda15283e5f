"""Compare methods: the same face and target through several methods, matched, with a slow one as a job."""

from __future__ import annotations

import time

import pytest
import torch

from tests import tiny_family
from tests.iafaces import tiny
from tests.pages.conftest import calm, errors, texts, work
from ui import comparing, work_queue
from workbench import contest
from workbench.editor import Control, EditorSpec, EditResult
from workbench.errors import Cancelled

PAGE = "pages/compare_methods.py"
SLOW = EditorSpec(
    "slow",
    "1",
    "Slow method",
    "none",
    (
        Control("smile", "Smile", -1, 1, 0, attribute="Smiling"),
        Control("preset", "Effort", 0, 1, 1, 1, choices=("preview", "fast")),
    ),
    cost="minutes",
)


class SlowEditor:
    """Whitens the face in steps of a hundredth of a second until it is told to stop."""

    spec = SLOW
    steps = 3

    def edit(self, face, request, *, progress=None, cancel=lambda: False):
        for step in range(self.steps):
            if cancel():
                raise Cancelled("stopped")
            if progress is not None:
                progress((step + 1) / self.steps, "working")
            time.sleep(0.01)
        return EditResult(
            (face.image + 0.2 * request.values["smile"]).clamp(-1, 1), None, None, request, {"seconds": 0.03}
        )


@pytest.fixture(scope="module")
def tiny_manifest(tmp_path_factory):
    return tiny.add_to_family(tiny_family.write_family(tmp_path_factory.mktemp("family")))


@pytest.fixture
def page(app, machine, monkeypatch):
    specs = (*machine.editors(), SLOW)
    monkeypatch.setattr(machine, "editors", lambda: specs)
    made, slow = machine._editor, SlowEditor()
    monkeypatch.setattr(machine, "_editor", lambda name: slow if name == "slow" else made(name))
    return calm(app.switch_page(PAGE).run())


def finished(page, seconds=20.0):
    begun = time.monotonic()
    while not all(job.done for job in work_queue.queue().of(page.session_state[work_queue.OWNER] + comparing.PAGE)):
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)
    return calm(page.run())


def test_fast_methods_are_there_at_once_and_the_slow_one_by_a_job(page, machine):
    shown = texts(page)
    assert "SDFlow" in shown
    assert "Not made yet" in shown
    assert "Without a control for Smiling: Components (IA-FaceS)." in shown
    calm(page.button(key="compare_run/slow").click().run())
    finished(page)
    assert "Not made yet" not in texts(page)
    (job,) = work_queue.queue().of(page.session_state[work_queue.OWNER] + comparing.PAGE)
    entry = job.result()
    assert entry.request.values["preset"] == 0
    face = work(page).face
    assert face is not None
    assert entry.add == contest.towards(machine, face, "Smiling")
    assert torch.equal(entry.image, contest.in_photo(machine, face, machine.edit(face, entry.request)))


def test_matched_success_takes_the_weakest_strength_that_convinces(machine, monkeypatch):
    face, spec = machine.sample_faces()[0], machine.spec("sdflow")
    looks = iter([0.1, 0.2, 0.1, 0.4, 0.1, 0.6, 0.1, 0.9])

    def read(engine, image):
        value = next(looks)
        return {"Smiling": value, "Young": value / 2}

    monkeypatch.setattr(contest, "readings", read)
    tries = contest.curve(machine, face, spec, "Smiling", True, steps=4)
    assert [e.strength for e in tries] == [0.25, 0.5, 0.75, 1.0]
    chosen = contest.first_success(tries)
    assert (chosen.strength, chosen.after) == (0.75, 0.6)
    assert chosen.unintended == pytest.approx(0.25)
    assert contest.first_success(tries[:2]).strength == 0.5


def test_the_same_share_is_the_same_share_for_all(page):
    calm(page.segmented_control(key=comparing.MATCH).set_value("strength").run())
    calm(page.slider(key=comparing.STRENGTH).set_value(0.5).run())
    kept = page.session_state[comparing.KEPT][1]
    assert [e.strength for key, e in kept.items() if key[3] == "strength"][-1] == 0.5
    assert "50 %" in texts(page)


def test_the_other_way_is_really_the_other_way(page, machine):
    face = work(page).face
    assert face is not None
    wanted = contest.towards(machine, face, "Smiling")
    calm(page.selectbox(key=comparing.SIDE).set_value("remove" if wanted else "add").run())
    words = texts(page)
    assert ("Remove Smiling" if wanted else "Add Smiling") in words


def test_a_job_can_be_stopped_and_wiping_forgets_it(page, machine, monkeypatch):
    monkeypatch.setattr(SlowEditor, "steps", 100_000)
    calm(page.button(key="compare_run/slow").click().run())
    owner = page.session_state[work_queue.OWNER]
    (job,) = work_queue.queue().of(owner + comparing.PAGE)
    calm(page.button(key=f"compare_cancel/{job.number}").click().run())
    assert job.wait(20)
    assert job.state == "cancelled"
    calm(page.run())
    calm(page.button(key="compare_run/slow").click().run())
    assert len(work_queue.queue().of(owner + comparing.PAGE)) == 2
    calm(page.sidebar.button(key="wipe").click().run())
    assert not work_queue.queue().of(owner + comparing.PAGE)


def test_one_method_alone_is_a_sentence(app, machine, monkeypatch):
    monkeypatch.setattr(machine, "editors", lambda: (machine.spec("sdflow"),))
    calm(app.switch_page(PAGE).run())
    assert "fewer than two methods" in errors(app)
