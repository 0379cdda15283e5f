"""The job queue: order per device, owners, positions, cancelling, errors, memory."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import torch

from workbench.editor import Cancel, Progress
from workbench.errors import BadRequest, Cancelled
from workbench.jobs import FINISHED_KEPT, Job, OutOfMemory, Queue, ran_out

LONG = 20.0


class Gate:
    """Work that waits until it is let through."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()

    def __call__(self, progress: Progress, cancel: Cancel) -> str:
        progress(0.5, "half")
        self.begun.set()
        while not self.open.wait(0.005):
            if cancel():
                raise Cancelled("Stopped in the middle.")
        return "through"


def value(result: object) -> Callable[[Progress, Cancel], object]:
    return lambda progress, cancel: result


def test_jobs_of_one_device_run_in_order_and_know_their_place() -> None:
    queue, gate, order = Queue(), Gate(), list[str]()

    def note(name: str) -> Callable[[Progress, Cancel], str]:
        def work(progress: Progress, cancel: Cancel) -> str:
            order.append(name)
            return name

        return work

    first = queue.submit(Job(gate, owner="a"))
    assert gate.begun.wait(LONG)
    second, third = queue.submit(Job(note("b"), owner="b")), queue.submit(Job(note("c"), owner="a"))
    assert [queue.position(job) for job in (first, second, third)] == [0, 1, 2]
    assert [job.state for job in (first, second, third)] == ["running", "waiting", "waiting"]
    assert (first.fraction, first.message) == (0.5, "half")
    gate.open.set()
    assert third.wait(LONG)
    assert order == ["b", "c"]
    assert first.result() == "through"
    assert queue.position(third) == 0
    assert third.state == "done"


def test_two_devices_do_not_wait_for_each_other() -> None:
    queue, gate = Queue(), Gate()
    queue.submit(Job(gate), "cpu")
    assert gate.begun.wait(LONG)
    other = queue.submit(Job(value(3)), "meta")
    assert other.wait(LONG)
    gate.open.set()


def test_the_queue_goes_on_after_it_was_empty() -> None:
    queue = Queue()
    for number in range(5):
        job = queue.submit(Job(value(number + 1)))
        assert job.wait(LONG)
        assert job.result() == number + 1


def test_a_session_finds_its_own_jobs_only() -> None:
    queue = Queue()
    mine, other = queue.submit(Job(value(1), owner="me")), queue.submit(Job(value(2), owner="you"))
    assert other.wait(LONG)
    assert queue.of("me") == (mine,)
    assert queue.get(mine.number, "me") is mine
    assert queue.get(mine.number, "you") is None
    queue.drop("me")
    assert queue.of("me") == ()
    assert queue.of("you") == (other,)


def test_a_waiting_job_is_cancelled_at_once_and_never_runs() -> None:
    queue, gate, ran = Queue(), Gate(), list[int]()
    queue.submit(Job(gate))
    assert gate.begun.wait(LONG)
    waiting = queue.submit(Job(lambda progress, cancel: ran.append(1)))
    last = queue.submit(Job(value(7)))
    waiting.cancel()
    assert waiting.done
    assert waiting.state == "cancelled"
    assert queue.position(last) == 1
    gate.open.set()
    assert last.wait(LONG)
    assert ran == []
    with pytest.raises(Cancelled):
        waiting.result()


def test_a_running_job_is_cancelled_and_the_next_one_runs() -> None:
    queue, gate = Queue(), Gate()
    running, following = queue.submit(Job(gate)), queue.submit(Job(value(1)))
    assert gate.begun.wait(LONG)
    running.cancel()
    assert following.wait(LONG)
    assert running.state == "cancelled"
    assert "middle" in running.sentence


def test_errors_become_sentences_and_the_worker_lives() -> None:
    def wrong(progress: Progress, cancel: Cancel) -> None:
        raise BadRequest("That cannot be.")

    def defect(progress: Progress, cancel: Cancel) -> None:
        raise KeyError("inner")

    queue = Queue()
    first, second, third = (queue.submit(job) for job in (Job(wrong), Job(defect), Job(value(1))))
    assert third.wait(LONG)
    assert first.sentence == "That cannot be."
    assert isinstance(first.failed, BadRequest)
    assert second.failed is None
    assert second.sentence.startswith("An unexpected error, please report it (KeyError")
    assert third.sentence == ""
    assert second.state == "failed"


def test_out_of_memory_is_tried_once_more_at_a_smaller_size() -> None:
    calls = list[str]()

    def large(progress: Progress, cancel: Cancel) -> str:
        calls.append("large")
        progress(0.8)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def small(progress: Progress, cancel: Cancel) -> str:
        calls.append("small")
        progress(0.3)
        return "small"

    def too_large(progress: Progress, cancel: Cancel) -> str:
        calls.append("still too large")
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    job = Job(large, smaller=small)
    job.run()
    assert (job.result(), job.retried, job.fraction) == ("small", True, 0.3)
    job = Job(large, smaller=too_large)
    job.run()
    with pytest.raises(OutOfMemory, match="smaller size too"):
        job.result()
    job = Job(large)
    job.run()
    assert isinstance(job.failed, OutOfMemory)
    assert calls == ["large", "small", "large", "still too large", "large"]
    assert not ran_out(RuntimeError("shapes differ"))
    assert ran_out(MemoryError())


def test_progress_only_rises_and_finished_jobs_are_forgotten() -> None:
    seen = list[float]()

    def work(progress: Progress, cancel: Cancel) -> int:
        for fraction in (0.2, 0.1, 0.9, 2.0):
            progress(fraction)
            seen.append(job.fraction)
        return 1

    job = Job(work)
    job.run()
    assert seen == [0.2, 0.2, 0.9, 1.0]
    queue = Queue()
    for _ in range(FINISHED_KEPT + 10):
        last = queue.submit(Job(value(1), owner="me"))
        assert last.wait(LONG)
    assert len(queue.of("me")) <= FINISHED_KEPT + 1
    assert queue.of("me")[-1] is last


def test_a_device_knows_how_many_jobs_a_new_one_would_wait_for() -> None:
    queue, gate = Queue(), Gate()
    assert queue.waiting() == 0
    running = queue.submit(Job(gate, owner="a"))
    assert gate.begun.wait(LONG)
    late = queue.submit(Job(value(1), owner="b"))
    assert (queue.waiting(), queue.waiting("cuda")) == (2, 0)
    late.cancel()
    assert queue.waiting() == 1
    gate.open.set()
    assert running.wait(LONG)
    assert queue.waiting() == 0


def test_results_that_nobody_asks_for_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, gate, clock = Queue(), Gate(), [100.0]
    monkeypatch.setattr("workbench.jobs.time.monotonic", lambda: clock[0])
    kept, gone = queue.submit(Job(value(1), owner="stays")), queue.submit(Job(value(2), owner="left"))
    assert gone.wait(LONG)
    assert kept.wait(LONG)
    running = queue.submit(Job(gate, owner="left"))
    assert gate.begun.wait(LONG)
    clock[0] = 200.0
    assert queue.of("stays") == (kept,)
    clock[0] = 250.0
    queue.sweep(60)
    assert queue.of("stays") == (kept,)
    assert queue.of("left") == (running,)
    gate.open.set()
    assert running.wait(LONG)
