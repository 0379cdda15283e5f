"""Losses of the component auto-encoder: reconstruction, and swaps of components between faces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.compact import AttributeNet, resized
from iafaces.model import Code, ComponentEncoder
from iafaces.regions import soft_masks


def reconstruction(image: Tensor, target: Tensor, emphasis: float = 1.0) -> dict[str, Tensor]:
    """L1 (component boxes ``emphasis`` times as heavy as the rest), squared error and L1 of smaller copies.

    image, target: (B,3,s,s) in [-1, 1].
    """
    weight = 1 + (emphasis - 1) * soft_masks(image.shape[2]).to(image).sum(0)
    terms = {
        "l1": ((image - target).abs() * weight).mean() / weight.mean(),
        "mse": (image - target).square().mean(),
    }
    for side in (8, 32):
        if image.shape[2] > side:
            terms[f"l1_{side}"] = (resized(image, side) - resized(target, side)).abs().mean()
    return terms


def perceptual(net: AttributeNet, image: Tensor, target: Tensor) -> Tensor:
    """Squared difference of ``net``'s features at every level, each relative to the target's own power."""
    with torch.no_grad():
        wanted = net.features(target)
    got = net.features(image)
    parts = [(g - w).square().mean() / (w.square().mean() + 1e-3) for g, w in zip(got, wanted, strict=True)]
    return torch.stack(parts).mean()


def exchanged(code: Code, other: Tensor, rows: Tensor) -> Code:
    """``code`` with the ``rows`` (B,4) bool of ``other`` (B,4,D)."""
    return Code(code.content, torch.where(rows[..., None], other, code.nodes))


def outside(image: Tensor, target: Tensor, rows: Tensor, margin: float) -> Tensor:
    """Mean absolute difference beyond ``margin`` of the boxes of ``rows`` (B,4) bool, per pixel that counts."""
    masks = soft_masks(image.shape[2], 0.02, margin).to(image)
    keep = 1 - torch.einsum("bi,ihw->bhw", rows.to(image), masks).clamp(0, 1)[:, None]
    return ((image - target).abs() * keep).sum() / (3 * keep.sum())


def consistency(encoder: ComponentEncoder, image: Tensor, nodes: Tensor) -> Tensor:
    """1 - cosine between what ``encoder`` reads off ``image`` and the ``nodes`` (B,4,D) it was drawn from."""
    return (1 - F.cosine_similarity(encoder.nodes(image), nodes.detach(), dim=2)).mean()
