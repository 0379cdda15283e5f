"""What the published networks are fed, each from ``image`` (B,3,S,S) RGB in [-1,1]."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.inputs import check_images

VGG_MEANS = (91.4953, 103.8827, 131.0912)
"""Means of blue, green and red that the VGGFace2 networks were trained with, in [0,255]."""
LANDMARK_SIDE = 160


def bilinear(image: Tensor, side: int) -> Tensor:
    """``image`` at ``side`` px, half-pixel centres, no antialiasing."""
    return F.interpolate(image, size=(side, side), mode="bilinear", align_corners=False)


def vggface2(image: Tensor) -> Tensor:
    """Input (B,3,224,224) of VGGFace2's ResNet-50: the middle 80 % at 256 px, its centre 224, BGR in [0,255] minus the means."""
    check_images(image)
    side = image.shape[2]
    inner = slice(int(0.1 * side), int(0.9 * side))
    middle = bilinear((image[:, :, inner, inner] + 1) * 127.5, 256)[:, :, 16:240, 16:240]
    return middle.flip(1) - torch.tensor(VGG_MEANS).to(image).reshape(1, 3, 1, 1)


def landmarks160(image: Tensor) -> Tensor:
    """Input (B,3,160,160) in [0,255] of the landmark network of the TensorFlow code."""
    check_images(image)
    return bilinear((image + 1) * 127.5, LANDMARK_SIDE)
