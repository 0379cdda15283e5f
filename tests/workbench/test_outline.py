"""What a swap replaces in a photo: the face, not its surroundings."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.parser import FACE_CLASSES
from workbench.outline import outline


class Bright(nn.Module):
    """Skin is what is bright; logits at half the size."""

    def forward(self, image: Tensor) -> Tensor:
        small = nn.functional.avg_pool2d(image.mean(1, keepdim=True), 2)
        out = torch.zeros(len(image), len(FACE_CLASSES), *small.shape[2:])
        out[:, FACE_CLASSES.index("skin")] = 20 * small[:, 0]
        out[:, FACE_CLASSES.index("hair")] = -20 * small[:, 0]
        return out


def faces() -> Tensor:
    pictures = torch.full((2, 3, 64, 64), -1.0)
    pictures[0, :, 20:40, 20:40] = 1
    pictures[1, :, 30:50, 20:40] = 1
    return pictures


def test_the_faces_of_both_pictures_are_covered_and_the_rest_is_not() -> None:
    mask = outline(Bright(), faces())
    assert mask.shape == (1, 64, 64)
    assert mask[0, 22:48, 24:36].min() > 0.8
    assert mask[0, :10].max() == 0
    assert mask[0, :, 52:].max() == 0
    assert ((mask > 0.02) & (mask < 0.98)).float().mean() > 0.05  # a soft seam


def test_no_face_is_nothing_to_replace() -> None:
    assert not outline(Bright(), torch.full((2, 3, 32, 32), -1.0)).any()
