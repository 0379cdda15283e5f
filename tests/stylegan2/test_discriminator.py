"""Scores, minibatch deviation and the second-order gradients of R1."""

from __future__ import annotations

import json

import pytest
import torch

from stylegan2.discriminator import Discriminator, minibatch_stddev
from stylegan2.layers import Filter
from tests.stylegan2.small import apart, discriminator
from tests.stylegan2.test_generator import KEYS, shapes


@pytest.mark.parametrize("size", [64, 256])
def test_keys_and_shapes_are_the_published_ones(size):
    with torch.device("meta"):
        state = Discriminator(size).state_dict()
    published = json.loads((KEYS / f"stylegan2_discriminator_{size}.json").read_text())
    assert {name: list(value.shape) for name, value in state.items()} == shapes(published)


def images(batch: int = 4, size: int = 32) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def use(made: Discriminator, form: str) -> Discriminator:
    for module in made.modules():
        if isinstance(module, Filter):
            module.form = form
    return made


def penalty(made: Discriminator, x: torch.Tensor) -> torch.Tensor:
    """R1 (arXiv 1801.04406): squared norm of the scores' gradient at real pictures."""
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(made(x).sum(), x, create_graph=True)
    return gradient.square().sum([1, 2, 3]).mean()


def test_forms_agree_in_scores_and_in_gradients():
    made, x = discriminator(), images()
    results = []
    for form in ("fast", "reference"):
        scores = use(made, form)(x)
        results.append((scores.detach(), torch.autograd.grad(scores.square().sum(), list(made.parameters()))))
    assert apart(results[0][0], results[1][0]) < 1e-4
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_r1_reaches_the_weights_and_equals_the_reference_form():
    made, x = discriminator(), images()
    weights = [v for name, v in made.named_parameters() if name.endswith("weight")]
    results = [torch.autograd.grad(penalty(use(made, form), x), weights) for form in ("fast", "reference")]
    for ours, theirs in zip(*results, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4 * float(theirs.abs().max()))


def test_r1_gradient_against_a_difference_quotient():
    made = discriminator(8).double()
    x = images(2, 8).double()
    weight = made.convs[1].conv2[1].weight
    (slope,) = torch.autograd.grad(penalty(made, x), weight)
    step = 1e-6 * torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        weight += step
    after = penalty(made, x).item()
    with torch.no_grad():
        weight -= 2 * step
    before = penalty(made, x).item()
    assert (after - before) / 2 == pytest.approx(float((slope * step).sum()), rel=1e-4)


def test_minibatch_deviation_is_the_mean_over_groups():
    x = torch.zeros(8, 2, 3, 3)
    # Groups are strided: sample i belongs to group i mod 2.
    x[0::2] = torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None, None, None]
    out = minibatch_stddev(x)
    assert out.shape == (8, 3, 3, 3)
    torch.testing.assert_close(out[0::2, 2], torch.ones(4, 3, 3))
    assert out[1::2, 2].abs().max() < 1e-3


@pytest.mark.parametrize("batch", [1, 2, 3, 6])
def test_odd_batches_have_scores(batch):
    assert discriminator(8)(images(batch, 8)).shape == (batch, 1)
