"""Opens a weights file of any known container and gives what is in it, checked against the bytes that are there.

Containers: torch's zip, torch's format before 1.6, a bare pickle, safetensors, and Keras' HDF5. Tensors are read when
they are asked for, each one alone.
"""

from __future__ import annotations

import json
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from workbench import notices
from workbench.errors import BadCheckpoint, MissingWeights
from workbench.official.pickled import MAX_BYTES, STORAGES, Damaged, Machine, Refused, Storage, View, view

Container = Literal["zip", "legacy", "pickle", "safetensors", "keras"]
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
HDF5 = b"\x89HDF\r\n\x1a\n"
ARCHIVES = {b"\x1f\x8b": "gzip", b"7z\xbc\xaf": "7z", b"Rar!": "RAR", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
SAFE_DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
AGAIN = "fetch or copy it again"
ASK = "it is not opened, ask its author for a plain table of weights (a state dict)"
MAX_HEADER = 64 * 2**20
MAX_RECORDS = 200_000


@dataclass(frozen=True)
class Run:
    """Where the bytes of a storage lie in the file. ``crc`` is the zip's checksum of them."""

    start: int
    size: int
    crc: int | None = None


@dataclass(frozen=True, eq=False)
class Opened:
    """A weights file: ``body`` is what its pickle or header says, with Views in place of tensors.

    ``metadata`` is the text header of a safetensors file. ``arrays`` are those of a Keras file, by name.
    """

    path: Path
    size: int
    container: Container
    body: Any
    runs: Mapping[str, Run] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self, wanted: Mapping[str, View], *, lazy: bool = False) -> dict[str, Tensor]:
        """The tensors of ``wanted``, each with memory of its own; ``lazy`` ones are pages of the file, read at first use.

        Writing to a lazy tensor leaves the file alone. Raises BadCheckpoint when the file changed since it was opened,
        or when its checksums say that it is damaged.
        """
        if self.container == "keras":
            return {name: self.arrays[v.storage.key] for name, v in wanted.items()}
        try:
            with self.path.open("rb") as file:
                if self.path.stat().st_size != self.size:
                    raise Damaged("it changed while it was read")
                if lazy:
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
                    return {name: self._page(mapped, v) for name, v in wanted.items()}
                return self._copies(file, wanted)
        except (Damaged, OSError, ValueError, RuntimeError) as error:
            raise BadCheckpoint(f"'{self.path}' cannot be read: {_advised(error, AGAIN)}.") from error

    def _copies(self, file: BufferedReader, wanted: Mapping[str, View]) -> dict[str, Tensor]:
        """Storage by storage, each read once and checked against its sum."""
        users: dict[str, list[str]] = {}
        for name, v in wanted.items():
            users.setdefault(v.storage.key, []).append(name)
        made: dict[str, Tensor] = {}
        wrong = 0
        for key, names in users.items():
            run = self.runs[key]
            raw = torch.empty(run.size, dtype=torch.uint8)
            file.seek(run.start)
            if file.readinto(raw.numpy().data) != run.size:
                raise Damaged("it is cut off")
            wrong += run.crc is not None and zlib.crc32(raw.numpy().data) != run.crc
            for name in names:
                made[name] = _cut(raw, wanted[name], alone=len(names) == 1)
        # torch can be told to write no checksums; then none of them is right.
        if 0 < wrong < len(users) or (wrong and len(users) == 1):
            raise Damaged(f"{wrong} of its {len(users)} blocks of numbers are damaged (checksum)")
        return {name: made[name] for name in wanted}

    def _page(self, mapped: mmap.mmap, v: View) -> Tensor:
        reach = 1 + sum((n - 1) * step for n, step in zip(v.shape, v.stride, strict=True))
        dtype = v.storage.dtype
        start = self.runs[v.storage.key].start + v.offset * dtype.itemsize
        if not v.count:
            return torch.empty(v.shape, dtype=dtype)
        if dtype == torch.bool or start % dtype.itemsize:
            raw = torch.frombuffer(bytearray(mapped[start : start + reach * dtype.itemsize]), dtype=torch.uint8)
            raw = (raw != 0) if dtype == torch.bool else raw
            return raw.view(dtype).as_strided(v.shape, v.stride).contiguous()
        return torch.frombuffer(mapped, dtype=dtype, count=reach, offset=start).as_strided(v.shape, v.stride)


def _cut(raw: Tensor, v: View, *, alone: bool) -> Tensor:
    """The tensor ``v`` out of the bytes of its storage, with memory of its own unless it is ``alone`` there."""
    if not v.count:
        return torch.empty(v.shape, dtype=v.storage.dtype)
    numbers = raw[: v.storage.count * v.storage.dtype.itemsize]
    numbers = numbers != 0 if v.storage.dtype == torch.bool else numbers.view(v.storage.dtype)
    found = numbers.as_strided(v.shape, v.stride, v.offset)
    return found.contiguous() if alone and v.count == v.storage.count else found.contiguous().clone()


