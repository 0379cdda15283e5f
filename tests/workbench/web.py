"""A small real web server on loopback that does what servers do to people who download large files."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behaviour = Callable[["Visit"], None]


class Visit(BaseHTTPRequestHandler):
    """One request. ``web`` is the server it came to."""

    protocol_version = "HTTP/1.1"
    web: Web

    def do_GET(self) -> None:
        self.web.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        plan = self.web.plans.get(self.path.partition("?")[0])
        if plan is None:
            self.reply(404, b"no such file")
            return
        step = plan.pop(0) if len(plan) > 1 else plan[0]
        step(self)

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def offset(self) -> int:
        """First byte that the visitor asks for."""
        return int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def log_message(self, format: str, *args: object) -> None:
        pass


class Web:
    """``plans`` says for each path what happens at the first, second, … request; the last is repeated."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.plans: dict[str, list[Behaviour]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.released = threading.Event()

    def put(self, path: str, *steps: Behaviour) -> str:
        """Serve ``path`` so; returns its address."""
        self.plans[path] = list(steps)
        return self.address + path

    def ranges(self) -> list[str | None]:
        """The Range headers of all requests so far."""
        return [headers.get("range") for _, headers in self.requests]


@contextmanager
def serving() -> Iterator[Web]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Visit)
    server.daemon_threads = True
    web = Web(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("BoundVisit", (Visit,), {"web": web})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        web.released.set()
        server.shutdown()
        server.server_close()


def whole(data: bytes, *, ranges: bool = True, tag: bool = True) -> Behaviour:
    """Serves ``data``, with Range and If-Range as the standard has them, or ignoring Range."""
    mark = f'"{hashlib.md5(data).hexdigest()}"'

    def step(visit: Visit) -> None:
        start = visit.offset() if ranges and visit.headers.get("If-Range", mark) == mark else 0
        named = {"ETag": mark} if tag else {}
        if start >= len(data) > 0 and "Range" in visit.headers and ranges:
            visit.reply(416, b"", Content_Range=f"bytes */{len(data)}")
        elif start:
            visit.reply(206, data[start:], Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}", **named)
        else:
            visit.reply(200, data, **named)

    return step


def cut(data: bytes, count: int, *, tag: bool = True) -> Behaviour:
    """Promises everything from the asked byte on, sends ``count`` bytes of it and hangs up."""
    mark = f'"{hashlib.md5(data).hexdigest()}"'

    def step(visit: Visit) -> None:
        start = visit.offset()
        visit.send_response(206 if start else 200)
        if start:
            visit.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        if tag:
            visit.send_header("ETag", mark)
        visit.send_header("Content-Length", str(len(data) - start))
        visit.end_headers()
        visit.wfile.write(data[start : start + count])
        visit.wfile.flush()
        visit.close_connection = True

    return step


def stall(data: bytes, count: int) -> Behaviour:
    """Promises ``data``, sends ``count`` bytes and says nothing more until the server ends."""

    def step(visit: Visit) -> None:
        visit.send_response(200)
        visit.send_header("Content-Length", str(len(data)))
        visit.end_headers()
        visit.wfile.write(data[:count])
        visit.wfile.flush()
        visit.web.released.wait(30)
        visit.close_connection = True

    return step


def status(code: int, body: bytes = b"", **headers: str) -> Behaviour:
    """Answers with ``code``."""
    return lambda visit: visit.reply(code, body, **headers)


def page(text: str, code: int = 200) -> Behaviour:
    """Answers with a web page."""
    return lambda visit: visit.reply(code, text.encode(), Content_Type="text/html; charset=utf-8")


def redirect(address: str, code: int = 302) -> Behaviour:
    """Sends the visitor on."""
    return lambda visit: visit.reply(code, b"", Location=address)


def without_length(data: bytes) -> Behaviour:
    """Serves ``data`` without saying how long it is, until it hangs up."""

    def step(visit: Visit) -> None:
        visit.send_response(200)
        visit.send_header("Connection", "close")
        visit.end_headers()
        visit.wfile.write(data)
        visit.close_connection = True

    return step


def chunked(data: bytes, *, complete: bool = True) -> Behaviour:
    """Serves ``data`` in chunks of unsaid number; an incomplete one hangs up before the last."""

    def step(visit: Visit) -> None:
        visit.send_response(200)
        visit.send_header("Transfer-Encoding", "chunked")
        visit.end_headers()
        for start in range(0, len(data), 5000):
            piece = data[start : start + 5000]
            visit.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        if complete:
            visit.wfile.write(b"0\r\n\r\n")
        visit.wfile.flush()
        visit.close_connection = not complete

    return step
