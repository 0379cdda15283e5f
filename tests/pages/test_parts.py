"""The parts of the pages that need no page."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ui import chooser, pictures, readouts
from ui.jobs import Job
from workbench.errors import BadRequest, Cancelled
from workbench.face import Readout
from workbench.readout import Comparison


def comparison(**deltas: float) -> Comparison:
    before = Readout(dict.fromkeys(deltas, 0.5), "judge")
    after = Readout({name: 0.5 + delta for name, delta in deltas.items()}, "judge")
    unasked = tuple(name for name, delta in deltas.items() if abs(delta) > 0.15)
    return Comparison(before, after, deltas, 0.5, 0.9, unasked, 0.0)


def test_readouts_put_the_asked_first_and_the_unasked_second():
    found = readouts.order(comparison(Bald=0.01, Male=0.3, Smiling=0.4, Young=-0.1), ["Smiling"])
    assert found == [("Smiling", "ask"), ("Male", "side"), ("Young", "rest"), ("Bald", "rest")]


@pytest.mark.parametrize(("delta", "text"), [(0.0, "0"), (-0.001, "0"), (0.2, "+20"), (-0.4, "-40")])
def test_changes_are_written_in_points(delta, text):
    assert readouts.points(delta) == text


def test_names_are_escaped_in_the_panel():
    assert "<b>" not in readouts.row("<b>", 0.1, 0.2, "rest")


def test_a_job_reports_progress_and_its_result():
    def work(progress, cancel):
        progress(0.5, "half")
        progress(0.2, "never back")
        return 7

    job = Job(work)
    assert job.wait(10)
    assert job.result() == 7
    assert job.fraction == 0.5


def test_a_cancelled_job_raises_and_a_failed_one_keeps_its_sentence():
    started = threading.Event()

    def patient(progress, cancel):
        started.set()
        while not cancel():
            pass
        raise Cancelled("The step was cancelled.")

    job = Job(patient)
    assert started.wait(10)
    job.cancel()
    assert job.wait(10)
    with pytest.raises(Cancelled):
        job.result()

    def wrong(progress, cancel):
        raise BadRequest("No.")

    failed = Job(wrong)
    assert failed.wait(10)
    assert isinstance(failed.failed, BadRequest)


def test_pictures_are_shrunk_and_never_enlarged():
    assert pictures.fit(np.zeros((50, 100, 3), np.uint8), 20).shape == (10, 20, 3)
    assert pictures.fit(np.zeros((5, 10, 3), np.uint8), 20).shape == (5, 10, 3)
    assert pictures.data_uri(np.zeros((8, 8, 3), np.uint8)).startswith("data:image/png;base64,")
    assert pictures.data_uri(np.zeros((900, 900, 3), np.uint8)).startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("shape", [(4000, 300), (300, 4000), (60, 60), (480, 640)])
def test_photos_are_shown_at_a_size_that_fits(shape):
    width = chooser.display_width(np.zeros((*shape, 3), np.uint8))
    assert 1 <= width <= 560
    assert width * shape[0] / shape[1] <= 481


def test_the_gauge_says_what_the_edit_cost(monkeypatch):
    said = []
    monkeypatch.setattr(readouts.st, "html", said.append)
    readouts.gauge(-1.0, -1.01, 1000)
    readouts.gauge(-1.0, -1.0, 1000)
    readouts.gauge(None, None, 1000)
    assert "-10.0 nats in all: less likely than" in said[0]
    assert "left:25.0%" in said[0]
    assert "as likely as" in said[1]
    assert "first edit" in said[2]