def open_file(path: Path | str) -> Opened:
    """What is in the weights file ``path``, without its numbers. Raises MissingWeights and BadCheckpoint."""
    path = Path(path)
    if path.is_dir():
        raise BadCheckpoint(f"'{path}' is a folder, not a weights file; give the file itself.")
    if not path.is_file():
        raise MissingWeights(f"The weights file '{path}' is not there.")
    try:
        return _open(path, path.stat().st_size)
    except Refused as error:
        raise BadCheckpoint(f"'{path}' is refused: {_advised(error, ASK)}.") from error
    except (Damaged, OSError, EOFError, RecursionError) as error:
        raise BadCheckpoint(f"'{path}' cannot be read: {_advised(error, AGAIN)}.") from error


def _advised(error: Exception, advice: str) -> str:
    """The error in words, with advice unless it brings its own."""
    reason = " ".join(str(error).split())[:400]
    return reason if ";" in reason else f"{reason}; {advice}"


def _open(path: Path, size: int) -> Opened:
    if size == 0:
        raise Damaged("it is empty (0 bytes)")
    with path.open("rb") as file:
        head = file.read(4096)
    _look_for_text(head)
    if head.startswith(b"PK\x03\x04"):
        return _zip(path, size)
    if head.startswith(LEGACY):
        return _legacy(path, size)
    if head.startswith(HDF5):
        from workbench.official.keras import arrays

        found = arrays(path)
        views = {name: whole(name, value) for name, value in found.items()}
        return Opened(path, size, "keras", views, arrays=found)
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        if size > MAX_BYTES:
            raise Damaged("it is a bare pickle, too large for a table of weights")
        return Opened(path, size, "pickle", Machine(path.read_bytes()).run())
    if size > 8 and head[8:9] == b"{":
        return _safetensors(path, size)
    for magic, name in ARCHIVES.items():
        if head.startswith(magic):
            raise Damaged(f"it is a {name} archive; unpack it and give the file inside")
    raise Damaged("it is no kind of weights file that is known here (torch, safetensors, Keras)")


def whole(name: str, value: Tensor) -> View:
    """A View over all of ``value``, which is kept under ``name``."""
    return View(Storage(name, value.dtype, value.numel()), 0, tuple(value.shape), tuple(value.stride()))


def _look_for_text(head: bytes) -> None:
    pointer = notices.lfs_pointer(head)
    if pointer:
        raise Damaged(f"it is {pointer}; download the file itself (git lfs pull)")
    if notices.is_page(head):
        raise Damaged(f"it is a web page ({notices.page_meaning(head)}), not weights; the download has to be repeated")


def _storage(runs: Mapping[str, Run], known: dict[str, Storage]) -> Callable[[Any], Storage]:
    """Reads the persistent ids of torch's zip format, whose storages are ``runs``."""

    def read(value: Any) -> Storage:
        if not isinstance(value, tuple) or len(value) < 5 or value[0] != "storage" or not isinstance(value[2], str):
            raise Damaged("a storage is described by too little")
        dtype, key, count = STORAGES.get(getattr(value[1], "full", "")), value[2], value[4]
        if dtype is None or isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise Damaged("a storage is of no known type")
        if key not in runs or count * dtype.itemsize > runs[key].size:
            raise Damaged("it is incomplete, numbers are missing")
        return known.setdefault(key, Storage(key, dtype, count))

    return read


def _zip(path: Path, size: int) -> Opened:
    records = _records(path, size)
    names = [name for name in records if name.endswith("/data.pkl") or name == "data.pkl"]
    if any("/code/" in name for name in records):
        raise Refused("it is a TorchScript program, which is code and no table of weights")
    if len(names) != 1:
        raise Damaged("it is a zip archive, but not one that torch wrote")
    root = names[0].removesuffix("data.pkl")
    with path.open("rb") as file:
        order = _bytes(file, records.get(f"{root}byteorder"), 16)
        if order not in (b"", b"little"):
            raise Damaged("it was written on a machine with another order of bytes")
        body = _bytes(file, records[names[0]], MAX_BYTES)
    if zlib.crc32(body) != records[names[0]].crc:
        # torch writes a stand-in instead of a sum when it is told to; then it is the same for its other records.
        others = [r for n, r in records.items() if n.endswith(("/version", "/byteorder"))]
        with path.open("rb") as file:
            if any(zlib.crc32(_bytes(file, r, 64)) == r.crc for r in others):
                raise Damaged("its table of contents is damaged (checksum)")
    prefix = f"{root}data/"
    runs = {name.removeprefix(prefix): run for name, run in records.items() if name.startswith(prefix)}
    return Opened(path, size, "zip", Machine(body, storage=_storage(runs, {})).run(), runs)


def _bytes(file: BufferedReader, run: Run | None, limit: int) -> bytes:
    if run is None:
        return b""
    if run.size > limit:
        raise Damaged("its table of contents is too large for a table of weights")
    file.seek(run.start)
    return file.read(run.size)


