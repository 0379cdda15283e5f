"""Where the four components lie in an FFHQ-style aligned face, as fractions of the image, and how to cut and place them.

Boxes are constants of the alignment, mirror-symmetric about the middle of the picture. Order everywhere: the eye on the
left of the picture, the eye on the right, nose, mouth.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.errors import BadRequest

COMPONENTS = ("l_eye", "r_eye", "nose", "mouth")
REFERENCE_SIDE = 1024
PIXELS = ((274, 360, 486, 550), (538, 360, 750, 550), (370, 530, 654, 700), (350, 690, 674, 870))
BOXES = tuple(tuple(v / REFERENCE_SIDE for v in box) for box in PIXELS)
GROUPS = {"eyes": (0, 1), "l_eye": (0,), "r_eye": (1,), "nose": (2,), "mouth": (3,)}

Box = Sequence[float]


def rows_of(names: Sequence[str]) -> tuple[int, ...]:
    """Rows of the embedding matrix that ``names`` (components or "eyes") stand for. Raises BadRequest for a stranger."""
    rows: set[int] = set()
    for name in names:
        if name not in GROUPS:
            raise BadRequest(f"There is no component '{name}'; there are: {', '.join(GROUPS)}.")
        rows.update(GROUPS[name])
    return tuple(sorted(rows))


def grid_boxes(side: int) -> tuple[tuple[int, int, int, int], ...]:
    """Boxes in cells of a grid of ``side``, half-open (x0,y0,x1,y1): a cell belongs to a box if its centre does."""
    step = REFERENCE_SIDE / side

    def cell(value: int) -> int:
        return min(max(ceil((value - step / 2) / step), 0), side - 1)

    return tuple((cell(a), cell(b), cell(c), cell(d)) for a, b, c, d in PIXELS)


def ramp(side: int, low: float, high: float, feather: float) -> Tensor:
    """(side,) profile over pixel centres: 1 inside [low, high], linear over ``feather`` centred on both ends, 0 outside."""
    at = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    inside = torch.minimum(at - low, high - at)
    if feather <= 0:
        return (inside >= 0).float()
    return (inside / feather + 0.5).clamp(0, 1).float()


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept must serve trainings too, here and below
def soft_masks(side: int, feather: float = 0.03, grow: float = 0.0) -> Tensor:
    """(4,side,side) soft boxes whose sum is at most 1 everywhere: with 1 - sum as background, a partition of unity.

    ``feather``: width of the linear edge, ``grow``: how far the edge is moved outwards; both fractions of the image.
    Where boxes overlap they share in proportion to their own values. The tensor is shared: do not write into it.
    """
    masks = torch.stack(
        [
            torch.outer(
                ramp(side, y0 - grow, y1 + grow, feather),
                ramp(side, x0 - grow, x1 + grow, feather),
            )
            for x0, y0, x1, y1 in BOXES
        ]
    )
    return masks / masks.sum(0, keepdim=True).clamp_min(1)


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def reading(count: int, side: int, low: float, high: float) -> Tensor:
    """(count,side) weights that read ``count`` samples from [low, high] of a line of ``side`` pixels.

    Triangle filter, as wide as the sampling step where that is more than a pixel (no aliasing). Rows sum to 1.
    """
    step = (high - low) * side / count
    centres = low * side + (torch.arange(count, dtype=torch.float64) + 0.5) * step - 0.5
    width = max(1.0, step)
    pixels = torch.arange(side, dtype=torch.float64)
    weights = (1 - (pixels[None] - centres.clamp(0, side - 1)[:, None]).abs() / width).clamp_min(0)
    return (weights / weights.sum(1, keepdim=True)).float()


@lru_cache(maxsize=256)
@torch.inference_mode(False)
def writing(side: int, count: int, low: float, high: float) -> Tensor:
    """(side,count) weights that spread ``count`` samples over [low, high] of ``side`` pixels; beyond it, the end values."""
    at = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    where = ((at - low) / (high - low) * count - 0.5).clamp(0, count - 1)
    samples = torch.arange(count, dtype=torch.float64)
    return (1 - (where[:, None] - samples[None]).abs()).clamp_min(0).float()


def crop(image: Tensor, box: Box, size: tuple[int, int]) -> Tensor:
    """Part ``box`` (x0,y0,x1,y1 as fractions) of ``image`` (B,C,H,W) at ``size`` (height, width)."""
    x0, y0, x1, y1 = box
    vertical = reading(size[0], image.shape[2], y0, y1).to(image)
    horizontal = reading(size[1], image.shape[3], x0, x1).to(image)
    return vertical @ image @ horizontal.t()


def place(patch: Tensor, box: Box, side: int) -> Tensor:
    """``patch`` (B,C,h,w) spread over ``box`` of a picture of ``side`` pixels, its borders continued: (B,C,side,side)."""
    x0, y0, x1, y1 = box
    vertical = writing(side, patch.shape[2], y0, y1).to(patch)
    horizontal = writing(side, patch.shape[3], x0, x1).to(patch)
    return vertical @ patch @ horizontal.t()


@lru_cache(maxsize=16)
@torch.inference_mode(False)
def gaussian(side: int, sigma: float) -> Tensor:
    """(side,side) matrix of a Gaussian of ``sigma`` (a fraction of the line); rows are not normalised."""
    at = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    return torch.exp(-0.5 * ((at[:, None] - at[None]) / sigma) ** 2).float()


def surroundings(image: Tensor, masks: Tensor, *, sigma: float = 0.06, side: int = 32) -> Tensor:
    """``image`` (B,3,H,W) with what ``masks`` (4,H,W) cover filled in from around it: a smooth picture of the same size.

    Normalised Gaussian average of the uncovered pixels, so nothing of a component's own pixels enters.
    """
    size = image.shape[2]
    open_ = 1 - masks.sum(0, keepdim=True)[None].to(image)
    factor = max(1, size // side)
    known, seen = F.avg_pool2d(image * open_, factor), F.avg_pool2d(open_, factor)
    matrix = gaussian(known.shape[2], sigma).to(image)
    filled = (matrix @ known @ matrix) / (matrix @ seen @ matrix).clamp_min(1e-4)
    return F.interpolate(filled, (size, size), mode="bilinear", align_corners=False)
