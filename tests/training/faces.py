"""A small synthetic data set in the form the training code reads: two zips and two label files."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from encoders.attributes import CELEBA_ATTRIBUTES


def write(folder: Path, count: int = 24, size: int = 32) -> None:
    """Coloured discs on coloured grounds; attribute k is whether the k-th of 40 fixed random tests of the colours holds."""
    rng = np.random.default_rng(0)
    tests = rng.standard_normal((6, 40))
    for part, number in (("train", count), ("val", 8)):
        rows = [["file", *CELEBA_ATTRIBUTES]]
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            for i in range(number):
                colours = rng.integers(0, 256, (2, 3))
                yy, xx = np.mgrid[:size, :size]
                disc = (xx - size / 2) ** 2 + (yy - size / 2) ** 2 < (size / 3) ** 2
                picture = np.where(disc[..., None], colours[0], colours[1]).astype(np.uint8)
                data = io.BytesIO()
                Image.fromarray(picture).save(data, "PNG")
                archive.writestr(f"{part}{i:04d}.png", data.getvalue())
                labels = (colours.reshape(-1) / 127.5 - 1) @ tests > 0
                rows.append([f"{part}{i:04d}.png", *labels.astype(int).tolist()])
        with (folder / f"{part}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)


DATA = """
[data]
zips = ["train.zip"]
labels = "train.csv"
val_zips = ["val.zip"]
val_labels = "val.csv"
"""

AUTOENCODER = (
    """
task = "autoencoder"
[schedule]
steps = 6
log_every = 2
save_every = 100
seed = 1
"""
    + DATA
    + """
[generator]
size = 32
style_dim = 16
n_mlp = 2
channels = { 4 = 8, 8 = 8, 16 = 8, 32 = 8 }
[projector]
style_dim = 16
thumbnail = 8
widths = [4, 8]
bottleneck = 16
[patches.scales]
32 = [4, 8]
16 = [4, 8]
[[stage]]
until = 2
side = 16
batch = 4
[[stage]]
until = 6
side = 32
batch = 4
adversarial = 0.1
random = 2
[train]
whitening = 0.25
rate_generator = 1e-3
rate_projector = 1e-3
rate_linear = 1e-4
rate_patches = 1e-3
r1 = 0.1
r1_every = 2
features = 1.0
[train.weights]
delta = 0.01
norm = 0.0
"""
)

ATTRIBUTES = (
    """
task = "attributes"
[schedule]
steps = 60
log_every = 20
save_every = 100
seed = 1
"""
    + DATA
    + """
[model]
widths = [8, 16]
input_size = 16
[train]
kind = "attributes"
name = "attributes"
batch = 16
rate = 1e-2
"""
)
