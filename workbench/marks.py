"""XMP packets in moving pictures, where no library puts them: an application block of a GIF, a box of an MP4.

GIF and ISO base media places: XMP specification part 3 (ISO 16684-1 annex), sections on GIF and MPEG-4.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

HEAD = b"\x21\xff\x0bXMP DataXMP"
LOOP = b"\x21\xff\x0bNETSCAPE2.0"
# A reader that takes the packet's bytes for block lengths lands somewhere in this ramp and falls out at its end.
TRAILER = b"\x01" + bytes(range(255, -1, -1)) + b"\x00"
BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
MOST = 1 << 20
"""Bytes: no packet of ours comes near, and a damaged length must not fill the memory."""


def gif_with(data: bytes, packet: bytes) -> bytes:
    """The GIF ``data`` with the XMP ``packet`` in it, behind the block that makes it loop. Raises ValueError for another file."""
    at = _after_screen(data)
    if data.startswith(LOOP, at):
        at = _after_blocks(data, at + len(LOOP))
    return data[:at] + HEAD + packet + TRAILER + data[at:]


def gif_packet(data: bytes) -> bytes | None:
    """The XMP packet of the GIF ``data``; None without one, or for anything that is no whole GIF."""
    try:
        at = _after_screen(data)
        while data[at] != 0x3B:
            if data.startswith(HEAD, at):
                start = at + len(HEAD)
                end = data.index(TRAILER, start)
                return data[start:end] if end - start <= MOST else None
            at = _after_extension(data, at) if data[at] == 0x21 else _after_picture(data, at)
    except (ValueError, IndexError):
        pass
    return None


def _after_screen(data: bytes) -> int:
    if data[:6] not in (b"GIF87a", b"GIF89a") or len(data) < 13:
        raise ValueError("no GIF")
    return 13 + _palette(data[10])


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    return at + 1


def _after_extension(data: bytes, at: int) -> int:
    return _after_blocks(data, at + 2)


def _after_picture(data: bytes, at: int) -> int:
    if data[at] != 0x2C:
        raise ValueError("no block of a GIF")
    return _after_blocks(data, at + 10 + _palette(data[at + 9]) + 1)


def mark_mp4(path: Path, packet: bytes) -> None:
    """Append the XMP ``packet`` as a box to the MP4 ``path``, in place. Raises OSError, and ValueError for another file."""
    with path.open("r+b") as file:
        boxes = list(_boxes(file.fileno()))
        if not boxes or boxes[0][1] != b"ftyp":
            raise ValueError(f"'{path}' is no MP4")
        start, _, size, header = boxes[-1]
        total = os.fstat(file.fileno()).st_size
        if start + size != total:
            raise ValueError(f"'{path}' is cut off")
        if header == 0:  # a last box that says "to the end of the file" would swallow what follows
            if size >= 1 << 32:
                raise ValueError(f"'{path}' ends in an open box")
            file.seek(start)
            file.write(struct.pack(">I", size))
        file.seek(total)
        file.write(struct.pack(">I", 24 + len(packet)) + b"uuid" + BOX + packet)


def mp4_packet(path: Path) -> bytes | None:
    """The XMP packet of the MP4 ``path``; None without one, or for another file. Only the heads of boxes are read."""
    try:
        with path.open("rb") as file:
            for start, kind, size, _ in _boxes(file.fileno()):
                if kind == b"uuid" and 24 <= size <= MOST and os.pread(file.fileno(), 16, start + 8) == BOX:
                    return os.pread(file.fileno(), size - 24, start + 24)
    except OSError:
        pass
    return None


def _boxes(handle: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Start, kind, real size and written size of every outer box; ends where the file stops being one."""
    at, total = 0, os.fstat(handle).st_size
    while at + 8 <= total:
        written, kind = struct.unpack(">I4s", os.pread(handle, 8, at))
        size = written
        if written == 1:
            (size,) = struct.unpack(">Q", os.pread(handle, 8, at + 8).ljust(8, b"\0"))
        elif written == 0:
            size = total - at
        if size < 8:
            return
        yield at, kind, size, written
        at += size
