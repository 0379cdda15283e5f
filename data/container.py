"""Our weights file: safetensors with one JSON header entry that says what the tensors are.

The header (key ``facet`` of the safetensors metadata) holds ``kind`` (which class), ``arch`` (its constructor
arguments), ``id`` (a short hash of the tensors) and free provenance: licence, data, steps, metrics, and for
everything bound to a latent space ``generator``, the id of the generator it belongs to.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from workbench.errors import BadCheckpoint, CannotWrite, MissingWeights

KEY = "facet"


def state_id(state: Mapping[str, Tensor]) -> str:
    """First 12 hex digits of the SHA-256 over names, types, shapes and bytes of ``state``."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:12]


def save(path: Path | str, state: Mapping[str, Tensor], header: Mapping[str, Any], *, half: bool = True) -> str:
    """Write ``state`` (floats as fp16 when ``half``) with ``header`` atomically to ``path``; returns the id.

    Raises CannotWrite; an older file at ``path`` is then still whole.
    """
    path = Path(path)
    tensors = {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu()
        if half and torch.is_floating_point(tensor):
            tensor = tensor.half()
        tensors[name] = tensor.contiguous().clone()
    body = {**header, "id": state_id(tensors)}
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        save_file(tensors, temporary, metadata={KEY: json.dumps(body, sort_keys=True)})
        os.chmod(temporary, 0o644)  # a temporary file is private; a weights file is not
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        raise CannotWrite(
            f"'{path}' could not be written ({error}); free some space or choose another folder."
        ) from error
    return body["id"]


def read_header(path: Path | str) -> dict[str, Any]:
    """The header of a file of ours. Raises MissingWeights or BadCheckpoint."""
    path = Path(path)
    if not path.is_file():
        raise MissingWeights(f"The weights file '{path}' is not there.")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
        header = json.loads(metadata[KEY])
        if not isinstance(header, dict):
            raise ValueError("header is not an object")
        return header
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise BadCheckpoint(
            f"'{path}' is not a weights file of this program ({type(error).__name__}: {error})."
        ) from error


def load(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (fp16 widened to float32) and header of a file of ours. Raises MissingWeights or BadCheckpoint."""
    header = read_header(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise BadCheckpoint(f"'{path}' is damaged ({error}); fetch or copy it again.") from error
    return {name: t.float() if t.dtype == torch.float16 else t for name, t in state.items()}, header
