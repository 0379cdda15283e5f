"""Generated faces with their w, read from any of the published folders or from our shard; written safely.

A shard is a folder with ``shard.json`` and blocks ``block-00000.safetensors`` of up to 1,000 faces: ``w`` (n,512) fp16,
``png`` all pictures' bytes in a row, ``ends`` where each ends.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from data.swap_layouts import NITZAN, ROICH, YUGONG_EVALUATION, Layout, indices, sizes
from workbench.errors import BadImage, CannotWrite

ABOUT = "shard.json"
BLOCK = 1000


class SwapSet(Protocol):
    """Faces by position 0 ... len - 1."""

    def __len__(self) -> int: ...

    def image(self, at: int) -> np.ndarray:
        """Picture (S,S,3) uint8 RGB."""
        ...

    def w(self, at: int) -> np.ndarray:
        """Its w, (512,) float32: of a w with all rows the first, the truncated one."""
        ...


def png(image: np.ndarray) -> bytes:
    """``image`` (H,W,3) uint8 as an 8-bit RGB PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, data: bytes) -> None:
    """Write whole or not at all. Raises CannotWrite."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise CannotWrite(
            f"'{path}' could not be written ({error.strerror}); free some space and start again."
        ) from error


def _picture(data: bytes, name: str) -> np.ndarray:
    try:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except OSError as error:
        raise BadImage(f"'{name}' is no readable picture ({error}); delete it and make the data set again.") from error


class FolderSet:
    """A set in one of the published layouts."""

    def __init__(self, root: Path, layout: Layout, size: int) -> None:
        self.root, self.layout, self.size = root, layout, size
        self.indices: Sequence[int] = indices(root, layout, size)

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, at: int) -> np.ndarray:
        path = self.root / self.layout.image_of(self.indices[at], self.size)
        return _picture(path.read_bytes(), str(path))

    def w(self, at: int) -> np.ndarray:
        path = self.root / self.layout.w_of(self.indices[at], self.size)
        try:
            stored = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadImage(f"'{path}' holds no w ({error}); delete it and make the data set again.") from error
        return np.asarray(stored.reshape(-1, stored.shape[-1])[0], np.float32)


class ShardSet:
    """Our shard. All w are in memory (1 kB each), pictures are read when asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = sorted(p for p in root.glob("block-*.safetensors") if re.fullmatch(r"block-\d+", p.stem))
        parts, self.ends = [], []
        for path in self.files:
            try:
                with safe_open(str(path), framework="np") as file:
                    parts.append(file.get_tensor("w"))
                    self.ends.append(file.get_tensor("ends"))
            except (SafetensorError, OSError) as error:
                raise BadImage(f"'{path}' is damaged ({error}); delete it and make the data set again.") from error
        self.all_w = np.concatenate(parts) if parts else np.zeros((0, 512), np.float16)
        self.starts = np.cumsum([0, *(len(part) for part in parts)])

    def __len__(self) -> int:
        return len(self.all_w)

    def image(self, at: int) -> np.ndarray:
        block = int(np.searchsorted(self.starts, at, "right")) - 1
        row = at - int(self.starts[block])
        start = int(self.ends[block][row - 1]) if row else 0
        with safe_open(str(self.files[block]), framework="np") as file:
            data = file.get_slice("png")[start : int(self.ends[block][row])]
        return _picture(data.tobytes(), f"{self.files[block]}, row {row}")

    def w(self, at: int) -> np.ndarray:
        return np.asarray(self.all_w[at], np.float32)


def block_file(root: Path, block: int) -> Path:
    """The file of block ``block``."""
    return root / f"block-{block:05d}.safetensors"


def write_block(root: Path, block: int, codes: np.ndarray, pictures: Sequence[bytes]) -> int:
    """Write ``codes`` (n,512) and the PNGs of one block; returns the bytes written."""
    tensors = {
        "w": torch.from_numpy(codes.astype(np.float16)),
        "png": torch.frombuffer(bytearray(b"".join(pictures)), dtype=torch.uint8),
        "ends": torch.from_numpy(np.cumsum([len(p) for p in pictures]).astype(np.int64)),
    }
    data = save(tensors)
    write(block_file(root, block), data)
    return len(data)


def write_about(root: Path, about: Mapping[str, Any]) -> None:
    """Say in ``shard.json`` what is in the set (also beside the published layouts)."""
    write(root / ABOUT, json.dumps(about, indent=1, sort_keys=True).encode())


def read_about(root: Path) -> dict[str, Any] | None:
    """What ``shard.json`` says, or None."""
    try:
        body = json.loads((root / ABOUT).read_text())
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None


def open_set(root: Path | str) -> FolderSet | ShardSet:
    """The generated set below ``root``, whichever layout it has. Raises BadImage when there is none."""
    root = Path(root)
    if any(root.glob("block-*.safetensors")):
        return ShardSet(root)
    for size in reversed(sizes(root)):
        found = FolderSet(root, NITZAN, size)
        if len(found):
            return found
    for layout in (ROICH, YUGONG_EVALUATION):
        found = FolderSet(root, layout, 0)
        if len(found):
            return found
    raise BadImage(f"'{root}' holds no generated faces; make some with 'cli.py make-dataset --out {root}'.")
