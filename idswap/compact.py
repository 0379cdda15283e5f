"""The starter family's encoders of both methods: small enough to train and to run on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.compact import Trunk, resized


def head(width: int, side: int, dim: int) -> nn.Sequential:
    """Feature map (B,width,side,side) to (B,dim)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(width * side * side, dim))


class CompactAttributes(nn.Module):
    """Nitzan's attribute encoder, small: ``image`` (B,3,H,W) in [-1,1] -> (B,dim), not normalised."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 128), *, input_size: int = 64, dim: int = 192) -> None:
        super().__init__()
        self.input_size, self.dim = input_size, dim
        self.trunk = Trunk(widths)
        self.head = head(widths[-1], input_size >> len(widths), dim)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk(resized(image, self.input_size))[-1])


class CompactSwapEncoder(nn.Module):
    """Zhou's two-headed encoder, small: ``image`` (B,3,H,W) in [-1,1] -> identity (B,i) and attributes (B,a), unit rows."""

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 64, 128),
        *,
        input_size: int = 64,
        identity: int = 128,
        attributes: int = 192,
    ) -> None:
        super().__init__()
        self.input_size, self.dims = input_size, (identity, attributes)
        self.trunk = Trunk(widths)
        side = input_size >> len(widths)
        self.identity = head(widths[-1], side, identity)
        self.attributes = head(widths[-1], side, attributes)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.trunk(resized(image, self.input_size))[-1]
        return F.normalize(self.identity(shared), dim=1), F.normalize(self.attributes(shared), dim=1)
