"""A tiny family with a landmark network, and settings of both trainings on it."""

from __future__ import annotations

from pathlib import Path

import torch

from data import container
from encoders.landmarks import LandmarkNet
from tests.tiny_family import write_family
from tests.training import faces

LANDMARKS = {"input_size": 32, "channels": [4, 4, 4, 4, 4], "depths": [0, 0, 0, 0], "neck": 4}


def write(folder: Path) -> Path:
    """Networks, zips and labels in ``folder``; returns it."""
    write_family(folder)
    torch.manual_seed(3)
    net = LandmarkNet(**LANDMARKS)  # pyright: ignore[reportArgumentType]
    header = {"kind": "landmarks", "arch": LANDMARKS}
    container.save(folder / "tiny" / "landmarks.safetensors", net.state_dict(), header)
    faces.write(folder)
    return folder


COMMON = (
    """
[schedule]
steps = STEPS
log_every = 5
save_every = 1000
ema = 0.9
seed = 1
"""
    + faces.DATA
    + """
generated = GENERATED
photos = PHOTOS
[networks]
generator = "FAMILY/generator.safetensors"
projector = "FAMILY/projector.safetensors"
identity = "FAMILY/identity.safetensors"
landmarks = "FAMILY/landmarks.safetensors"
perceptual = "FAMILY/attributes.safetensors"
[mapper]
hidden = [24, 24, 24]
rank = 4
centred = true
"""
)
NITZAN = (
    'task = "nitzan"'
    + COMMON
    + """
[encoder]
form = "compact"
widths = [4, 8]
input_size = 16
dim = 12
[discriminator]
widths = [512, 16, 16, 16, 1]
[nitzan]
preset = "nitzan_tf"
batch = 4
code = 0.1
offset = 0.01
perceptual = 0.1
rate = 2e-3
rate_adversarial = 2e-4
rate_discriminator = 1e-3
[train]
codes_only = 2
freeze_norm_at = 2
schedule = "cosine"
"""
)
ZHOU = (
    'task = "zhou"'
    + COMMON
    + """
[encoder]
form = "compact"
widths = [4, 8]
input_size = 16
identity = 16
attributes = 12
[zhou]
preset = "zhou_plus"
batch = 2
distil = 0.1
code = 0.1
offset = 0.01
rate = 2e-3
freeze_norm_at = 2
[train]
codes_only = 2
schedule = "cosine"
"""
)


def text(body: str, family: Path, *, steps: int = 6, generated: str = "6", photos: float = 0.5) -> str:
    """Settings with the blanks filled."""
    filled = body.replace("FAMILY", str(family / "tiny")).replace("STEPS", str(steps))
    return filled.replace("GENERATED", generated).replace("PHOTOS", str(photos))
