"""A discriminator that looks at patches: fine ones of the whole picture and, of a small copy, everything at once.

For sharpening a reconstruction one needs to know where a picture looks painted rather than photographed, which is a local matter: a
few small convolutions learn it within a few thousand pictures, where StyleGAN2's discriminator wants millions. Patches as in
Isola 2017 (arXiv 1611.07004), several scales and the comparison of features as in Wang 2018 (arXiv 1711.11585), the hinge loss
of Lim 2017 (arXiv 1705.02894). There is no normalisation: spectral norms were slower to tell anything. Without a penalty on the
slope (Mescheder 2018, arXiv 1801.04406) it was sure of everything after 20,000 pictures and its gradient told nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.compact import resized

DETAIL = 4.0
"""How much what a copy of half the size lacks is amplified: photos and paintings differ most there, and it is small."""


class PatchDiscriminator(nn.Module):
    """Pictures (B,3,H,W), seen at ``side`` px, to the feature maps of every level, the last of them the scores (B,1,h,w).

    Beside the picture it is shown the picture's detail.
    widths: channels at 1/2, 1/4, ... of ``side``; three levels judge patches of 38 pixels.
    """

    def __init__(self, side: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.side = side
        pairs = zip((6, *widths[:-1]), widths, strict=True)
        self.levels = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairs)
        self.score = nn.Conv2d(widths[-1], 1, 3, 1, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        x, maps = resized(image, self.side), []
        coarse = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear")
        x = torch.cat([x, DETAIL * (x - coarse)], 1)
        for level in self.levels:
            x = F.leaky_relu(level(x), 0.2)
            maps.append(x)
        return [*maps, self.score(x)]


class Patches(nn.Module):
    """Patch discriminators of several scales; ``scales`` {side: widths}."""

    def __init__(self, scales: Mapping[str, Sequence[int]]) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(int(side), widths) for side, widths in scales.items())

    def forward(self, image: Tensor) -> list[list[Tensor]]:
        return [scale(image) for scale in self.scales]


def told_apart(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """The discriminator's hinge loss, mean over the scales; 2 for one that tells nothing."""
    parts = [
        F.relu(1 - r[-1].float()).mean() + F.relu(1 + f[-1].float()).mean() for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(parts).mean()


def slope(maps: Sequence[Sequence[Tensor]], image: Tensor) -> Tensor:
    """Squared slope of the mean scores in ``maps`` at the pictures ``image`` (B,3,S,S), summed over the scales, mean over B."""
    total = torch.zeros((), device=image.device)
    for scale in maps:
        (steep,) = torch.autograd.grad(scale[-1].float().mean([1, 2, 3]).sum(), image, create_graph=True)
        total = total + steep.float().square().sum([1, 2, 3]).mean()
    return total


def believed(fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """The generator's term: minus the mean score."""
    return -torch.stack([maps[-1].float().mean() for maps in fake]).mean()


def feature_distance(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference of the feature maps below the scores, each relative to the size of the real ones."""
    parts = [
        (f - r.detach()).abs().float().mean() / r.detach().abs().float().mean().clamp_min(1e-4)
        for of_real, of_fake in zip(real, fake, strict=True)
        for r, f in zip(of_real[:-1], of_fake[:-1], strict=True)
    ]
    return torch.stack(parts).mean()
