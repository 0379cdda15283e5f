"""What the optimisation asks of a family's networks, and the perceptual distances it can use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.compact import AttributeNet
from encoders.lpips import LPIPS


class Renderer(Protocol):
    """The part of a StyleGAN2 generator that is needed."""

    @property
    def n_latent(self) -> int: ...

    @property
    def size(self) -> int: ...

    def synthesis(self, codes: Tensor, noise: Any = None, *, until: int | None = None) -> Tensor: ...

    def noise_maps(self, noise: Any, batch: int) -> list[Tensor]: ...


class Perceptual(Protocol):
    """A distance between two pictures' features; ``name`` says whose it is."""

    name: str

    def features(self, image: Tensor) -> list[Tensor]:
        """Maps of ``image`` (B,3,H,W) in [-1, 1]."""
        ...

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor], mask: Tensor) -> Tensor:
        """(B,) distance under ``mask`` (B or 1,1,H,W) in [0, 1], mean over the frame."""
        ...


class LpipsDistance:
    """Masked LPIPS."""

    def __init__(self, network: LPIPS) -> None:
        self.name, self._network = "lpips", network

    def features(self, image: Tensor) -> list[Tensor]:
        return self._network.features(image)

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor], mask: Tensor) -> Tensor:
        return self._network.distances(a, b, mask).sum(1)


class AttributeFeatures:
    """Squared differences of unit-length feature maps of the family's attribute network: not LPIPS, no heads, its own scale."""

    def __init__(self, network: AttributeNet) -> None:
        self.name, self._network = "features", network

    def features(self, image: Tensor) -> list[Tensor]:
        return [F.normalize(level, dim=1) for level in self._network.features(image)]

    def distance(self, a: Sequence[Tensor], b: Sequence[Tensor], mask: Tensor) -> Tensor:
        total = torch.zeros(a[0].shape[0], device=a[0].device)
        for one, other in zip(a, b, strict=True):
            weight = F.interpolate(mask, one.shape[2:], mode="area")
            total = total + (weight * (one - other).square()).sum(1).mean((1, 2))
        return total


@dataclass(frozen=True, eq=False)
class Networks:
    """The frozen networks of an optimisation, on one device.

    ``parser``: (B,3,H,W) in [-1, 1] -> logits (B,9,h,w) over FACE_CLASSES. ``guide``: -> logits (B,40) in CelebA's order.
    ``mean`` (L,D): mean of W. ``axes`` (K,D): W's principal axes, each as long as W spreads along it, the longest first.
    """

    generator: Renderer
    parser: Callable[[Tensor], Tensor]
    guide: Callable[[Tensor], Tensor]
    perceptual: Perceptual
    mean: Tensor
    axes: Tensor | None = None

    def parsing(self, image: Tensor) -> Tensor:
        """Soft parsing (B,9,h,w) of ``image`` (B,3,H,W) in [-1, 1]."""
        return self.parser(image).softmax(1)
