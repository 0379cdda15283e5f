"""How far a download is, how fast, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from workbench.editor import Progress

WINDOW = 8.0


def megabytes(count: float) -> str:
    """A number of bytes as people read it: MB up to a thousand, then GB (powers of ten, as disks are sold)."""
    if count < 1e6:
        return f"{count / 1e6:.2f} MB"
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"


def duration(seconds: float) -> str:
    """Seconds as "40 s", "3 min" or "1 h 20 min"."""
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class Meter:
    """Passes counts of bytes on to ``progress`` a few times a second, with speed and remaining time in words."""

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress, self._clock = progress, clock
        self._marks: deque[tuple[float, int]] = deque()
        self._said = -1.0

    def start(self, done: int) -> None:
        """A connection begins with ``done`` bytes already there; the speed is counted anew."""
        self._marks.clear()
        self._marks.append((self._clock(), done))
        self._said = -1.0

    def count(self, done: int, total: int | None) -> None:
        """``done`` of ``total`` bytes are on the disk."""
        now = self._clock()
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW:
            self._marks.popleft()
        if now - self._said >= 0.2 or done == total:
            self._said = now
            self._progress(done / total if total else 0.0, self.words(done, total))

    def speed(self) -> float | None:
        """Bytes per second over the last seconds; None before there is anything to measure."""
        (first, before), (last, after) = self._marks[0], self._marks[-1]
        return (after - before) / (last - first) if last > first and after > before else None

    def words(self, done: int, total: int | None) -> str:
        """ "412 MB of 1.15 GB, 5.2 MB/s, 2 min left"."""
        parts = [f"{megabytes(done)} of {megabytes(total)}" if total else megabytes(done)]
        speed = self.speed()
        if speed:
            parts.append(f"{speed / 1e6:.1f} MB/s" if speed >= 1e5 else f"{speed / 1e3:.0f} kB/s")
            if total:
                parts.append(f"{duration((total - done) / speed)} left")
        return ", ".join(parts)
