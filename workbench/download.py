"""One download: tried again where that helps, continued where it broke off, and judged before it counts.

A file grows as NAME.part beside its place with a note of where it comes from, so that a later call continues; it takes
its own name only when its length, its SHA-256 and its first bytes are right.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import shutil
import socket
import ssl
import time
import urllib.error
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from workbench import notices, seen
from workbench.editor import Cancel, Progress
from workbench.errors import Cancelled, CannotFetch, CannotWrite
from workbench.manifest import sha256
from workbench.meter import Meter, duration, megabytes
from workbench.transfer import Answer, Interrupted, Transfer, opener

PAGE_LIMIT = 1 << 20


def _rest(seconds: float, cancel: Cancel) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if cancel():
            raise Cancelled("The download was cancelled; what has come so far is kept, and a later one continues.")
        time.sleep(min(0.1, max(end - time.monotonic(), 0)))


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class Patience:
    """How long a download is tried: pauses in seconds between tries that brought nothing, and the longest silence.

    ``longest`` is the longest pause a server may ask for; ``rest`` waits, and ``free`` tells a folder's free bytes, of
    which ``reserve`` are left alone.
    """

    pauses: tuple[float, ...] = (1, 4, 15, 40)
    silence: float = 30
    longest: float = 300
    reserve: int = 64 << 20
    rest: Callable[[float, Cancel], None] = _rest
    free: Callable[[Path], int] = _free


@dataclass(frozen=True)
class Order:
    """What to fetch: addresses in the order they are tried, its place, and what is known of it (0 and "" are unknown).

    ``sha256`` may be the first digits alone; ``about`` is a rough size in bytes; ``by_hand`` is where a person gets it.
    """

    name: str
    urls: tuple[str, ...]
    target: Path
    size: int = 0
    sha256: str = ""
    about: int = 0
    by_hand: str = ""


@dataclass(frozen=True)
class Fetched:
    """A file that is there: its place, SHA-256 ("" when it was there before and not read), bytes, and its address.

    ``address`` is None when nothing was fetched because the file was there; ``resumed`` bytes were there from before.
    """

    path: Path
    sha256: str
    size: int
    address: str | None
    resumed: int = 0


class _Again(Exception):
    """This try failed; another may not. ``pause`` is what the server asks for."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class _GiveUp(Exception):
    """This address will not give the file."""


@dataclass(frozen=True)
class _Note:
    """Where a part comes from: its address, the server's mark of the version, and the length of the whole."""

    url: str = ""
    mark: str = ""
    total: int | None = None


def by_hand(wanted: Order) -> str:
    """Where to get the file by hand and where to put it, as the end of a sentence."""
    places = [*wanted.urls, *([wanted.by_hand] if wanted.by_hand else [])]
    where = " or ".join(places) if places else "its authors"
    return f"get it by hand from {where}, and put it to '{wanted.target}'"


