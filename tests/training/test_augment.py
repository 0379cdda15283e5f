"""Adaptive augmentation: at rest it is nothing, its maps are what they say, and its probability follows the sign."""

from __future__ import annotations

import math

import pytest
import torch

from training.augment import LUMA, Augment, around_luma, colours, geometry


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_at_rest_pictures_pass_untouched() -> None:
    image = torch.randn(2, 3, 16, 16)
    assert Augment()(image, seeded()) is image
    still = geometry(3, 0.0, seeded())
    assert torch.equal(still, torch.eye(2, 3).expand(3, 2, 3))
    assert torch.allclose(colours(3, 0.0, seeded()), torch.eye(3, 4).expand(3, 3, 4), atol=1e-6)


def test_the_share_of_moved_pictures_follows_the_probability() -> None:
    augment = Augment()
    augment.p.fill_(0.05)
    image = torch.rand(400, 3, 8, 8)
    moved = (augment(image, seeded()) - image).abs().amax((1, 2, 3)) > 1e-4
    assert 0.3 < moved.float().mean() < 0.7  # thirteen transforms at 5 % each leave half the pictures alone
    augment.p.fill_(0.8)
    assert ((augment(image, seeded()) - image).abs().amax((1, 2, 3)) > 1e-4).float().mean() > 0.98


def test_grey_keeps_its_place_under_hue() -> None:
    turn = around_luma(torch.tensor([1.0, -2.0]))
    assert torch.allclose(turn @ LUMA, LUMA.expand(2, 3), atol=1e-6)
    assert torch.allclose(torch.linalg.det(turn), torch.ones(2), atol=1e-6)
    assert torch.allclose(around_luma(torch.tensor([2 * math.pi])), torch.eye(3)[None], atol=1e-5)


def test_gradients_reach_the_picture() -> None:
    augment = Augment()
    augment.p.fill_(0.8)
    image = torch.randn(4, 3, 16, 16, requires_grad=True)
    augment(image, seeded()).sum().backward()
    assert image.grad is not None
    assert (image.grad.abs().sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize(("sign", "rises"), [(0.9, True), (0.2, False)])
def test_the_probability_follows_the_sign(sign: float, rises: bool) -> None:
    augment = Augment(images=1000)
    augment.p.fill_(0.5)
    augment.adapt(torch.tensor(sign), 100)
    assert float(augment.p) == pytest.approx(0.6 if rises else 0.4)
    for _ in range(20):
        augment.adapt(torch.tensor(sign), 100)
    assert float(augment.p) == pytest.approx(augment.most if rises else 0.0)
