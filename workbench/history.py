"""What was done to a face, step by step: a list of requests to replay, not of pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench.editor import EditRequest


@dataclass(frozen=True)
class Entry:
    """One step: the request, and the line that the history shows for it."""

    request: EditRequest
    label: str


@dataclass(frozen=True)
class History:
    """Entries and how many of them are in force. Every method gives a new history; the old one stays as it was.

    ``start`` is the hash of the face that the entries start from. ``position`` 0 is that face unedited.
    """

    start: str
    entries: tuple[Entry, ...] = ()
    position: int = 0

    @property
    def current(self) -> Entry | None:
        """The entry in force, None at the start."""
        return self.entries[self.position - 1] if self.position else None

    @property
    def can_undo(self) -> bool:
        return self.position > 0

    @property
    def can_redo(self) -> bool:
        return self.position < len(self.entries)

    def push(self, request: EditRequest, label: str | None = None, *, instead: bool = False) -> History:
        """Add a step after the current one; steps that were undone are dropped. The same request again is no step.

        ``instead``: the step takes the current one's place, as the moves of one drag of a slider do.
        """
        if instead and self.position:
            return replace(self, position=self.position - 1).push(request, label)
        if self.current is not None and self.current.request == request:
            return self
        if self.current is None and not request.values and not self.entries:
            return self
        entry = Entry(request, describe(request) if label is None else label)
        return replace(self, entries=(*self.entries[: self.position], entry), position=self.position + 1)

    def undo(self) -> History:
        """One step back; at the start nothing happens."""
        return replace(self, position=max(0, self.position - 1))

    def redo(self) -> History:
        """One step forward again; at the end nothing happens."""
        return replace(self, position=min(len(self.entries), self.position + 1))

    def goto(self, position: int) -> History:
        """Make the entry ``position`` (1 is the first, 0 the unedited face) the current one."""
        return replace(self, position=max(0, min(len(self.entries), position)))

    def reset(self) -> History:
        """Back to the unedited face, entries kept, so redo still works."""
        return replace(self, position=0)

    def keep_as_new_start(self, start: str) -> History:
        """An empty history that starts from the face with the hash ``start``."""
        return History(start)


def describe(request: EditRequest) -> str:
    """A short line such as "Smiling +1.00, Young -0.50"."""
    parts = [f"{name} {value:+.2f}" for name, value in request.values.items() if value]
    return ", ".join(parts) or "unchanged"
