"""e4e: photo -> W+ code (Tov et al. 2021, "Designing an Encoder for StyleGAN Image Manipulation", arXiv 2102.02766).

An IR-SE50 body at 256 px, a feature pyramid over three of its maps, and one style head per W+ row: the first row is
predicted directly and every other row as a difference to it, so that training can switch the differences on one by one.
The keys are those of the published files (also pSp's).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.inputs import check_images, resize
from encoders.irse import body, stem

INPUT_SIZE = 256
TAPS = (6, 20, 23)
FIRST_MIDDLE, FIRST_FINE = 3, 7


class EqualLinear(nn.Module):
    """Linear layer whose weight is scaled by 1/sqrt(inputs) at run time: (B,inputs) -> (B,outputs)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


class StyleHead(nn.Module):
    """Stride-2 convolutions down to one cell, then a linear layer: (B,512,spatial,spatial) -> (B,512)."""

    def __init__(self, spatial: int, channels: int = 512) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(int(math.log2(spatial))):
            layers += [nn.Conv2d(channels, channels, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.convs(x).flatten(1))


def _up_add(small: Tensor, large: Tensor) -> Tensor:
    """``small`` brought to the size of ``large`` (bilinear, corners aligned) plus ``large``."""
    return F.interpolate(small, size=large.shape[2:], mode="bilinear", align_corners=True) + large


class Encoder4Editing(nn.Module):
    """The e4e encoder for a generator of ``size`` pixels: forward ``image`` (B,3,256,256) RGB in [-1,1] -> (B,L,512).

    L = 2 log2(size) - 2: 18, 16 or 14 rows for 1024, 512 or 256. As released, the result does **not** contain the mean
    latent; ``encode`` adds it. ``stage`` is the progressive stage: rows 1..stage have their own difference, the rows
    above repeat row 0 (default: all rows active). Raises ValueError for a size that is no power of two of at least 64.
    """

    def __init__(self, size: int = 1024, *, num_layers: int = 50, mode: str = "ir_se") -> None:
        super().__init__()
        if size < 64 or size & (size - 1):
            raise ValueError(f"generator size must be a power of two of at least 64, not {size}")
        if num_layers != 50:
            raise ValueError(f"e4e takes its features from an IR-SE50 body, not from {num_layers} layers")
        self.size = size
        self.input_size = INPUT_SIZE
        self.n_latent = 2 * int(math.log2(size)) - 2
        self.input_layer = stem()
        self.body = body(num_layers, mode)
        self.styles = nn.ModuleList(
            StyleHead(16 if row < FIRST_MIDDLE else 32 if row < FIRST_FINE else 64) for row in range(self.n_latent)
        )
        self.latlayer1 = nn.Conv2d(256, 512, 1)
        self.latlayer2 = nn.Conv2d(128, 512, 1)
        self.stage = self.n_latent - 1

    def set_stage(self, stage: int) -> None:
        """Activate the differences of rows 1..``stage`` (0: none, n_latent - 1: all). Raises ValueError."""
        if not 0 <= stage < self.n_latent:
            raise ValueError(f"stage must be in 0..{self.n_latent - 1}, not {stage}")
        self.stage = stage

    def forward(self, image: Tensor) -> Tensor:
        check_images(image, INPUT_SIZE)
        taps: list[Tensor] = []
        x = self.input_layer(image)
        for index, unit in enumerate(self.body):
            x = unit(x)
            if index in TAPS:
                taps.append(x)
        fine, middle, coarse = taps
        first = self.styles[0](coarse)
        rows = [first]
        features = coarse
        for row in range(1, self.stage + 1):
            if row == FIRST_MIDDLE:
                features = _up_add(coarse, self.latlayer1(middle))
            elif row == FIRST_FINE:
                features = _up_add(features, self.latlayer2(fine))
            rows.append(first + self.styles[row](features))
        rows += [first] * (self.n_latent - len(rows))
        return torch.stack(rows, dim=1)

    def encode(self, image: Tensor, latent_avg: Tensor) -> Tensor:
        """W+ codes (B,L,512) of ``image`` (B,3,256,256) with the generator's mean latent added.

        ``latent_avg`` is (512,), (1,512), (L,512) or (1,L,512): published files hold any of these. Raises ValueError.
        """
        return self(image) + mean_rows(latent_avg, self.n_latent).to(image)


def mean_rows(latent_avg: Tensor, n_latent: int) -> Tensor:
    """Bring a mean latent (512,), (1,512), (L,512) or (1,L,512) to (L,512). Raises ValueError for other shapes."""
    rows = latent_avg.reshape(-1, latent_avg.shape[-1]) if latent_avg.ndim else latent_avg
    if rows.ndim != 2 or rows.shape[1] != 512 or rows.shape[0] not in (1, n_latent):
        raise ValueError(f"mean latent must be (512,), (1,512) or ({n_latent},512), not {tuple(latent_avg.shape)}")
    return rows.expand(n_latent, 512)


class E4EProjector(nn.Module):
    """Encoder and mean latent in one: forward ``image`` (B,3,S,S) RGB in [-1,1] of any size -> codes (B,L,512).

    The image is brought to 256 px and the mean is included, so this is used as any other projector.
    """

    def __init__(self, encoder: Encoder4Editing, latent_avg: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.input_size = encoder.input_size
        self.n_latent = encoder.n_latent
        self.latent_avg: Tensor
        self.register_buffer("latent_avg", mean_rows(latent_avg, encoder.n_latent).clone())

    def forward(self, image: Tensor) -> Tensor:
        check_images(image)
        return self.encoder.encode(resize(image, self.input_size), self.latent_avg)
