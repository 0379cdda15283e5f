"""The terms of MaskFaceGAN's optimisation (Pernuš et al., arXiv 2103.11135), one value per image each.

Probabilities are compared in logit space: the published form takes the logarithm of a sigmoid, which is infinite once
that rounds to 0 or 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def masked_mse(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared difference of ``image`` and ``target`` (B,3,H,W) weighted by ``mask`` (B or 1,1,H,W), mean over the frame: (B,)."""
    return (mask * (image - target).square()).mean((1, 2, 3))


def tint_loss(image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared difference of the colours of ``image`` and ``target`` (B,3,H,W) without their brightness under ``mask``: (B,)."""
    change = image - target
    return (mask * (change - change.mean(1, keepdim=True)).square()).mean((1, 2, 3))


def entropy(probability: Tensor) -> Tensor:
    """Entropy in nats of Bernoulli variables with ``probability`` in [0, 1]; 0 at both ends."""
    return -(torch.xlogy(probability, probability) + torch.xlogy(1 - probability, 1 - probability))


def classifier_loss(logits: Tensor, target: Tensor) -> Tensor:
    """KL(Bernoulli(target) || Bernoulli(sigmoid(logits))) for ``logits`` and ``target`` (B,n), mean over the n: (B,)."""
    target = target.expand_as(logits)
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (cross - entropy(target)).mean(1)


def portion(mask: Tensor) -> Tensor:
    """Share of the frame that a soft ``mask`` (B,1,H,W) covers: (B,1)."""
    return mask.mean((2, 3))


def size_loss(mask: Tensor, start: Tensor, factor: float) -> Tensor:
    """KL(Bernoulli(factor * portion(start)) || Bernoulli(portion(mask))): (B,); masks (B,1,H,W).

    The wanted share is kept below 1, which the published form is not.
    """
    wanted = (factor * portion(start)).clamp(1e-6, 1 - 1e-6)
    have = portion(mask).clamp(1e-6, 1 - 1e-6)
    cross = -(wanted * have.log() + (1 - wanted) * (-have).log1p())
    return (cross - entropy(wanted)).sum(1)


def shape_loss(mask: Tensor, start: Tensor) -> Tensor:
    """Mean squared difference of two soft masks (B,1,H,W): (B,)."""
    return (mask - start).square().mean((1, 2, 3))


def noise_regularize(maps: Sequence[Tensor]) -> Tensor:
    """Squared correlation of each map (B,1,r,r) with itself one pixel on, at every octave down to 8 px, summed: (B,)."""
    total = torch.zeros(maps[0].shape[0], device=maps[0].device, dtype=maps[0].dtype)
    for noise in maps:
        level = noise
        while True:
            for axis in (3, 2):
                total = total + (level * level.roll(1, axis)).mean((1, 2, 3)).square()
            if level.shape[2] <= 8:
                break
            level = F.avg_pool2d(level, 2)
    return total


def noise_normalized(noise: Tensor) -> Tensor:
    """``noise`` (B,1,r,r) with zero mean and unit sample deviation per image."""
    mean, std = noise.mean((1, 2, 3), keepdim=True), noise.std((1, 2, 3), keepdim=True)
    return (noise - mean) / std
