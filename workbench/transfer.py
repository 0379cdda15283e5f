"""One HTTP request whose reader runs in a thread of its own, so that a stalled server never holds up a cancel."""

from __future__ import annotations

import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import IO, Any
from urllib.parse import urlsplit

from workbench.editor import Cancel
from workbench.errors import Cancelled

PIECE = 1 << 18
AGENT = "facet-weights/1"


@dataclass(frozen=True)
class Answer:
    """Status, final address and headers (names in lower case) of a response; an error status is an answer, too."""

    status: int
    address: str
    headers: Mapping[str, str]

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the server says so."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isascii() and told.isdigit() else None


class Interrupted(Exception):
    """The network failed; ``cause`` says how."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.cause = cause


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web only, and never from an encrypted address to an open one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        new = urlsplit(newurl).scheme
        if new not in ("http", "https") or (new == "http" and req.type == "https"):
            raise urllib.error.HTTPError(newurl, code, f"redirects to an unsafe address ({new})", headers, None)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def opener() -> urllib.request.OpenerDirector:
    """Opens web addresses; cookies live as long as it does (Google Drive's confirmation needs them)."""
    return urllib.request.build_opener(_Redirects(), urllib.request.HTTPCookieProcessor(CookieJar()))


class Transfer:
    """A request that has been sent. Network trouble is raised as Interrupted where it is waited for.

    ``timeout`` is the longest silence of the server in seconds. Close it when done; a closed one ends by itself.
    """

    def __init__(
        self, through: urllib.request.OpenerDirector, address: str, headers: Mapping[str, str], timeout: float
    ) -> None:
        self._request = urllib.request.Request(
            address, headers={"User-Agent": AGENT, "Accept-Encoding": "identity", **headers}
        )
        self._through, self._timeout = through, timeout
        self._queue: queue.Queue[Answer | bytes | BaseException] = queue.Queue(maxsize=16)
        self._closed = threading.Event()
        threading.Thread(target=self._read, name="facet-transfer", daemon=True).start()

    def answer(self, cancel: Cancel) -> Answer:
        """Wait for the response's head. Raises Cancelled."""
        item = self._next(cancel)
        if not isinstance(item, Answer):
            raise Interrupted(ConnectionError("a body without a head"))
        return item

    def pieces(self, cancel: Cancel) -> Iterator[bytes]:
        """The body as it comes, in pieces of at most ``PIECE`` bytes. Raises Cancelled."""
        while isinstance(piece := self._next(cancel), bytes) and piece:
            yield piece

    def close(self) -> None:
        """Tell the reader to stop."""
        self._closed.set()

    def _next(self, cancel: Cancel) -> Answer | bytes:
        while True:
            if cancel():
                self.close()
                raise Cancelled("The download was cancelled; what has come so far is kept, and a later one continues.")
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            if isinstance(item, BaseException):
                raise Interrupted(item)
            return item

    def _read(self) -> None:
        try:
            try:
                response = self._through.open(self._request, timeout=self._timeout)
            except urllib.error.HTTPError as error:
                response = error
            with response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                self._put(Answer(response.status or 0, response.url, headers))
                while not self._closed.is_set():
                    piece = response.read1(PIECE)
                    self._put(piece)
                    if not piece:
                        return
        except Exception as error:  # every kind of network trouble, for whoever waits
            self._put(error)

    def _put(self, item: Answer | bytes | BaseException) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return
            except queue.Full:
                continue
