"""A job that begins at once in a thread of its own, beside the script (see ``workbench.jobs``)."""

from __future__ import annotations

import threading
from typing import TypeVar

from workbench import jobs

T = TypeVar("T")


class Job(jobs.Job[T]):
    """A ``workbench.jobs.Job`` without a queue, for a step that only this session's page waits for."""

    def __init__(self, work: jobs.Work[T], title: str = "") -> None:
        super().__init__(work, title)
        threading.Thread(target=self.run, name="facet-job", daemon=True).start()
