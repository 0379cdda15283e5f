"""Arithmetic on identity and attribute codes: strengths, donors, and what the swap adds to a projection."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def slerp(a: Tensor, b: Tensor, t: float | Tensor) -> Tensor:
    """From unit rows ``a`` (B,D) at t = 0 to ``b`` at 1 along the sphere; ``t`` a number or (B,1), beyond [0,1] it goes on.

    The ends are exact. Opposite rows, which no single arc joins, take the straight line's direction.
    """
    t = torch.as_tensor(t, dtype=a.dtype, device=a.device)
    cosine = (a * b).sum(-1, keepdim=True).clamp(-1, 1)
    angle = torch.arccos(cosine)
    sine = torch.sin(angle)
    straight = torch.where(t == 1, b, a + t * (b - a))
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / sine.clamp_min(1e-6)
    flat = sine < 1e-4
    out = torch.where(flat, straight, arc)
    inside = (t != 0) & (t != 1)
    return torch.where(inside, F.normalize(out, dim=-1), torch.where(t == 0, a, b))


def mixed(a: Tensor, b: Tensor, t: float, *, unit: bool) -> Tensor:
    """``a`` at t = 0, ``b`` at t = 1, rows (B,D): along the sphere where codes are ``unit`` rows, else straight."""
    if unit:
        return slerp(a, b, t)
    return a if t == 0 else b if t == 1 else a + t * (b - a)


def rotated(identity: Tensor, degrees: float, seed: int) -> Tensor:
    """Unit rows (B,D) turned by ``degrees`` towards a direction at right angles that ``seed`` fixes."""
    draw = torch.Generator().manual_seed(seed)
    other = torch.randn(identity.shape[-1], generator=draw).to(identity).expand_as(identity)
    other = F.normalize(other - (other * identity).sum(-1, keepdim=True) * identity, dim=-1)
    angle = torch.deg2rad(torch.tensor(float(degrees)))
    return F.normalize(torch.cos(angle) * identity + torch.sin(angle) * other, dim=-1)


def mean_of_nearest(identity: Tensor, gallery: Tensor, k: int) -> Tensor:
    """Mean of the ``k`` rows of ``gallery`` (N,D) nearest to each of ``identity`` (B,D), unit rows again (k-same)."""
    nearest = (identity @ gallery.t()).topk(min(k, len(gallery)), dim=1).indices
    return F.normalize(gallery[nearest].mean(1), dim=1)
