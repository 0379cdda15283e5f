"""Image metrics with their published definitions: L2, SSIM, MS-SSIM, Fréchet distance of features."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def l2(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error per picture (B,) of ``a`` and ``b`` (B,3,H,W) in [-1, 1]."""
    return (a - b).square().mean([1, 2, 3])


def window(size: int = 11, sigma: float = 1.5) -> Tensor:
    """Gaussian taps (size,) that sum to one."""
    x = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    taps = torch.exp(-x.square() / (2 * sigma**2))
    return taps / taps.sum()


def blur(x: Tensor, taps: Tensor) -> Tensor:
    """Separable filter without padding, per channel."""
    channels, n = x.shape[1], taps.numel()
    taps = taps.to(x)
    x = F.conv2d(x, taps.reshape(1, 1, n, 1).expand(channels, 1, n, 1), groups=channels)
    return F.conv2d(x, taps.reshape(1, 1, 1, n).expand(channels, 1, 1, n), groups=channels)


def ssim_parts(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM and its contrast-structure part, each (B,), for pictures in [-1, 1] (Wang et al. 2004: 11 taps, sigma 1.5)."""
    a, b = (a + 1) / 2, (b + 1) / 2
    taps = window()
    c1, c2 = 0.01**2, 0.03**2
    ma, mb = blur(a, taps), blur(b, taps)
    va, vb, vab = blur(a * a, taps) - ma * ma, blur(b * b, taps) - mb * mb, blur(a * b, taps) - ma * mb
    structure = (2 * vab + c2) / (va + vb + c2)
    whole = (2 * ma * mb + c1) / (ma * ma + mb * mb + c1) * structure
    return whole.mean([1, 2, 3]), structure.mean([1, 2, 3])


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (B,)."""
    return ssim_parts(a, b)[0]


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Multi-scale SSIM (B,), Wang et al. 2003.

    Five scales need 176 px; smaller pictures use as many scales as fit, with the published weights renormalised.
    """
    scales = min(5, max(1, int(np.log2(min(a.shape[2:]) / 11)) + 1))
    weights = torch.tensor(MS_WEIGHTS[:scales])
    weights = weights / weights.sum()
    parts = []
    for scale in range(scales):
        whole, structure = ssim_parts(a, b)
        parts.append(whole if scale == scales - 1 else structure)
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    stacked = torch.stack(parts, 1).clamp(min=1e-6)
    return stacked.pow(weights.to(stacked)).prod(1)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between Gaussians fitted to features (N,D) and (M,D)."""
    ma, mb = a.mean(0), b.mean(0)
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # trace sqrt(ca cb) through the symmetric product, which has the same eigenvalues.
    values, vectors = np.linalg.eigh(ca)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ cb @ root)
    return float(((ma - mb) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * np.sqrt(np.clip(cross, 0, None)).sum())
