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
