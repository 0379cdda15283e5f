"""The queue of all long work: one worker thread per device, jobs in order, each with an owner, a place and a way to stop.

A session submits a job and keeps its number; leaving a page and coming back finds it by owner. The worker never dies of a
job: what it raises is kept as a sentence, and a device that ran out of memory gets one more try at a smaller size.
"""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Literal, TypeVar

import torch

from workbench.editor import Cancel, Progress
from workbench.errors import Cancelled, FacetError

T = TypeVar("T")
Work = Callable[[Progress, Cancel], T]
State = Literal["waiting", "running", "done", "failed", "cancelled"]
FINISHED_KEPT = 64


class OutOfMemory(FacetError):
    """The device had too little memory for a job, also at the smaller size."""


def ran_out(error: BaseException) -> bool:
    """Whether ``error`` says that a device, or the machine, ran out of memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)


class Job(Generic[T]):
    """One long step: ``work(progress, cancel)``. Others read ``fraction``, ``message``, ``preview`` and ``state``.

    ``smaller`` does the same with less memory; without it a job that ran out fails. ``owner`` is whoever may see and
    cancel it (a session's id); ``title`` is for people. Nothing runs before ``run`` is called, which a Queue does.
    """

    def __init__(self, work: Work[T], title: str = "", *, owner: str = "", smaller: Work[T] | None = None) -> None:
        self.title, self.owner = title, owner
        self.number = 0
        self.fraction, self.message = 0.0, ""
        self.preview: object = None
        self.retried = False
        self.submitted = time.monotonic()
        self.started: float | None = None
        self.ended: float | None = None
        self._work, self._smaller = work, smaller
        self._guard = threading.Lock()
        self._stop, self._done = threading.Event(), threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do the work in this thread; never raises."""
        with self._guard:
            if self.started is not None or self._done.is_set():
                return
            self.started = time.monotonic()
        try:
            if self._stop.is_set():
                raise Cancelled("The job was cancelled before it began.")
            self._value = self._attempt()
        except BaseException as error:  # kept for the one who asks for the result
            self._error = error
        finally:
            self.ended = time.monotonic()
            self._done.set()

    def _attempt(self) -> T:
        try:
            return self._work(self._progress, self._stop.is_set)
        except BaseException as error:
            if not ran_out(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        # Outside the handler, so that the traceback no longer holds the tensors that filled the memory.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self._smaller is None:
            raise OutOfMemory(f"The device ran out of memory ({reason}); close other programs, or choose less effort.")
        self.retried, self.fraction = True, 0.0
        self.message = "Out of memory; once more at a smaller size"
        try:
            return self._smaller(self._progress, self._stop.is_set)
        except BaseException as error:
            if ran_out(error):
                raise OutOfMemory(
                    f"The device ran out of memory, at a smaller size too ({reason}); close other programs or use another device."
                ) from None
            raise

    def _progress(self, fraction: float, message: str = "") -> None:
        self.fraction = min(1.0, max(self.fraction, float(fraction)))
        self.message = message or self.message

    def cancel(self) -> None:
        """Ask the job to stop at its next check; one that waits ends at once."""
        self._stop.set()
        with self._guard:
            if self.started is None and not self._done.is_set():
                self._error = Cancelled("The job was cancelled before it began.")
                self.ended = time.monotonic()
                self._done.set()

    @property
    def done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return self._done.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    @property
    def state(self) -> State:
        if not self.done:
            return "waiting" if self.started is None else "running"
        if self._error is None:
            return "done"
        return "cancelled" if isinstance(self._error, Cancelled) else "failed"

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran."""
        if self.started is None:
            return 0.0
        return (time.monotonic() if self.ended is None else self.ended) - self.started

    def wait(self, seconds: float | None = None) -> bool:
        """Wait at most ``seconds``; whether the job has ended."""
        return self._done.wait(seconds)

    def result(self) -> T:
        """The value of a finished job. Raises what the job raised; Cancelled when it was stopped."""
        if self._error is not None:
            raise self._error
        if self._value is None:
            raise Cancelled("The step was stopped before it had a result.")
        return self._value

    @property
    def failed(self) -> FacetError | None:
        """The sentence of a job that failed for a reason the user can mend."""
        return self._error if isinstance(self._error, FacetError) else None

    @property
    def sentence(self) -> str:
        """One sentence about a job that gave no result, "" for any other."""
        if self._error is None:
            return ""
        if isinstance(self._error, FacetError):
            return str(self._error)
        return f"An unexpected error, please report it ({type(self._error).__name__}: {self._error})."


class Queue:
    """Jobs of all sessions: those of one device one after another, those of two devices side by side. Thread-safe."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._waiting: dict[str, list[Job]] = {}
        self._running: dict[str, Job] = {}
        self._known: OrderedDict[int, tuple[str, Job]] = OrderedDict()
        self._asked: dict[str, float] = {}
        self._numbers = itertools.count(1)

    def submit(self, job: Job[T], device: torch.device | str = "cpu") -> Job[T]:
        """Put ``job`` at the end of the queue of ``device``; returns it with its number."""
        name = str(device)
        with self._change:
            job.number = next(self._numbers)
            self._known[job.number] = (name, job)
            self._forget()
            self._waiting.setdefault(name, []).append(job)
            if name not in self._running and len(self._waiting[name]) == 1:
                threading.Thread(target=self._serve, args=(name,), name=f"facet-{name}", daemon=True).start()
        return job

    def _serve(self, device: str) -> None:
        """The worker of ``device``; it ends when nothing waits, and the next ``submit`` starts another."""
        while True:
            with self._change:
                waiting = self._waiting[device]
                while waiting and waiting[0].done:
                    waiting.pop(0)
                if not waiting:
                    self._running.pop(device, None)
                    self._change.notify_all()
                    return
                job = waiting.pop(0)
                self._running[device] = job
            job.run()
            with self._change:
                self._change.notify_all()

    def _forget(self) -> None:
        """Drop the oldest finished jobs beyond FINISHED_KEPT, so that their results do not fill the memory."""
        finished = [number for number, (_, job) in self._known.items() if job.done]
        for number in finished[: max(0, len(finished) - FINISHED_KEPT)]:
            del self._known[number]

    def position(self, job: Job) -> int:
        """How many jobs must end before ``job`` begins; 0 when it runs or has ended."""
        with self._change:
            for device, waiting in self._waiting.items():
                ahead = [other for other in waiting if not other.done]
                if job in ahead:
                    return ahead.index(job) + (device in self._running and not self._running[device].done)
        return 0

    def waiting(self, device: torch.device | str = "cpu") -> int:
        """How many jobs of ``device`` have not ended: what a new one would wait for."""
        name = str(device)
        with self._change:
            running = name in self._running and not self._running[name].done
            return running + sum(not job.done for job in self._waiting.get(name, ()))

    def sweep(self, seconds: float) -> None:
        """Forget the ended jobs of owners that have not asked for theirs for ``seconds``: their sessions are gone."""
        now = time.monotonic()
        with self._change:
            gone = [
                number
                for number, (_, job) in self._known.items()
                if job.done and now - max(self._asked.get(job.owner, 0.0), job.submitted) > seconds
            ]
            for number in gone:
                del self._known[number]
            owners = {job.owner for _, job in self._known.values()}
            self._asked = {owner: at for owner, at in self._asked.items() if owner in owners}

    def of(self, owner: str) -> tuple[Job, ...]:
        """The jobs of ``owner`` that are known, the oldest first."""
        with self._change:
            self._asked[owner] = time.monotonic()
            return tuple(job for _, job in self._known.values() if job.owner == owner)

    def get(self, number: int, owner: str) -> Job | None:
        """The job with ``number`` if it is known and belongs to ``owner``."""
        with self._change:
            found = self._known.get(number)
        return found[1] if found is not None and found[1].owner == owner else None

    def drop(self, owner: str) -> None:
        """Cancel and forget all jobs of ``owner``: the session is gone."""
        for job in self.of(owner):
            job.cancel()
            with self._change:
                self._known.pop(job.number, None)
