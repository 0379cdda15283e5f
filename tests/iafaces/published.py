"""Files of IA-FaceS as its training writes them: the published classes and keys at tiny widths, random numbers, fixed seed."""

from __future__ import annotations

import sys
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PosixPath
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from iafaces import official
from iafaces.official import PublishedDecoder, PublishedEncoder

ENCODERS = {
    256: {"size": 256, "widths": (4, 4, 4, 4, 8), "content": 8, "feats_dim": 8},
    1024: {"size": 1024, "widths": (2, 2, 2, 2, 4, 4), "components": 4, "content": 8, "feats_dim": 8},
}
DECODERS = {
    256: {"start": 8, "widths": (8, 8, 8, 8, 8, 4), "content": 8, "feats_dim": 8},
    1024: {"start": 16, "widths": (8, 8, 4, 4, 4, 2, 2), "content": 8, "feats_dim": 8},
}


@dataclass(frozen=True)
class Published:
    """One of the four files: its record's kind, its name, its size and whether it has the component modulation."""

    kind: str
    file: str
    size: int
    cam: bool


PLAIN = Published("iafaces_celebahq256", "iafaces-celebahq-256.pth", 256, False)
CAM = Published("iafaces_cam_celebahq256", "iafaces_cam-celebahq-256.pth", 256, True)
PLAIN_1024 = Published("iafaces_ffhq1024", "iafaces-ffhq-1024.pth", 1024, False)
CAM_1024 = Published("iafaces_cam_ffhq1024", "iafaces_cam-ffhq-1024.pth", 1024, True)
ALL = (PLAIN, CAM, PLAIN_1024, CAM_1024)


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Make the classes that read the published files build these widths."""
    for size in (256, 1024):
        patch.setitem(official.ENCODERS, size, ENCODERS[size])  # type: ignore[arg-type]
        patch.setitem(official.DECODERS, size, DECODERS[size])  # type: ignore[arg-type]


def networks(which: Published) -> tuple[PublishedEncoder, PublishedDecoder]:
    """Encoder and decoder of ``which``; noise has a strength, so that the stored maps matter."""
    torch.manual_seed(which.size + which.cam)
    encoder = PublishedEncoder.published(which.size)
    decoder = PublishedDecoder.published(which.size, cam=which.cam)
    for name, parameter in decoder.named_parameters():
        if name.endswith("noise.weight"):
            parameter.data.fill_(0.05)
        if "layers2" in name and name.endswith("bias"):
            parameter.data.fill_(0.7)  # gates near 1, as after training
    return encoder.eval().requires_grad_(False), decoder.eval().requires_grad_(False)


def write(path: Path, which: Published, *, heads: str = "layers2") -> None:
    """Save a training file: both averages among the states that training needs, and the pickled settings object."""
    encoder, decoder = networks(which)
    e_ema = {key.replace("layers2.", f"{heads}."): value for key, value in encoder.state_dict().items()}
    other = {key: value + 1 for key, value in e_ema.items()}
    module = ModuleType("parse_config")
    module.ConfigParser = type("ConfigParser", (), {"__module__": "parse_config"})  # type: ignore[attr-defined]
    config: Any = module.ConfigParser()
    config._config = OrderedDict(model_arch=f"iafaces{'_cam' if which.cam else ''}_{which.size}")
    config._save_dir = PosixPath("saved/models")
    body = {"epoch": 3, "iteration": 20, "state_dict_D": {}, "state_dict_G": {}, "state_dict_E": other}
    body |= {"e_ema": e_ema, "g_ema": decoder.state_dict(), "optimizer_G": {"state": {}}, "avg_mse": 0.02}
    sys.modules["parse_config"] = module
    try:
        torch.save(body | {"config": config}, path)
    finally:
        del sys.modules["parse_config"]


def transferred(which: Published, target: Tensor, reference: Tensor, rows: list[int], blend: float = 1.0) -> Tensor:
    """The published procedure on pictures (1,3,S,S) in [-1, 1]: n <- n + t (n_ref - n) for the component's rows, decode."""
    encoder, decoder = networks(which)
    with torch.inference_mode():
        content, nodes = encoder(target)
        other = encoder(reference)[1]
        mixed = nodes.clone()
        mixed[:, rows] = nodes[:, rows] + blend * (other[:, rows] - nodes[:, rows])
        return decoder(content, mixed)
