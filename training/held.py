"""A data set held on the device as uint8: decoded once, no loader, batches are cut out there."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from data.datasets import FaceSet

CHUNK = 1024


class HeldFaces:
    """The pictures of ``faces`` on ``device``: 24,166 of them at 256 px take 4.8 GB."""

    def __init__(self, faces: FaceSet, device: str) -> None:
        self.pixels = torch.empty(faces.images.shape, dtype=torch.uint8, device=device)
        for at in range(0, len(faces), CHUNK):
            part = np.array(faces.images[at : at + CHUNK])
            self.pixels[at : at + CHUNK].copy_(torch.from_numpy(part))

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, index: np.ndarray, flip: np.ndarray | None = None) -> Tensor:
        """Pictures at ``index`` (B,) as (B,3,S,S) float in [-1, 1], channels last; ``flip`` (B,) bool mirrors them."""
        device = self.pixels.device
        image = self.pixels[torch.from_numpy(index).to(device)].permute(0, 3, 1, 2)
        if flip is not None:
            mirrored = torch.from_numpy(flip).to(device)[:, None, None, None]
            image = torch.where(mirrored, image.flip(3), image)
        return image.contiguous(memory_format=torch.channels_last).float().div_(127.5).sub_(1)