class Download:
    """One download while its lock is held."""

    def __init__(self, wanted: Order, progress: Progress, cancel: Cancel, patience: Patience) -> None:
        self.wanted, self.progress, self.cancel, self.patience = wanted, progress, cancel, patience
        self.part = wanted.target.with_name(wanted.target.name + ".part")
        self.note_path = wanted.target.with_name(wanted.target.name + ".part.json")
        self.meter = Meter(progress)
        self.through = opener()
        self.resumed = 0

    def run(self) -> Fetched:
        reasons = []
        for url in self.wanted.urls:
            try:
                return self._from(url)
            except _GiveUp as error:
                reasons.append(f"{urlsplit(url).hostname or url}: {error}")
        kept = f" ({megabytes(self._have())} are kept and a later fetch continues there)" if self._have() else ""
        raise CannotFetch(
            f"'{self.wanted.name}' could not be fetched ({'; '.join(reasons)}){kept}; {by_hand(self.wanted)}."
        )

    def _from(self, url: str) -> Fetched:
        self.resumed = self._have() if self._usable(url) else 0
        for _ in range(2):
            self._complete(url)
            digest, wrong = self._judge()
            if wrong is None:
                return self._finish(url, digest)
            resumed, self.resumed = self.resumed, 0
            self._discard()
            # A part of another version, or one that was damaged on the disk, may be what spoilt it.
            if not resumed:
                break
        raise _GiveUp(f"the file that came {wrong}")

    def _complete(self, url: str) -> None:
        """Try until the part is whole; tries that bring the part further do not count."""
        best, failures = self._have(), 0
        while True:
            try:
                self._once(url)
                return
            except _Again as error:
                reason, pause = str(error), error.pause
            except Interrupted as error:
                reason, pause = _network(error.cause), None
            if self._have() > best:
                best, failures = self._have(), 0
            failures += 1
            if failures > len(self.patience.pauses):
                raise _GiveUp(f"{reason}, {failures} times")
            if pause is not None and pause > self.patience.longest:
                raise _GiveUp(f"{reason} and asks to wait {duration(pause)}")
            pause = max(pause or 0.0, self.patience.pauses[failures - 1])
            self.progress(0.0, f"{reason}; trying again in {duration(pause)}")
            self.patience.rest(pause, self.cancel)

    def _once(self, url: str, follow: str | None = None) -> None:
        """One request; returns when the part is whole."""
        note = self._note()
        # A part from elsewhere stays until better bytes have come.
        offset = self._have() if self._usable(url) else 0
        if offset and offset == note.total:
            return
        self._room((note.total or self.wanted.about) - offset)
        address = follow or notices.direct(url)
        if urlsplit(address).scheme not in ("http", "https"):
            raise _GiveUp("it is no address of the web")
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and note.mark and note.url == url:
            headers["If-Range"] = note.mark
        transfer = Transfer(self.through, address, headers, self.patience.silence)
        try:
            answer = transfer.answer(self.cancel)
            if answer.status >= 400:
                self._quota(transfer)
            start = self._start(answer, offset, note)
            if start is None:
                return
            self._receive(transfer, answer, url, start, follow)
        finally:
            transfer.close()

    def _quota(self, transfer: Transfer) -> None:
        text = next(transfer.pieces(self.cancel), b"")
        if notices.QUOTA.search(text.decode("utf-8", "replace")):
            raise _GiveUp(f"it sent a web page ({notices.page_meaning(text)}) instead of the file")

    def _start(self, answer: Answer, offset: int, note: _Note) -> int | None:
        """Where the body belongs in the file; None when the part is whole already. Raises _Again and _GiveUp."""
        status = answer.status
        if answer.headers.get("content-encoding", "identity") not in ("identity", ""):
            raise _GiveUp("it sends the file packed in a way that was not asked for")
        if status == 206:
            span, _, total = answer.headers.get("content-range", "").removeprefix("bytes ").partition("/")
            first = span.partition("-")[0]
            same = not (note.total and total.isdigit()) or int(total) == note.total
            if first.isdigit() and int(first) == offset and same:
                return offset
            self._discard()
            raise _Again("the server continued at a wrong place")
        if status == 200:
            return 0
        if status == 416:
            if answer.headers.get("content-range", "").removeprefix("bytes */") == str(offset):
                return None
            self._discard()
            raise _Again("the server's file is shorter than the part that was kept")
        if status == 429 or status >= 500:
            what = "is asked too often" if status == 429 else "has a fault of its own"
            raise _Again(f"the server {what} ({status})", _pause(answer.headers.get("retry-after", "")))
        meaning = {401: "wants a password", 403: "refuses it", 404: "does not have it", 410: "no longer has it"}
        raise _GiveUp(f"the server {meaning.get(status, 'answers with a status that is no file')} ({status})")

    def _receive(self, transfer: Transfer, answer: Answer, url: str, start: int, follow: str | None) -> None:
        total = self._total(answer, start)
        pieces = transfer.pieces(self.cancel)
        head = b""
        if not start:
            # The old part is worth keeping until the new bytes are known to be no web page.
            while len(head) < 512 and (piece := next(pieces, b"")):
                head += piece
            if notices.is_page(head):
                while len(head) < PAGE_LIMIT and (piece := next(pieces, b"")):
                    head += piece
                self._page(url, head, answer.address, follow)
                return
        if self.wanted.size and total not in (None, self.wanted.size):
            raise _GiveUp(f"the server's file has {total:,} bytes and should have {self.wanted.size:,}")
        self._room((total or self.wanted.about) - start)
        if not start:
            self.resumed = 0
            self._discard()
            self._write_note(_Note(url, _mark(answer), total))
        done = start
        self.meter.start(done)
        with open(self.part, "ab", buffering=0) as file:
            for piece in chain([head], pieces):
                done = self._write(file, piece, done, total)
            os.fsync(file.fileno())
        if total is not None and done < total:
            raise _Again(f"the connection broke off after {megabytes(done)}")

    def _total(self, answer: Answer, start: int) -> int | None:
        told = answer.headers.get("content-range", "").rpartition("/")[2]
        if start and told.isdigit():
            return int(told)
        return (self.wanted.size or None) if answer.length is None else start + answer.length

    def _write(self, file: io.FileIO, piece: bytes, done: int, total: int | None) -> int:
        view = memoryview(piece)
        try:
            while view:
                count = file.write(view) or 0
                view, done = view[count:], done + count
        except OSError as error:
            raise CannotWrite(
                f"'{self.part}' could not be written ({error.strerror}); {megabytes(self._have())} are kept, and a "
                "later fetch continues there."
            ) from error
        if self.wanted.size and done > self.wanted.size:
            self._discard()
            raise _GiveUp(f"the server sends more than the {self.wanted.size:,} bytes of the file")
        self.meter.count(done, total)
        return done

    def _page(self, url: str, page: bytes, address: str, follow: str | None) -> None:
        """A page came where the file should: confirm a virus scan as the user would, once; anything else is a refusal."""
        onward = notices.confirmation(page, address)
        if onward is None or follow is not None:
            raise _GiveUp(f"it sent a web page ({notices.page_meaning(page)}) instead of the file")
        self._once(url, onward)

    def _room(self, needed: int) -> None:
        free = self.patience.free(self.part.parent)
        if free < needed + self.patience.reserve:
            raise CannotWrite(
                f"'{self.wanted.name}' needs {megabytes(max(needed, 0))} more on the disk of '{self.part.parent}', where "
                f"{megabytes(free)} are free; make room or choose another folder."
            )

    def _judge(self) -> tuple[str, str | None]:
        """SHA-256 of the part, and what is wrong with it."""
        size = self._have()
        self.progress(1.0, f"checking {megabytes(size)}")
        if self.wanted.size and size != self.wanted.size:
            return "", f"has {size:,} bytes and should have {self.wanted.size:,}"
        with self.part.open("rb") as file:
            head = file.read(notices.HEAD)
        wrong = notices.no_weights(head)
        if wrong:
            return "", wrong.partition(";")[0]
        if head.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(self.part):
            return "", "is incomplete"
        digest = sha256(self.part, self._stop_here)
        if not digest.startswith(self.wanted.sha256):
            return "", f"has the SHA-256 {digest[:12]}… where {self.wanted.sha256[:12]}… is recorded"
        return digest, None

    def _stop_here(self) -> None:
        if self.cancel():
            raise Cancelled("The download was cancelled; what has come so far is kept, and a later one continues.")

    def _finish(self, url: str, digest: str) -> Fetched:
        os.replace(self.part, self.wanted.target)
        self.note_path.unlink(missing_ok=True)
        seen.remember(self.wanted.target, digest, source=url)
        return Fetched(self.wanted.target, digest, self.wanted.target.stat().st_size, url, self.resumed)

    # the part and its note

    def _have(self) -> int:
        try:
            return self.part.stat().st_size
        except FileNotFoundError:
            return 0

    def _usable(self, url: str) -> bool:
        """Whether the part can be continued from ``url``: it came from there, or a SHA-256 will tell."""
        return self._note().url == url or len(self.wanted.sha256) >= 8

    def _note(self) -> _Note:
        try:
            return _Note(**json.loads(self.note_path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return _Note()

    def _write_note(self, note: _Note) -> None:
        self.note_path.write_text(json.dumps(asdict(note)), "utf-8")

    def _discard(self) -> None:
        for path in (self.part, self.note_path):
            path.unlink(missing_ok=True)


def _mark(answer: Answer) -> str:
    """What ``If-Range`` may name: a strong ETag, or the date."""
    tag = answer.headers.get("etag", "")
    return tag if tag.startswith('"') else answer.headers.get("last-modified", "")


def _network(error: BaseException) -> str:
    """What network trouble means, where another try may help. Raises _GiveUp where it will not."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, socket.gaierror):
        raise _GiveUp("the address cannot be looked up, this computer may be offline")
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise _GiveUp("its certificate is not valid")
    if isinstance(reason, TimeoutError):
        return "the server went silent"
    if isinstance(reason, ConnectionRefusedError):
        return "the server is not there"
    if isinstance(reason, http.client.IncompleteRead | ConnectionError):
        return "the connection broke off"
    return f"the connection failed ({' '.join(str(reason).split())[:100] or type(reason).__name__})"


def _pause(told: str) -> float | None:
    """Seconds that a Retry-After header asks for; None when there is none that can be read."""
    if told.isascii() and told.isdigit():
        return float(told)
    with contextlib.suppress(ValueError, TypeError):
        return max(parsedate_to_datetime(told).timestamp() - time.time(), 0.0)
    return None
