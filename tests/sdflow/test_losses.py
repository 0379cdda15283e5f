"""The losses against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from sdflow import losses


def test_likelihood_of_standard_normal_codes() -> None:
    z = torch.randn(4, 3, 8, generator=torch.Generator().manual_seed(0)).double()
    normal = torch.distributions.Normal(torch.zeros(()).double(), torch.ones(()).double())
    logp = torch.full((4, 3, 1), 0.4).double()
    wanted = -(normal.log_prob(z).sum() - logp.sum()) / z.numel()
    torch.testing.assert_close(losses.nll_loss(z, logp), wanted)
    printed = losses.nll_as_printed(wanted, 512) - wanted
    assert float(printed) == pytest.approx(469.578, abs=1e-3)


def test_one_entry_is_changed_and_the_rest_detached() -> None:
    estimate = torch.tensor([[0.1, 0.2], [0.3, 0.4]], requires_grad=True)
    target = losses.change_one(estimate, torch.tensor([1, 0]), torch.tensor([0.9, 0.8]))
    assert target.tolist() == [pytest.approx([0.1, 0.9]), pytest.approx([0.8, 0.4])]
    assert not target.requires_grad


def test_guidance_is_zero_for_the_wished_change_alone() -> None:
    reference = torch.tensor([[0.2, 0.7, 0.5]])
    logits = torch.logit(reference).clone()
    logits[0, 1] = -40.0
    change, keep = losses.attribute_guidance(logits, reference, torch.tensor([1]), torch.tensor([0.0]))
    assert float(change) == pytest.approx(0, abs=1e-6)
    assert float(keep) == pytest.approx(0, abs=1e-6)
    logits[0, 2] = 2.0
    change, keep = losses.attribute_guidance(logits, reference, torch.tensor([1]), torch.tensor([1.0]))
    assert float(change) == pytest.approx(40, rel=1e-4)
    excess = float(F.binary_cross_entropy_with_logits(logits[0, 2], reference[0, 2])) - math.log(2)
    assert float(keep) == pytest.approx(excess / 2, abs=1e-5)


def test_identity_is_one_minus_cosine() -> None:
    rows = F.normalize(torch.randn(3, 5, generator=torch.Generator().manual_seed(1)), dim=1)
    assert float(losses.identity_loss(rows, rows)) == pytest.approx(0, abs=1e-6)
    assert float(losses.identity_loss(rows, -rows)) == pytest.approx(2, abs=1e-6)


def test_a_move_off_the_usual_direction_costs_by_how_rare_it_is() -> None:
    draw = torch.Generator().manual_seed(0)
    scale = torch.tensor([4.0, 1.0, 0.5])
    photos = torch.randn(20000, 3, generator=draw) * scale
    precision = losses.row_precision(photos, floor=0.0)
    code, along = torch.randn(2, 5, 3, generator=draw), torch.eye(3)
    for axis in range(3):
        move = 2 * along[axis]
        expected = float((2 / scale[axis]) ** 2)
        other = along[(axis + 1) % 3].expand(2, 3)
        assert float(losses.natural_loss(code + move, code, precision, other)) == pytest.approx(expected, rel=0.05)
        same = along[axis].expand(2, 3)
        assert float(losses.natural_loss(code + move, code, precision, same)) == pytest.approx(0, abs=0.02 * expected)
    # A direction photos never take stays finite by the floor.
    flat = photos * torch.tensor([1.0, 1.0, 0.0])
    assert bool(torch.isfinite(losses.row_precision(flat)).all())


def test_usual_directions_are_told_apart_when_attributes_come_together() -> None:
    draw = torch.Generator().manual_seed(0)
    first = (torch.rand(4000, generator=draw) > 0.5).float()
    second = torch.where(torch.rand(4000, generator=draw) > 0.2, first, 1 - first)
    labels = torch.stack([first, second], 1)
    truth = torch.tensor([[2.0, 0.0, 0.0], [0.0, -1.0, 1.0]])
    codes = labels @ truth + 0.1 * torch.randn(4000, 3, generator=draw) + 5
    torch.testing.assert_close(losses.usual_directions(codes, labels), truth, atol=0.02, rtol=0)
