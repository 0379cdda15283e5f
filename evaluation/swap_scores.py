"""Numbers of a set of swaps from what was read off the pictures; every mean with its count and a bootstrap interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.parser import FACE_CLASSES
from evaluation.features import Features
from evaluation.registry import interval
from evaluation.swap_readers import Reading

OUTER_EYES = 36, 45
OUTSIDE = ("background", "hair", "belowface")
REGIONS: Mapping[str, tuple[str, ...]] = {"hair": ("hair",), "background": ("background", "belowface")}
LEAST_SHARE = 0.01
"""Of the picture: a region smaller than this is not compared."""


@dataclass(frozen=True)
class Number:
    """A value over ``n`` pairs with its 95 % bootstrap interval; None where nothing could be measured."""

    value: float | None
    n: int
    low: float | None = None
    high: float | None = None

    def told(self) -> dict[str, Any]:
        """As JSON, rounded."""
        kept = {"value": self.value, "low": self.low, "high": self.high}
        return {name: None if v is None else round(v, 5) for name, v in kept.items()} | {"n": self.n}


def mean(values: Sequence[float] | np.ndarray) -> Number:
    """The mean of one value per pair."""
    known = np.asarray(values, np.float64)
    if not len(known):
        return Number(None, 0)
    return Number(float(known.mean()), len(known), *interval(known))


def correlation(a: Sequence[float], b: Sequence[float], *, draws: int = 1000, seed: int = 0) -> Number:
    """Pearson's correlation over pairs, the interval by drawing pairs again; None for fewer than three or no spread."""
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)

    def value(index: np.ndarray) -> np.ndarray:
        u, v = x[index], y[index]
        u, v = u - u.mean(-1, keepdims=True), v - v.mean(-1, keepdims=True)
        norm = np.sqrt((u * u).sum(-1) * (v * v).sum(-1))
        return np.where(norm > 1e-12, (u * v).sum(-1) / np.maximum(norm, 1e-12), np.nan)

    if len(x) < 3 or np.isnan(whole := float(value(np.arange(len(x))))):
        return Number(None, len(x))
    many = value(np.random.default_rng(seed).integers(0, len(x), (draws, len(x))))
    low, high = np.nanquantile(many, [0.025, 0.975])
    return Number(whole, len(x), float(low), float(high))


def identity(
    results: Sequence[Reading], who: Sequence[Reading], what: Sequence[Reading], of: Callable[[Reading], Tensor]
) -> dict[str, Number]:
    """Similarity to the identity picture, leak, share of pairs closer to the identity picture, and retrieval top-1.

    The gallery are the identity pictures of all pairs. A result without a face has no similarity, and counts as neither
    closer nor found again.
    """
    seen = np.array([r.found for r in results])
    rows, gallery = torch.stack([of(r) for r in results]), torch.stack([of(r) for r in who])
    table = (rows @ gallery.t()).double().numpy()
    to_who = np.diag(table)
    to_what = (rows * torch.stack([of(r) for r in what])).sum(1).double().numpy()
    return {
        "similarity": mean(to_who[seen]),
        "leak": mean(to_what[seen]),
        "closer": mean((seen & (to_who > to_what)).astype(float)),
        "top1": mean((seen & (table.argmax(1) == np.arange(len(table)))).astype(float)),
    }


def shape(results: Sequence[Reading], what: Sequence[Reading]) -> dict[str, Number]:
    """Landmark error (51 points, parts of the distance of the outer eye corners), pose errors in degrees, yaw's correlation."""
    both = [(r, w) for r, w in zip(results, what, strict=True) if r.points is not None and w.points is not None]
    errors = []
    for result, wanted in both:
        assert wanted.points is not None
        left, right = (wanted.points[at] for at in OUTER_EYES)
        errors.append(float(np.hypot(*(result.inner - wanted.inner).T).mean() / max(np.hypot(*(right - left)), 1e-6)))
    poses = [(r.pose, w.pose) for r, w in both if r.pose is not None and w.pose is not None]
    found = {"landmark_error": mean(errors)}
    for angle in ("yaw", "pitch", "roll"):
        found[f"{angle}_error"] = mean([abs(getattr(a, angle) - getattr(b, angle)) for a, b in poses])
    for angle in ("yaw", "pitch"):
        pairs = [(getattr(a, angle), getattr(b, angle)) for a, b in poses]
        found[f"{angle}_correlation"] = correlation([a for a, _ in pairs], [b for _, b in pairs])
    return found


@torch.inference_mode()
def surroundings(
    features: Features,
    images: Tensor,
    readings: Sequence[Reading],
    sources: Tensor,
    wanted: Sequence[Reading],
    device: torch.device,
) -> dict[str, Number]:
    """Perceptual distance of hair and of background between pictures (N,3,S,S) and their sources, by the own features.

    Where either picture shows the region and neither shows the face; a pair in which that is less than a hundredth of the
    picture is left out of it.
    """
    found: dict[str, list[float]] = {name: [] for name in REGIONS}
    for image, reading, source, other in zip(images, readings, sources, wanted, strict=True):
        if reading.regions is None or other.regions is None:
            continue
        outside = among(reading.regions, OUTSIDE) & among(other.regions, OUTSIDE)
        maps = None
        for name, classes in REGIONS.items():
            mask = outside & (among(reading.regions, classes) | among(other.regions, classes))
            if mask.mean() < LEAST_SHARE:
                continue
            maps = distances(features, image[None].to(device), source[None].to(device)) if maps is None else maps
            found[name].append(under(maps, torch.from_numpy(mask)))
    return {name: mean(values) for name, values in found.items()}


def among(classes: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Where (S,S) bool a class map shows one of ``names``."""
    return np.isin(classes, [FACE_CLASSES.index(name) for name in names])


def distances(features: Features, a: Tensor, b: Tensor) -> list[Tensor]:
    """Squared differences (h,w) of channel-normalised features at every level."""
    levels = []
    for x, y in zip(features.net.features(a), features.net.features(b), strict=True):
        levels.append((F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1)[0].cpu())
    return levels


def under(maps: Sequence[Tensor], mask: Tensor) -> float:
    """Mean of ``maps`` over the places of ``mask`` (S,S), a place of a coarse level counting by its covered share."""
    parts = []
    for level in maps:
        weight = F.adaptive_avg_pool2d(mask[None, None].float(), (level.shape[0], level.shape[1]))[0, 0]
        parts.append(float((level * weight).sum() / weight.sum()))
    return float(np.mean(parts))
