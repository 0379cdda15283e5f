"""Adaptive discriminator augmentation (Karras et al. 2020, arXiv 2006.06676): what a discriminator sees is moved and recoloured
with a probability that follows its overfitting, so that 24,000 faces last as long as many more would.

Ours: all geometry is one bilinear resampling with reflected borders instead of wavelet-filtered steps; the noise and cutout
classes, which the paper found harmful or useless for faces, are left out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LUMA = torch.tensor([1.0, 1.0, 1.0]) / math.sqrt(3)


class Augment(nn.Module):
    """Moves pictures (B,3,S,S) in [-1, 1] by random affine maps and colours, each transform with probability ``p``.

    ``adapt`` steers ``p`` (a buffer, so checkpoints keep it) towards a mean sign of the discriminator on real pictures of
    ``target``; it takes ``images`` real pictures to get from 0 to 1.
    """

    p: Tensor

    def __init__(self, *, target: float = 0.6, images: int = 500_000, most: float = 0.85) -> None:
        super().__init__()
        self.target, self.images, self.most = target, images, most
        self.register_buffer("p", torch.zeros(()))

    @torch.no_grad()
    def adapt(self, sign: Tensor, seen: int) -> None:
        """Move ``p`` after ``seen`` real pictures whose scores had the mean ``sign`` in [-1, 1]."""
        self.p.add_((sign.to(self.p) - self.target).sign() * seen / self.images).clamp_(0, self.most)

    def forward(self, image: Tensor, draw: torch.Generator) -> Tensor:
        """The pictures as the discriminator shall see them; ``draw`` is a CPU generator. Differentiable."""
        p = float(self.p)
        if p == 0:
            return image
        count = len(image)
        affine = geometry(count, p, draw).to(image)
        grid = F.affine_grid(affine, list(image.shape), align_corners=False)
        moved = F.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        colour = colours(count, p, draw).to(image)
        return torch.einsum("bij,bjhw->bihw", colour[:, :, :3], moved) + colour[:, :, 3, None, None]


class _Dice:
    """Random numbers for ``count`` pictures, at rest for those the coin of ``p`` leaves out."""

    def __init__(self, count: int, p: float, draw: torch.Generator) -> None:
        self.count, self.p, self.draw = count, p, draw

    def uniform(self, low: float, high: float, rest: float) -> Tensor:
        return self._kept(low + (high - low) * torch.rand(self.count, generator=self.draw), rest)

    def normal(self, deviation: float, rest: float = 0.0) -> Tensor:
        return self._kept(deviation * torch.randn(self.count, generator=self.draw), rest)

    def whole(self, choices: int) -> Tensor:
        return self._kept(torch.randint(choices, (self.count,), generator=self.draw).float(), 0.0)

    def _kept(self, value: Tensor, rest: float) -> Tensor:
        return torch.where(torch.rand(self.count, generator=self.draw) < self.p, value, rest)


def turned(angle: Tensor) -> Tensor:
    """Rotations (B,2,2) by ``angle`` (B,) radians."""
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)


def stretched(x: Tensor, y: Tensor) -> Tensor:
    """Scalings (B,2,2) by ``x`` and ``y`` (B,)."""
    return torch.diag_embed(torch.stack([x, y], 1))


def geometry(count: int, p: float, draw: torch.Generator) -> Tensor:
    """(count,2,3): where each output place is read, in [-1, 1] coordinates, in the paper's order and ranges."""
    dice = _Dice(count, p, draw)
    flip = 1 - 2 * dice.whole(2)
    quarter = turned(dice.whole(4) * (math.pi / 2))
    pixel_shift = torch.stack([dice.uniform(-0.25, 0.25, 0.0), dice.uniform(-0.25, 0.25, 0.0)], 1)
    scale = 2 ** dice.normal(0.2)
    # Two turns, one before and one after the stretch, that are both left out with probability sqrt(1 - p).
    half = _Dice(count, 1 - math.sqrt(1 - p), draw)
    before, after = (turned(half.uniform(-math.pi, math.pi, 0.0)) for _ in range(2))
    ratio = 2 ** dice.normal(0.2)
    shift = torch.stack([dice.normal(0.25), dice.normal(0.25)], 1)
    linear = stretched(flip, torch.ones(count)) @ quarter @ stretched(scale, scale) @ before
    linear = linear @ stretched(ratio, 1 / ratio) @ after
    return torch.cat([linear, (pixel_shift + shift)[:, :, None]], 2)


def colours(count: int, p: float, draw: torch.Generator) -> Tensor:
    """(count,3,4): brightness, contrast, luma flip, hue and saturation as one affine map of the colours."""
    dice = _Dice(count, p, draw)
    eye = torch.eye(3).expand(count, 3, 3)
    along = torch.outer(LUMA, LUMA).expand(count, 3, 3)
    brightness = dice.normal(0.2)
    contrast = 2 ** dice.normal(0.5)
    luma = eye - 2 * along * dice.whole(2)[:, None, None]
    hue = around_luma(dice.uniform(-math.pi, math.pi, 0.0))
    saturation = 2 ** dice.normal(1.0)
    matrix = luma * contrast[:, None, None]
    matrix = (along + (eye - along) * saturation[:, None, None]) @ hue @ matrix
    # Brightness comes before the others in the paper, so its shift passes through them.
    offset = matrix @ brightness[:, None].expand(count, 3)[:, :, None]
    return torch.cat([matrix, offset], 2)


def around_luma(angle: Tensor) -> Tensor:
    """Rotations (B,3,3) of colours about the grey axis by ``angle`` (B,), by Rodrigues' formula."""
    x, y, z = LUMA.tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sin, cos = angle.sin()[:, None, None], angle.cos()[:, None, None]
    return torch.eye(3) + sin * cross + (1 - cos) * (cross @ cross)
