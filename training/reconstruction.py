"""What a rendering must share with its photo: the terms of the autoencoder and of the projector."""

from __future__ import annotations

import torch
from torch import Tensor

from encoders.compact import AttributeNet, IdentityNet, resized


def pixel_terms(image: Tensor, target: Tensor) -> dict[str, Tensor]:
    """L1 and MSE of pictures (B,3,S,S), and L1 of their reductions to 8 and 32 px."""
    terms = {"l1": (image - target).abs().mean(), "mse": (image - target).square().mean()}
    for side in (8, 32):
        if image.shape[2] > side:
            terms[f"l1_{side}"] = (resized(image, side) - resized(target, side)).abs().mean()
    return terms


def perceptual_term(net: AttributeNet, image: Tensor, target: Tensor) -> Tensor:
    """Squared difference of the classifier's feature maps, each level relative to its own size."""
    with torch.no_grad():
        wanted = net.features(target)
    got = net.features(image)
    parts = [(g - w).square().mean() / (w.square().mean() + 1e-3) for g, w in zip(got, wanted, strict=True)]
    return torch.stack(parts).mean()


def identity_term(net: IdentityNet, image: Tensor, target: Tensor) -> Tensor:
    """1 - cosine of the identity embeddings."""
    with torch.no_grad():
        known = net(target)
    return (1 - (net(image) * known).sum(1)).mean()
