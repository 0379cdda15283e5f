"""Edits of a face in parts: move embeddings, borrow them from another face, and give the picture back in three ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from encoders.compact import resized
from iafaces.directions import Direction
from iafaces.model import Code
from iafaces.regions import COMPONENTS, soft_masks, surroundings

OutputMode = Literal["residual", "decoded", "difference"]
OUTPUT_MODES: tuple[OutputMode, ...] = ("residual", "decoded", "difference")

FEATHER, REACH = 0.04, 0.03
"""Width of the residual mask's edge and how far beyond the box its middle lies, fractions of the image."""


class Autoencoder(Protocol):
    """What an edit needs of a network: ours or the published ones."""

    @property
    def size(self) -> int: ...

    def encode(self, image: Tensor, /) -> Code: ...

    def nodes(self, image: Tensor, /) -> Tensor: ...

    def decode(self, code: Code, /) -> Tensor: ...


def blended(nodes: Tensor, other: Tensor, amounts: Sequence[float]) -> Tensor:
    """``nodes`` (B,4,D) with each component moved towards ``other`` (B,4,D) by its amount in [0, 1]; 0 and 1 are exact."""
    rows = []
    for index, amount in enumerate(amounts):
        mine, theirs = nodes[:, index], other[:, index]
        rows.append(mine if amount == 0 else theirs if amount == 1 else mine + amount * (theirs - mine))
    return torch.stack(rows, 1)


def moved(nodes: Tensor, directions: Mapping[str, Direction], strengths: Mapping[str, Sequence[float]]) -> Tensor:
    """``nodes`` (B,4,D) with every attribute moved by its strength in each component, in standard deviations."""
    for name, amounts in strengths.items():
        share = torch.tensor(list(amounts), device=nodes.device, dtype=nodes.dtype)[None, :, None]
        nodes = torch.where(share == 0, nodes, nodes + share * directions[name].step.to(nodes))
    return nodes


def changed(before: Tensor, after: Tensor) -> tuple[int, ...]:
    """Components whose embedding differs between two (1,4,D) tensors."""
    return tuple(i for i in range(len(COMPONENTS)) if not torch.equal(before[:, i], after[:, i]))


def edit_mask(rows: Sequence[int], size: int, *, feather: float = FEATHER, reach: float = REACH) -> Tensor:
    """(1,size,size) in [0, 1]: 1 in the boxes of ``rows`` and a little around, 0 where nothing may change."""
    masks = soft_masks(size, feather, reach)
    if not rows:
        return torch.zeros(1, size, size)
    return masks[list(rows)].sum(0, keepdim=True).clamp(0, 1)


def residual(photo: Tensor, edited: Tensor, recon: Tensor, mask: Tensor) -> Tensor:
    """photo + mask (edited - recon), each (3,H,W): where ``mask`` is 0 the photo's own values, bit for bit."""
    return torch.where(mask > 0, (photo + mask * (edited - recon)).clamp(-1, 1), photo)


def brought_along(change: Tensor, rows: Sequence[int]) -> Tensor:
    """A smooth picture (3,H,W) of what ``change`` (3,H,W) is around the boxes of ``rows``, carried inwards; 0 elsewhere.

    A borrowed part brings the light, beard or hair around it along, of which the box would cut a patch. Taken off the change, as
    gradient-domain cloning does, it leaves little at the border.
    """
    size = change.shape[1]
    inner = edit_mask(rows, size, feather=0.02, reach=-0.03).to(change)
    around = surroundings(change[None], inner, sigma=0.05)[0]
    # Whole where the residual's mask is more than a quarter; it ends softly, since other parts may change beside it.
    return (4 * edit_mask(rows, size).to(change)).clamp(0, 1) * around


def difference(edited: Tensor, recon: Tensor) -> Tensor:
    """(3,H,W) in [-1, 1]: black where nothing changed, white where a channel mean changed by half the range."""
    strength = (edited - recon).abs().mean(0, keepdim=True).clamp(0, 1)
    return (2 * strength - 1).expand(3, -1, -1)


def enlarged(image: Tensor, size: int) -> Tensor:
    """``image`` (3,h,h) at ``size`` px."""
    if image.shape[1] == size:
        return image
    if image.shape[1] > size:
        return resized(image[None], size)[0]
    return F.interpolate(image[None], (size, size), mode="bicubic", align_corners=False)[0]


def composed(
    photo: Tensor,
    edited: Tensor,
    recon: Tensor,
    rows: Sequence[int],
    mode: OutputMode,
    borrowed: Tensor | None = None,
    level: Sequence[int] = (),
) -> Tensor:
    """The picture (3,S,S) an edit shows for ``photo`` (3,S,S), from pictures (3,s,s) of the network's own size.

    ``borrowed``: the picture with nothing but what is borrowed; of a residual what that brings along around the components
    ``level`` is taken off, and what attributes change is left alone.
    """
    size = photo.shape[1]
    edited, recon = enlarged(edited, size).to(photo), enlarged(recon, size).to(photo)
    if mode == "decoded":
        return edited.clamp(-1, 1)
    if mode == "difference":
        return difference(edited, recon)
    if borrowed is not None and level:
        edited = edited - brought_along(enlarged(borrowed, size).to(photo) - recon, level)
    return residual(photo, edited, recon, edit_mask(rows, size).to(photo))
