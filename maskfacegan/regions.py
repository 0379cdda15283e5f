"""Which part of the face an attribute lives in, and the soft masks that follow from a parsing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.parser import FACE_CLASSES

REGIONS: Mapping[str, str] = {
    "Wearing_Lipstick": "mouth",
    "Mouth_Slightly_Open": "mouth",
    "Smiling": "mouth",
    "Big_Lips": "mouth",
    "Bushy_Eyebrows": "eyebrows",
    "Arched_Eyebrows": "eyebrows",
    "Narrow_Eyes": "eyes",
    "Pointy_Nose": "nose",
    "Big_Nose": "nose",
    "Black_Hair": "hair",
    "Blond_Hair": "hair",
    "Brown_Hair": "hair",
    "Gray_Hair": "hair",
    "Wavy_Hair": "hair",
    "Straight_Hair": "hair",
}
"""CelebA attribute -> the class it is edited in; every other attribute is edited globally."""

WITH_EARS = frozenset({"Wavy_Hair", "Straight_Hair"})
COLOURED = frozenset(
    {"Wearing_Lipstick", "Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Pale_Skin", "Rosy_Cheeks", "Heavy_Makeup"}
)  # fmt: skip
"""Attributes that are about colour, which other edits leave alone."""
GLOBAL_CLASSES = tuple(name for name in FACE_CLASSES if name != "background")


@dataclass(frozen=True)
class MaskClasses:
    """Classes of each soft mask. ``recon``: where the picture must stay the photo; ``blend``: where the edit is put in;
    ``shape``: the edited part itself, empty for a global edit."""

    recon: tuple[str, ...]
    blend: tuple[str, ...]
    shape: tuple[str, ...]

    @property
    def local(self) -> bool:
        return bool(self.shape)


def mask_classes(attributes: Sequence[str], *, skin: bool = True, globally: bool = False) -> MaskClasses:
    """The masks of one or several CelebA attributes; one without a region of its own makes the edit global.

    ``skin`` blends the skin too, as the release does by default.
    """
    if globally or not attributes or any(name not in REGIONS for name in attributes):
        return MaskClasses(GLOBAL_CLASSES, GLOBAL_CLASSES, ())
    ears = any(name in WITH_EARS for name in attributes)
    wanted = {REGIONS[name] for name in attributes} | ({"ears"} if ears else set())
    recon = ("skin", "ears") if ears else ("skin",)
    shape = tuple(name for name in FACE_CLASSES if name in wanted)
    blend = tuple(name for name in FACE_CLASSES if name in wanted or (skin and name in recon))
    return MaskClasses(recon, blend, shape)


def soft_mask(parsing: Tensor, classes: Sequence[str]) -> Tensor:
    """Summed probability (B,1,h,w) of ``classes`` in ``parsing`` (B,9,h,w), a softmax over FACE_CLASSES."""
    if not classes:
        return torch.zeros_like(parsing[:, :1])
    return parsing[:, [FACE_CLASSES.index(name) for name in classes]].sum(1, keepdim=True)


def at_size(mask: Tensor, size: int) -> Tensor:
    """``mask`` (B,C,h,w) at ``size`` px: bilinear when growing, antialiased when shrinking."""
    if tuple(mask.shape[2:]) == (size, size):
        return mask
    shrink = mask.shape[2] > size
    return F.interpolate(mask, (size, size), mode="bilinear", align_corners=False, antialias=shrink)
