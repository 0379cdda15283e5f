"""One long step of one session, run beside the script: progress to read, a flag to cancel, a result to fetch."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from workbench.editor import Cancel, Progress
from workbench.errors import Cancelled, FacetError

T = TypeVar("T")


class Job(Generic[T]):
    """Runs ``work(progress, cancel)`` in a thread; the script polls ``fraction``, ``message`` and ``done``."""

    def __init__(self, work: Callable[[Progress, Cancel], T], title: str = "") -> None:
        self.title = title
        self.fraction = 0.0
        self.message = ""
        self._work = work
        self._stop = threading.Event()
        self._done = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="facet-job", daemon=True).start()

    def _run(self) -> None:
        try:
            self._value = self._work(self._progress, self._stop.is_set)
        except BaseException as error:  # kept for the script, which shows it
            self._error = error
        finally:
            self._done.set()

    def _progress(self, fraction: float, message: str = "") -> None:
        self.fraction = min(1.0, max(self.fraction, float(fraction)))
        self.message = message or self.message

    def cancel(self) -> None:
        """Ask the step to stop at its next check."""
        self._stop.set()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    @property
    def cancelled(self) -> bool:
        return self._stop.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most ``seconds``; whether the step has ended."""
        return self._done.wait(seconds)

    def result(self) -> T:
        """The value of a finished step. Raises what the step raised; Cancelled when it was stopped."""
        if self._error is not None:
            raise self._error
        if self._value is None:
            raise Cancelled("The step was stopped before it had a result.")
        return self._value

    @property
    def failed(self) -> FacetError | None:
        """The sentence of a step that failed for a reason the user can mend."""
        return self._error if isinstance(self._error, FacetError) else None
