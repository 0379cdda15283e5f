"""The Inception of FID (Heusel et al., arXiv 1706.08500), for the published port of TensorFlow's weights of 2015-12-05.

It differs from torchvision's InceptionV3 in its pools, as the TensorFlow graph has them: averages leave the padding out, and the
last block takes a maximum instead. Numbers computed with another Inception are no FID.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.inception import Unit, _a, _b, _c, _d, _e
from encoders.inputs import check_images

LAYERS = (
    "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "pool", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "pool", "Mixed_5b", "Mixed_5c",
    "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c",
)  # fmt: skip


class FIDInception(nn.Module):
    """``image`` (B,3,H,W) RGB in [-1, 1] -> pooled features (B,2048); it is brought to 299 px inside. Keys are the port's."""

    input_size = 299
    dim = 2048

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Unit(False, 3, 32, 3, 2)
        self.Conv2d_2a_3x3 = Unit(False, 32, 32, 3)
        self.Conv2d_2b_3x3 = Unit(False, 32, 64, 3).same()
        self.Conv2d_3b_1x1 = Unit(False, 64, 80, 1)
        self.Conv2d_4a_3x3 = Unit(False, 80, 192, 3)
        self.Mixed_5b = _a(False, 192, 32, counted=False)
        self.Mixed_5c = _a(False, 256, 64, counted=False)
        self.Mixed_5d = _a(False, 288, 64, counted=False)
        self.Mixed_6a = _b(False, 288)
        self.Mixed_6b = _c(False, 128, counted=False)
        self.Mixed_6c = _c(False, 160, counted=False)
        self.Mixed_6d = _c(False, 160, counted=False)
        self.Mixed_6e = _c(False, 192, counted=False)
        self.Mixed_7a = _d(False)
        self.Mixed_7b = _e(False, 1280, counted=False)
        self.Mixed_7c = _e(False, 2048, "peak")
        self.fc = nn.Linear(2048, 1008)  # in the file; FID does not use it

    def forward(self, image: Tensor) -> Tensor:
        check_images(image)
        size = (self.input_size, self.input_size)
        x = F.interpolate(image, size, mode="bilinear", align_corners=False)
        for name in LAYERS:
            x = F.max_pool2d(x, 3, 2) if name == "pool" else self.get_submodule(name)(x)
        return x.mean([2, 3])

    @torch.no_grad()
    def vectors(self, images: Tensor, batch: int = 16) -> Tensor:
        """Features (N,2048) of pictures (N,3,H,W), on the CPU."""
        return torch.cat([self(part).cpu() for part in images.split(batch)])
