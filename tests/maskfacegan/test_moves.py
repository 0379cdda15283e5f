"""How a code moves: whitened axes, rows that stay together, steps along the gradient, what the guide is shown."""

from __future__ import annotations

import pytest
import torch

from maskfacegan.losses import tint_loss
from maskfacegan.moves import Even, Moves, principal_axes
from maskfacegan.views import shaken


def stretched(z: torch.Tensor) -> torch.Tensor:
    """A linear map whose W spreads 5, 2 and 0 along its axes."""
    turn = torch.linalg.qr(torch.arange(9.0).reshape(3, 3).cos())[0]
    return z * torch.tensor([2.0, 5.0, 0.0]) @ turn + 7


def test_axes_are_as_long_as_the_spread_and_flat_ones_are_left_out() -> None:
    axes = principal_axes(stretched, 3)
    assert axes.shape == (2, 3)
    assert axes.norm(dim=1).tolist() == pytest.approx([5, 2], rel=0.05)
    assert abs(float(axes[0] @ axes[1])) < 1e-3


def test_a_shared_move_moves_all_rows_alike_and_own_ones_little() -> None:
    axes, begun = principal_axes(stretched, 3), torch.randn(1, 4, 3)
    moves = Moves(begun, axes, rows=0.1)
    assert torch.equal(moves.code, begun)
    shared, own = moves.variables
    with torch.no_grad():
        shared[0, 0, 1] = 1.0
        own[0, 2, 0] = 1.0
    change = moves.code - begun
    assert torch.allclose(change[0, 0], axes[1], atol=1e-5)
    assert torch.allclose(change[0, 2] - change[0, 0], 0.1 * axes[0], atol=1e-5)
    assert float(moves.length(1.0).detach()) == pytest.approx((4 + 0.01) / 8)


def test_moves_go_on_where_they_were_kept() -> None:
    axes, begun = principal_axes(stretched, 3), torch.randn(1, 4, 3)
    one, other = Moves(begun, axes, 0.1), Moves(begun + 1, axes, 0.1)
    with torch.no_grad():
        one.variables[0].fill_(0.3)
    other.restore(one.state())
    assert torch.equal(other.code, one.code)
    onward = one.onward()
    assert torch.equal(onward.code, one.code)
    assert float(onward.length(1.0)) == 0


def test_even_steps_follow_the_gradient_and_adams_do_not() -> None:
    gradient = torch.tensor([10.0, 0.1, 0.0])
    directions = {}
    for kind in (Even, torch.optim.Adam):
        variable = torch.zeros(3, requires_grad=True)
        optimiser = kind([variable], lr=0.1)
        for _ in range(3):
            variable.grad = gradient.clone()
            optimiser.step()
        directions[kind] = float(torch.cosine_similarity(-variable.detach(), gradient, dim=0))
        if kind is Even:
            assert float(variable.detach().square().mean().sqrt()) == pytest.approx(0.3, rel=1e-3)
    assert directions[Even] == pytest.approx(1, abs=1e-5)
    assert directions[torch.optim.Adam] < 0.8


def test_tint_sees_colour_and_not_brightness() -> None:
    photo, mask = torch.rand(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    assert float(tint_loss(photo + 0.2, photo, mask)) == pytest.approx(0, abs=1e-9)
    red = photo + torch.tensor([0.3, 0.0, 0.0]).view(1, 3, 1, 1)
    assert float(tint_loss(red, photo, mask)) == pytest.approx(0.02, rel=1e-3)
    assert float(tint_loss(red, photo, 0 * mask)) == 0


def test_a_shaken_picture_is_another_one_and_the_same_for_the_same_draws() -> None:
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4), (32, 32), mode="bilinear") * 2 - 1
    a, b = (shaken(image, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)
    draws = torch.Generator().manual_seed(1)
    assert not torch.equal(shaken(image, draws), shaken(image, draws))
    assert 0.001 < float((a - image).square().mean()) < 0.5
