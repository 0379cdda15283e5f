"""Distances in the features of our own networks, under their own names: never LPIPS, FID or KID."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.compact import AttributeNet


@dataclass(frozen=True, eq=False)
class Features:
    """A frozen classifier seen as a feature network; ``name`` goes into every result."""

    name: str
    net: AttributeNet

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean over levels of the squared difference of channel-normalised features, (B,)."""
        total = torch.zeros(len(a), device=a.device)
        levels = list(zip(self.net.features(a), self.net.features(b), strict=True))
        for x, y in levels:
            x = x / (x.square().sum(1, keepdim=True).sqrt() + 1e-6)
            y = y / (y.square().sum(1, keepdim=True).sqrt() + 1e-6)
            total = total + (x - y).square().sum(1).mean([1, 2])
        return total / len(levels)

    def vectors(self, images: Tensor, batch: int = 64) -> Tensor:
        """Mean and maximum of the last features, (N,2C), on the CPU."""
        rows = []
        for part in images.split(batch):
            last = self.net.features(part)[-1]
            rows.append(torch.cat([last.mean([2, 3]), last.amax([2, 3])], 1).cpu())
        return torch.cat(rows)


def kernel_distance(a: Tensor, b: Tensor) -> Tensor:
    """Unbiased squared MMD with the cubic kernel (x.y / d + 1)^3 (Binkowski 2018, arXiv 1801.01401)."""
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.t() / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        values = kernel(x, x)
        return (values.sum() - values.diagonal().sum()) / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * kernel(a, b).mean()


def precision_recall(real: Tensor, fake: Tensor, neighbours: int = 3) -> tuple[Tensor, Tensor]:
    """Share of fakes within the reals' k-nearest-neighbour balls, and of reals within the fakes' (arXiv 1904.06991)."""

    def covered(points: Tensor, balls: Tensor) -> Tensor:
        count = min(neighbours + 1, len(balls))
        radius = torch.cdist(balls, balls).kthvalue(count, dim=1).values
        return (torch.cdist(points, balls) <= radius[None]).any(1).double().mean()

    real, fake = real.double(), fake.double()
    return covered(fake, real), covered(real, fake)
