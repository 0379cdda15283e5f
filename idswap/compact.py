"""The starter family's encoders of both methods: small enough to train and to run on a CPU.

The generator's latent space is nearly linear in a thumbnail (its projector reads 99.6 % of the base code's variance off one), so
both attribute encoders have a linear part on a thumbnail, which a training may start from the projector (``idswap/starts.py``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from encoders.compact import Trunk, resized


def head(width: int, side: int, dim: int) -> nn.Sequential:
    """Feature map (B,width,side,side) to (B,dim)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(width * side * side, dim))


class AttributeHead(nn.Module):
    """Attribute code (B,dim) of features (B,width,side,side) and, where ``thumbnail`` is above 0, of that thumbnail's pixels."""

    def __init__(self, width: int, side: int, dim: int, thumbnail: int) -> None:
        super().__init__()
        self.features = head(width, side, dim)
        self.thumbnail = thumbnail
        self.linear = nn.Linear(3 * thumbnail * thumbnail, dim) if thumbnail else None

    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        code = self.features(features)
        return code if self.linear is None else code + self.linear(resized(image, self.thumbnail).flatten(1))


class CompactAttributes(nn.Module):
    """Nitzan's attribute encoder, small: ``image`` (B,3,H,W) in [-1,1] -> (B,dim), not normalised."""

    def __init__(
        self, widths: Sequence[int] = (16, 32, 64, 128), *, input_size: int = 64, dim: int = 192, thumbnail: int = 0
    ) -> None:
        super().__init__()
        self.input_size, self.dim = input_size, dim
        self.trunk = Trunk(widths)
        self.head = AttributeHead(widths[-1], input_size >> len(widths), dim, thumbnail)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.trunk(resized(image, self.input_size))[-1], image)


class CompactSwapEncoder(nn.Module):
    """Zhou's two-headed encoder, small: ``image`` (B,3,H,W) in [-1,1] -> identity (B,i) and attributes (B,a), unit rows.

    The trunk sees ``canvas`` (left, top, right, bottom as fractions of the picture) at ``input_size``; the identity head
    sees the cells ``window`` (first, end) of its features both ways. The defaults are the whole picture.
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 64, 128),
        *,
        input_size: int = 64,
        identity: int = 128,
        attributes: int = 192,
        thumbnail: int = 0,
        canvas: Sequence[float] = (0.0, 0.0, 1.0, 1.0),
        window: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.dims, self.canvas = input_size, (identity, attributes), tuple(canvas)
        self.trunk = Trunk(widths)
        side = input_size >> len(widths)
        self.window = (0, side) if window is None else (int(window[0]), int(window[1]))
        self.identity = head(widths[-1], self.window[1] - self.window[0], identity)
        self.attributes = AttributeHead(widths[-1], side, attributes, thumbnail)

    def seen(self, image: Tensor) -> Tensor:
        """The part of the picture that the trunk sees, (B,3,input_size,input_size)."""
        height, width = image.shape[2:]
        left, top, right, bottom = self.canvas
        part = image[:, :, round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
        return resized(part, self.input_size)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.trunk(self.seen(image))[-1]
        cells = slice(*self.window)
        identity = self.identity(shared[:, :, cells, cells])
        return F.normalize(identity, dim=1), F.normalize(self.attributes(shared, image), dim=1)
