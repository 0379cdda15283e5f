"""IA-FaceS's metrics exactly as its authors computed them: for comparison with published numbers only.

They stretch every picture to [0, 1] on its own before PSNR and SSIM, so a lost contrast goes unseen, and take PSNR of a whole
batch, so the number depends on how pictures are grouped. The registry offers them as ``*_ref`` beside the correct ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.metrics import window


def stretched(images: Tensor) -> Tensor:
    """Each picture of (B,3,H,W) brought to [0, 1] by its own minimum and maximum."""
    low, high = images.amin([1, 2, 3], keepdim=True), images.amax([1, 2, 3], keepdim=True)
    return (images - low) / (high - low)


def batch_psnr(a: Tensor, b: Tensor) -> Tensor:
    """PSNR of all pictures of (B,3,H,W) in [0, 1] taken as one; infinite for equal ones."""
    return 10 * torch.log10(1 / (a - b).square().mean())


def padded_ssim(a: Tensor, b: Tensor) -> Tensor:
    """SSIM (B,) of pictures in [0, 1]: 11 Gaussian taps of sigma 1.5, zero padding, mean over pixels and channels."""
    taps = window().to(a)
    kernel = torch.outer(taps, taps)[None, None].expand(a.shape[1], 1, -1, -1)

    def local(x: Tensor) -> Tensor:
        return F.conv2d(x, kernel, padding=5, groups=x.shape[1])

    ma, mb = local(a), local(b)
    va, vb, vab = local(a * a) - ma * ma, local(b * b) - mb * mb, local(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    values = (2 * ma * mb + c1) * (2 * vab + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2))
    return values.mean([1, 2, 3])


def weighted(values: list[Tensor], counts: list[int]) -> Tensor:
    """Mean of batch values, each as often as its batch has pictures."""
    total = sum((v * n for v, n in zip(values, counts, strict=True)), torch.zeros(()))
    return total / sum(counts)


def psnr_ref(a: Tensor, b: Tensor, batch: int = 4) -> Tensor:
    """The released PSNR of pictures (N,3,H,W) in [-1, 1], in batches of ``batch``."""
    pairs = list(zip(stretched(a).split(batch), stretched(b).split(batch), strict=True))
    return weighted([batch_psnr(x, y) for x, y in pairs], [len(x) for x, _ in pairs])


def ssim_ref(a: Tensor, b: Tensor) -> Tensor:
    """The released SSIM (N,) of pictures in [-1, 1]."""
    return padded_ssim(stretched(a), stretched(b))


def mse_irr_ref(source: Tensor, edited: Tensor, mask: Tensor) -> Tensor:
    """Squared change (N,) where ``mask`` (H,W) is 1, averaged over all pixels, the masked ones included."""
    return ((source - edited) * mask).square().mean([1, 2, 3])
