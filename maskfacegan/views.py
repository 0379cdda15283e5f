"""The views of a picture through which the guide judges it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def shaken(image: Tensor, draws: torch.Generator) -> Tensor:
    """``image`` (1,3,S,S) turned, scaled, shifted and lit a little differently: what fools the guide at one place rarely does at two."""
    turn, scale, right, down, contrast, light = (2 * torch.rand(6, generator=draws) - 1).tolist()
    cos, sin = (1 + 0.08 * scale) * math.cos(0.12 * turn), (1 + 0.08 * scale) * math.sin(0.12 * turn)
    matrix = torch.tensor([[[cos, -sin, 0.08 * right], [sin, cos, 0.08 * down]]], device=image.device)
    grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
    moved = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return moved * (1 + 0.15 * contrast) + 0.1 * light
