"""What every face encoder does with its input: check the tensor at the door and bring it to the network's size."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def check_images(image: Tensor, size: int | None = None) -> None:
    """Check that ``image`` is (B,3,H,W) floating point, and H = W = ``size`` where that is given. Raises ValueError."""
    if image.ndim != 4 or image.shape[1] != 3 or not image.is_floating_point():
        raise ValueError(f"expected float images (B,3,H,W) in [-1,1], got {image.dtype} {tuple(image.shape)}")
    if size is not None and tuple(image.shape[2:]) != (size, size):
        raise ValueError(f"expected {size}x{size} pixels, got {image.shape[2]}x{image.shape[3]}; resize first")


def resize(image: Tensor, size: int) -> Tensor:
    """Bring ``image`` (B,C,H,W) to (B,C,size,size), bilinear with antialiasing; untouched when it has that size."""
    if tuple(image.shape[2:]) == (size, size):
        return image
    return F.interpolate(image, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
