"""Our metrics against scikit-image, scipy and torchmetrics, where those need no weights."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from skimage import metrics as skimage_metrics
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure
from torchmetrics.image.kid import poly_mmd

from evaluation import metrics, registry
from evaluation.features import kernel_distance, precision_recall


def pairs(size: int = 192, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 12, 12, generator=draw) * 1.8 - 0.9
    a = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)
    noise = torch.randn(a.shape, generator=draw) * torch.linspace(0.05, 0.3, count).reshape(-1, 1, 1, 1)
    return a, (0.9 * a + noise).clamp(-1, 1)


def pixels(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).double().numpy()


def each(function, a, b):
    return [function(pixels(x), pixels(y)) for x, y in zip(a, b, strict=True)]


def test_mse_and_psnr_are_scikit_images() -> None:
    a, b = pairs()
    mse = each(skimage_metrics.mean_squared_error, a, b)
    psnr = each(lambda x, y: skimage_metrics.peak_signal_noise_ratio(x, y, data_range=2), a, b)
    assert registry.run("mse", a, b).value == pytest.approx(np.mean(mse), rel=1e-5)
    assert registry.run("psnr", a, b).value == pytest.approx(np.mean(psnr), rel=1e-5)


def test_ssim_is_scikit_images() -> None:
    a, b = pairs()
    settings = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    values = each(
        lambda x, y: skimage_metrics.structural_similarity(x, y, channel_axis=2, **settings), (a + 1) / 2, (b + 1) / 2
    )
    assert metrics.ssim(a, b).numpy() == pytest.approx(values, abs=1e-4)


def test_ms_ssim_is_torchmetrics() -> None:
    a, b = pairs(256)
    found = multiscale_structural_similarity_index_measure(
        (a + 1) / 2, (b + 1) / 2, data_range=1.0, reduction="none", normalize=None
    )
    assert metrics.ms_ssim(a, b).numpy() == pytest.approx(found.numpy(), abs=2e-3)


def test_the_frechet_distance_is_that_of_scipys_matrix_root() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((400, 12)), rng.standard_normal((300, 12)) @ rng.standard_normal((12, 12)) + 0.5
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.real(np.asarray(scipy.linalg.sqrtm(ca @ cb)))
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * root)
    assert metrics.frechet(a, b) == pytest.approx(wanted, rel=1e-6)


def test_the_kernel_distance_is_torchmetrics() -> None:
    draw = torch.Generator().manual_seed(0)
    a, b = torch.randn(60, 16, generator=draw), torch.randn(60, 16, generator=draw) * 1.3 + 0.4
    wanted = poly_mmd(a.double(), b.double(), degree=3, gamma=None, coef=1.0)
    assert float(kernel_distance(a, b)) == pytest.approx(float(wanted), rel=1e-6)


def test_precision_and_recall_are_those_of_a_slow_count() -> None:
    draw = torch.Generator().manual_seed(1)
    real, fake = torch.randn(40, 3, generator=draw), torch.randn(50, 3, generator=draw) * 0.5 + 0.8
    precision, recall = counted(fake, real), counted(real, fake)
    found = precision_recall(real, fake)
    assert (float(found[0]), float(found[1])) == pytest.approx((precision, recall))


def counted(points: torch.Tensor, balls: torch.Tensor, k: int = 3) -> float:
    """Share of ``points`` within the distance of some ball's centre to its k-th neighbour, counted one by one."""
    inside = 0
    for point in points.numpy():
        for i, centre in enumerate(balls.numpy()):
            others = sorted(np.linalg.norm(centre - o) for j, o in enumerate(balls.numpy()) if j != i)
            if np.linalg.norm(point - centre) <= others[k - 1]:
                inside += 1
                break
    return inside / len(points)
