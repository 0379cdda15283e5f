"""A lock between processes that dies with its holder."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Hold the lock file ``path`` if nobody else does; yields whether it is held. Raises OSError when it cannot be made.

    The operating system lets go of it when the process ends in whatever way, so that there are no stale locks.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _take(handle)
        except OSError:
            os.close(handle)
            yield False
            return
        # The holder before may have removed the file between our opening and our locking it.
        try:
            ours = os.path.samestat(os.fstat(handle), os.stat(path))
        except FileNotFoundError:
            ours = False
        if ours:
            break
        os.close(handle)
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):  # Windows does not remove open files; there it stays
            os.unlink(path)
        os.close(handle)
