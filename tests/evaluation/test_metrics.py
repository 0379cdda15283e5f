"""Metrics against their definitions and known values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evaluation import metrics


def pictures(seed: int, size: int = 64) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    coarse = torch.rand(2, 3, 8, 8, generator=draw) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(-1, 1)


def test_equal_pictures_score_perfectly() -> None:
    a = pictures(0)
    assert metrics.l2(a, a).tolist() == [0, 0]
    torch.testing.assert_close(metrics.ssim(a, a), torch.ones(2))
    torch.testing.assert_close(metrics.ms_ssim(a, a), torch.ones(2))


def test_ssim_of_two_constant_pictures_has_its_closed_form() -> None:
    a, b = torch.full((1, 3, 32, 32), 0.0), torch.full((1, 3, 32, 32), 0.4)
    ma, mb, c1 = 0.5, 0.7, 1e-4
    expected = (2 * ma * mb + c1) / (ma**2 + mb**2 + c1)
    # The variances of a constant are zero up to rounding, which the small constant of the formula makes visible.
    assert float(metrics.ssim(a, b)) == pytest.approx(expected, abs=2e-3)


def test_more_noise_scores_lower() -> None:
    a = pictures(1)
    noise = torch.randn(a.shape, generator=torch.Generator().manual_seed(2))
    scores = [metrics.ms_ssim(a, (a + s * noise).clamp(-1, 1)).mean() for s in (0.05, 0.2, 0.6)]
    assert scores[0] > scores[1] > scores[2]


def test_frechet_distance_of_known_gaussians() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((200_000, 3))
    b = rng.standard_normal((200_000, 3)) * 2 + 1
    # |1|^2 * 3 + trace(I + 4I - 2 * 2I) = 3 + 3
    assert metrics.frechet(a, b) == pytest.approx(6, rel=0.02)
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-6)