def _records(path: Path, size: int) -> dict[str, Run]:
    """The members of a zip: stored plainly, inside the file, together no larger than it."""
    records: dict[str, Run] = {}
    total = 0
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            if len(archive.infolist()) > MAX_RECORDS:
                raise Damaged("it has too many parts for a table of weights")
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
                    raise Damaged("it is a compressed archive, which torch never writes; unpack it and look inside")
                file.seek(info.header_offset)
                local = file.read(30)
                if len(local) < 30 or local[:4] != b"PK\x03\x04" or info.flag_bits & 1:
                    raise Damaged("its list of parts does not fit its parts")
                name, extra = struct.unpack("<HH", local[26:30])
                start = info.header_offset + 30 + name + extra
                total += info.file_size
                if start + info.file_size > size or total > size:
                    raise Damaged("it is incomplete or damaged, its parts are larger than the file")
                if info.filename in records:
                    raise Damaged("it has two parts of one name")
                records[info.filename] = Run(start, info.file_size, info.CRC)
    except zipfile.BadZipFile as error:
        raise Damaged("it is incomplete, the end of the file is missing") from error
    except (NotImplementedError, ValueError, OverflowError, struct.error, UnicodeError, IndexError) as error:
        raise Damaged("its list of parts is damaged") from error
    return records


def _legacy(path: Path, size: int) -> Opened:
    """torch's format before 1.6: five pickles in a row, then the storages."""
    with path.open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    at = 0
    for _ in range(3):
        machine = Machine(data, at)
        machine.run()
        at = machine.end
    known: dict[str, Storage] = {}

    def read(value: Any) -> Storage:
        if isinstance(value, tuple) and value[:1] == ("module",):
            raise Refused(
                "it is a whole network pickled in torch's format before 1.6, which cannot be read safely; load it once "
                "where its code is and save it again with a newer torch, best as a state dict"
            )
        if not isinstance(value, tuple) or len(value) < 5 or value[0] != "storage" or not isinstance(value[2], str):
            raise Damaged("a storage is described by too little")
        if len(value) > 5 and value[5] is not None:
            raise Damaged("a storage is a part of another, as no torch of the last ten years writes it")
        dtype, key, count = STORAGES.get(getattr(value[1], "full", "")), value[2], value[4]
        if (
            dtype is None
            or isinstance(count, bool)
            or not isinstance(count, int)
            or not 0 <= count * dtype.itemsize <= size
        ):
            raise Damaged("a storage is of no known type, or larger than the file")
        return known.setdefault(key, Storage(key, dtype, count))

    machine = Machine(data, at, read)
    body = machine.run()
    machine = Machine(data, machine.end)
    keys = machine.run()
    at = machine.end
    if not isinstance(keys, list) or any(not isinstance(k, str) for k in keys) or set(keys) != set(known):
        raise Damaged("its list of storages does not fit its tensors")
    runs: dict[str, Run] = {}
    for key in keys:
        storage = known[key]
        length = storage.count * storage.dtype.itemsize
        if at + 8 + length > size or struct.unpack("<q", data[at : at + 8])[0] != storage.count:
            raise Damaged("it is incomplete or damaged, numbers are missing")
        runs[key] = Run(at + 8, length)
        at += 8 + length
    return Opened(path, size, "legacy", body, runs)


def _safetensors(path: Path, size: int) -> Opened:
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8))[0]
        if not 2 <= length <= min(size - 8, MAX_HEADER):
            raise Damaged("it is incomplete or damaged, its header is larger than the file")
        text = file.read(length)
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damaged("its header is damaged") from error
    if not isinstance(header, dict):
        raise Damaged("its header is damaged")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
        raise Damaged("its header is damaged")
    runs: dict[str, Run] = {}
    body: dict[str, View] = {}
    for name, entry in header.items():
        try:
            dtype, shape, (start, end) = SAFE_DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        except (KeyError, TypeError, ValueError) as error:
            raise Damaged("its header describes a tensor by too little") from error
        stride = _strides(shape)
        whole = all(isinstance(v, int) and not isinstance(v, bool) and v >= 0 for v in (start, end))
        if not whole or end > size - 8 - length or start > end:
            raise Damaged("it is incomplete, its numbers end before its header says")
        found = view(Storage(name, dtype, (end - start) // dtype.itemsize), 0, tuple(shape), stride)
        if found.count * dtype.itemsize != end - start:
            raise Damaged("a tensor has not as many numbers as its header says")
        runs[name] = Run(8 + length + start, end - start)
        body[name] = found
    if sum(run.size for run in runs.values()) > size:
        raise Damaged("its tensors are larger than the file")
    return Opened(path, size, "safetensors", body, runs, metadata)


def _strides(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or len(shape) > 16 or not all(type(n) is int and 0 <= n <= 2**48 for n in shape):
        raise Damaged("a tensor's shape is no list of numbers")
    strides, step = [], 1
    for side in reversed(shape):
        strides.append(step)
        step *= max(side, 1)
    if step > 2**48:
        raise Damaged("a tensor is larger than the file")
    return tuple(reversed(strides))
