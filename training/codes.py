"""Codes of a whole data set by a projector, computed once and shared by the runs that need them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data.datasets import FaceSet, keep
from encoders.compact import CompactE4E


@torch.inference_mode()
def all_codes(projector: CompactE4E, faces: FaceSet, device: str, stored: Path, *, mirrored: bool) -> np.ndarray:
    """Codes (N,L,D) fp16 of all faces, with ``mirrored`` followed by those of their mirror images; kept in ``stored``."""
    if stored.is_file():
        return np.load(stored, mmap_mode="r")
    rows = []
    for flip in (False, True)[: 1 + mirrored]:
        for at in range(0, len(faces), 128):
            index = np.arange(at, min(at + 128, len(faces)))
            rows.append(projector(faces.batch(index, np.full(len(index), flip), device)).half().cpu().numpy())
    keep(stored, np.concatenate(rows))
    return np.load(stored, mmap_mode="r")


def code_file(cache: Path, projector_id: str, faces: FaceSet, mirrored: bool) -> Path:
    """Where the codes of ``faces`` by the projector ``projector_id`` are kept."""
    return Path(cache) / f"codes-{projector_id}-{len(faces)}{'-mirrored' if mirrored else ''}.npy"
