"""The starter family's frozen networks in the forms that training and evaluation look through."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.compact import AttributeNet
from encoders.landmarks import LandmarkNet
from encoders.mobilefacenet import LandmarkMobileFaceNet
from encoders.resnet import ResNet
from idswap.preprocess import vggface2

FIRST_INNER_POINT = 17
"""The 17 points of the jaw are left out, as in the published losses: 51 remain."""
LANDMARK_CROP = 0.75, 0.02
"""Side and downward shift, in sides of the aligned picture, of the square that the landmark network sees."""


class InnerPoints(nn.Module):
    """51 inner points (B,51,2), x and y in [0,1] of the aligned ``image`` (B,3,S,S) in [-1,1], differentiable."""

    def __init__(self, net: LandmarkNet | LandmarkMobileFaceNet) -> None:
        super().__init__()
        self.net = net

    def all(self, image: Tensor) -> Tensor:
        """All 68 points (B,68,2)."""
        if isinstance(self.net, LandmarkMobileFaceNet):
            return self.net.points(image)
        scale, shift = LANDMARK_CROP
        theta = torch.tensor([[scale, 0.0, 0.0], [0.0, scale, 2 * shift]]).to(image).expand(len(image), -1, -1)
        side = self.net.input_size
        grid = F.affine_grid(theta, [len(image), 3, side, side], align_corners=False)
        crop = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)
        low = torch.tensor([0.5 - scale / 2, 0.5 - scale / 2 + shift]).to(image)
        return low + scale * self.net(crop).points68

    def forward(self, image: Tensor) -> Tensor:
        return self.all(image)[:, FIRST_INNER_POINT:]


class FeatureDistance(nn.Module):
    """A perceptual distance without learned heads: (B,3,H,W) twice in [-1,1] -> (B,).

    As LPIPS (arXiv 1801.03924): features of every level of an attribute classifier, unit length along channels, squared
    difference, mean over places, mean over levels.
    """

    def __init__(self, net: AttributeNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        # The target needs no gradient, but goes along: one pass over both is faster than two.
        levels = self.net.features(torch.cat([a, b]))
        parts = []
        for level in levels:
            one, other = F.normalize(level, dim=1).chunk(2)
            parts.append((one - other).square().sum(1).mean((1, 2)))
        return torch.stack(parts).mean(0)


class Shaken:
    """Moves pictures (B,3,S,S) a little before a recogniser looks at them: shift, size, turn, mirror; differentiable.

    Numbers come from ``draw``, which the training sets anew at every step.
    """

    def __init__(self, shift: float = 0.02, scale: float = 0.04, degrees: float = 4.0) -> None:
        self.shift, self.scale, self.degrees = shift, scale, degrees
        self.draw = torch.Generator()

    def __call__(self, image: Tensor) -> Tensor:
        count = len(image)
        angle, size = (torch.randn(count, generator=self.draw) * s for s in (self.degrees * math.pi / 180, self.scale))
        mirror = 1 - 2 * torch.randint(2, (count,), generator=self.draw).float()
        cos, sin = angle.cos() * size.exp(), angle.sin() * size.exp()
        linear = torch.stack([torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1)
        shift = 2 * self.shift * torch.randn(count, 2, 1, generator=self.draw)
        grid = F.affine_grid(torch.cat([linear, shift], 2).to(image), list(image.shape), align_corners=False)
        return F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=False)


class VGGFaceIdentity(nn.Module):
    """The TensorFlow code's recogniser: VGGFace2 ResNet-50 with a 512-unit ReLU layer, ``image`` in [-1,1] -> unit rows (B,512).

    After the ReLU the entries are not negative, so cosines between strangers are well above 0.
    """

    def __init__(self) -> None:
        super().__init__()
        self.net = ResNet(50, 512)

    def forward(self, image: Tensor) -> Tensor:
        return F.normalize(F.relu(self.net(vggface2(image))), dim=1)
