"""Recognisers that say whether two aligned faces are one person: the family's own, or one from a file of the user's."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from encoders.mobilefacenet import MobileFaceNet, face_crop
from workbench import official, readout
from workbench.devices import lock
from workbench.engine import Engine
from workbench.errors import BadCheckpoint, BadRequest
from workbench.face import AlignedFace, to_uint8
from workbench.manifest import Record
from workbench.weights import load_file

MEAN_POINTS = np.array([[0.379, 0.473], [0.620, 0.473], [0.495, 0.627], [0.395, 0.725], [0.605, 0.725]])
"""Where eyes, nose and mouth corners lie in an aligned picture on average, as parts of its side."""


@dataclass(frozen=True, eq=False)
class Judge:
    """A recogniser that verifies; ``independent`` when it is not the one that the swap was trained with."""

    network: nn.Module
    id: str
    independent: bool

    def embed(self, image: Tensor, device: torch.device, points5: np.ndarray | None = None) -> Tensor:
        """Unit vector (D,) of an aligned face (3,S,S) in [-1, 1].

        ``points5`` (5,2), parts of the side, are for recognisers that cut the face out themselves; without them the mean
        ones are taken.
        """
        if isinstance(self.network, MobileFaceNet):
            place = (MEAN_POINTS if points5 is None else points5) * image.shape[-1]
            with torch.inference_mode():
                return self.network.embed([face_crop(to_uint8(image), place)])[0]
        with lock(device):
            return readout.embed(self.network, image.to(device))


def judge_of(engine: Engine, path: Path | None) -> Judge:
    """The recogniser in the file ``path`` (ours, a published one, or MobileFaceNet), or without a file the family's own.

    Raises BadRequest when the file is the recogniser that the swap was trained with, and BadCheckpoint.
    """
    own = engine.store.network("identity")
    if path is None:
        return Judge(own.module, own.id, False)
    mobile = mobilefacenet(path)
    if mobile is not None:
        return Judge(mobile, f"mobilefacenet {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}", True)
    try:
        module, header, _ = load_file("identity", path)
    except BadCheckpoint:
        record = Record("identity", path.name, "torch", 0, "", "", "", {}, ())
        module, header, _ = official.load("identity", path, record)
    if header["id"] == own.id:
        raise BadRequest(f"'{path}' is the recogniser that the swap was trained with; verify with another one.")
    return Judge(module.eval().requires_grad_(False).to(engine.device), str(header["id"]), True)


def mobilefacenet(path: Path) -> MobileFaceNet | None:
    """MobileFaceNet with the weights under ``net_state_dict`` of ``path``; None when the file is something else."""
    try:
        body = torch.load(path, map_location="cpu", weights_only=True)
        state = body["net_state_dict"]
        net = MobileFaceNet()
        net.load_state_dict(state)
    except Exception:  # whatever is wrong with it, it is no such file, and the other readers say what
        return None
    return net.eval().requires_grad_(False)


def five_points(face: AlignedFace) -> np.ndarray | None:
    """Five points (5,2) of an aligned face, parts of its side, as the detector found them; None without a detection."""
    if face.detection is None:
        return None
    matrix = face.transform.matrix()
    return (face.detection.points5 - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T / face.transform.size
