"""Losses of both methods. Pictures here are (B,3,S,S) in [0,1] unless said otherwise.

Nitzan et al. 2020, arXiv 2005.07728, section 3; Zhou et al. 2023. MS-SSIM: Wang et al. 2003.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
Distance = Callable[[Tensor, Tensor], Tensor]


@cache
def gaussian(size: int, sigma: float) -> Tensor:
    """Normalised 1-d Gaussian (size,)."""
    x = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    return (kernel / kernel.sum()).float()


def blur(image: Tensor, kernel: Tensor, padding: int = 0) -> Tensor:
    """Separable convolution of each channel with ``kernel`` (k,), zero ``padding``."""
    channels = image.shape[1]
    k = kernel.to(image)
    rows = F.conv2d(image, k.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1), padding=(padding, 0), groups=channels)
    return F.conv2d(rows, k.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1), padding=(0, padding), groups=channels)


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale structural similarity (B,) of pictures in [0,1]: product over scales per channel, mean over channels.

    Five scales from 161 px on; smaller pictures use as many as leave room for the window, their exponents renormalised.
    Raises ValueError below 11 px.
    """
    count = min(len(SCALES), (min(a.shape[2:]) - 1).bit_length())
    while count > 1 and (WINDOW - 1) * 2 ** (count - 1) >= min(a.shape[2:]):
        count -= 1
    if min(a.shape[2:]) < WINDOW:
        raise ValueError(f"MS-SSIM needs pictures of at least {WINDOW} px, got {tuple(a.shape)}")
    weights = torch.tensor(SCALES[:count], dtype=torch.float64)
    weights = weights / weights.sum() if count < len(SCALES) else weights
    kernel, product = gaussian(WINDOW, SIGMA), torch.ones((), device=a.device)
    for scale in range(count):
        if scale:
            odd = [side % 2 for side in a.shape[2:]]
            a, b = (F.avg_pool2d(F.pad(x, (0, odd[1], 0, odd[0]), mode="replicate"), 2) for x in (a, b))
        moments = blur(torch.cat([a, b, a * a, b * b, a * b]), kernel)
        mean_a, mean_b, aa, bb, ab = moments.chunk(5)
        contrast = (2 * (ab - mean_a * mean_b) + C2) / (aa - mean_a.square() + bb - mean_b.square() + C2)
        if scale == count - 1:
            contrast = contrast * (2 * mean_a * mean_b + C1) / (mean_a.square() + mean_b.square() + C1)
        product = product * F.relu(contrast.mean((2, 3))).pow(float(weights[scale]))
    return product.mean(1)


@cache
def inverse_gaussian(size: int, sigma: int | None = None) -> Tensor:
    """Mask (size,size) that sums to 1 and weighs the border more than the middle; ``sigma`` in pixels, 80 at 256 px."""
    sigma = int(80 * size / 256) if sigma is None else sigma
    line = torch.exp(-(torch.arange(size, dtype=torch.float64) - (size - 1) / 2).square() / (2 * sigma**2))
    bump = line[:, None] * line
    mask = bump.max() + bump.min() - bump
    return (mask / mask.sum()).float()


def masked_l1(a: Tensor, b: Tensor, mask: Tensor) -> Tensor:
    """Absolute difference under ``mask`` (S,S) summing to 1, mean over channels, one value per row (B,)."""
    return ((a - b).abs().mean(1) * mask.to(a)).sum((1, 2))


def structure(a: Tensor, b: Tensor, alpha: float) -> Tensor:
    """alpha (1 - MS-SSIM) + (1 - alpha) mean |a - b|, the port's form (R: 0.84, Z: 0.9)."""
    return alpha * (1 - ms_ssim(a, b)).mean() + (1 - alpha) * (a - b).abs().mean()


def masked_structure(a: Tensor, b: Tensor, alpha: float = 0.84, *, summed: bool = True) -> Tensor:
    """The TensorFlow code's form: mean 1 - MS-SSIM, and the L1 under the inverse Gaussian, ``summed`` over the batch or averaged."""
    rows = masked_l1(a, b, inverse_gaussian(a.shape[2]))
    return alpha * (1 - ms_ssim(a, b)).mean() + (1 - alpha) * (rows.sum() if summed else rows.mean())


def identity_l1(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of unit embeddings (B,D)."""
    return (a - b).abs().mean()


def identity_cosine(a: Tensor, b: Tensor) -> Tensor:
    """One minus the cosine of unit embeddings (B,D)."""
    return (1 - (a * b).sum(1)).mean()


def landmarks(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of points (B,N,2), in whatever units they have."""
    return (a - b).square().mean()


def fool(fake: Tensor) -> Tensor:
    """Non-saturating generator loss of logits (B,)."""
    return F.softplus(-fake).mean()


def judge(real: Tensor, fake: Tensor) -> Tensor:
    """Discriminator loss of logits (B,): real is 1, fake is 0."""
    return F.softplus(fake).mean() + F.softplus(-real).mean()


def r1(logit: Tensor, real: Tensor, gamma: float) -> Tensor:
    """gamma / 2 times the mean squared gradient norm of ``logit`` (B,) at ``real`` (B,D), which must require gradients."""
    (slope,) = torch.autograd.grad(logit.sum(), real, create_graph=True)
    return 0.5 * gamma * slope.square().sum(1).mean()


def opencv_sigma(size: int) -> float:
    """Sigma that OpenCV takes for a Gaussian kernel of ``size`` when none is given."""
    return 0.3 * ((size - 1) * 0.5 - 1) + 0.8


def high_pass(image: Tensor, size: int = 21) -> Tensor:
    """Grey picture minus its Gaussian blur (zero padding), in three equal channels. ``size`` of the kernel, 21 at 256 px."""
    weights = torch.tensor([0.299, 0.587, 0.114]).to(image).reshape(1, 3, 1, 1)
    grey = (image * weights).sum(1, keepdim=True)
    return (grey - blur(grey, gaussian(size, opencv_sigma(size)), size // 2)).expand(-1, 3, -1, -1)


def high_pass_size(side: int) -> int:
    """Odd kernel size that covers at ``side`` px what 21 covers at 256."""
    return max(5, round(21 * side / 256) // 2 * 2 + 1)


def crop_sides(uniform: Tensor, side: int, low: float = 1 / 8, high: float = 1 / 4) -> Tensor:
    """Sides in pixels (N,) of random crops from ``uniform`` (N,) in [0,1), between ``low`` and ``high`` of ``side``."""
    return ((uniform * (high - low) + low) * side).int()


def draw_boxes(count: int, side: int, draw: torch.Generator) -> Tensor:
    """Boxes (count,4): y, x, height, width in pixels, anywhere in the picture."""
    sides = crop_sides(torch.rand(count, generator=draw), side).clamp_min(2)
    places = (torch.rand(2, count, generator=draw) * (side - sides)).int()
    return torch.stack([places[0], places[1], sides, sides], 1)


def crops(image: Tensor, boxes: Tensor, side: int = 64) -> Tensor:
    """The ``boxes`` (N,4) of every row, resized (bilinear) to (B * N,3,side,side), the crops of row 0 first."""
    parts = [
        F.interpolate(image[:, :, y : y + h, x : x + w], (side, side), mode="bilinear", align_corners=False)
        for y, x, h, w in boxes.tolist()
    ]
    return torch.stack(parts, 1).flatten(0, 1)
