"""Losses, regions, blending and controls."""

from __future__ import annotations

import math

import pytest
import torch

from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.parser import FACE_CLASSES
from maskfacegan import losses
from maskfacegan.blend import alpha, blended, laplacian
from maskfacegan.controls import plan, spec, target_of, value_of
from maskfacegan.optimise import factor
from maskfacegan.regions import REGIONS, mask_classes, soft_mask
from workbench.errors import BadRequest


def test_the_classifier_term_is_a_divergence_and_never_infinite() -> None:
    target = torch.tensor([[0.95]])
    logits = torch.tensor([[math.log(0.95 / 0.05)]])
    assert float(losses.classifier_loss(logits, target)) == pytest.approx(0, abs=1e-6)
    for extreme in (90.0, -110.0):
        hard = torch.tensor([[extreme]], requires_grad=True)
        loss = losses.classifier_loss(hard, target).sum()
        (grad,) = torch.autograd.grad(loss, hard)
        assert math.isfinite(float(loss.detach()))
        assert bool(torch.isfinite(grad).all())
    assert bool(torch.isfinite(losses.classifier_loss(logits, torch.tensor([[1.0]]))).all())


def test_a_size_beyond_the_frame_is_finite() -> None:
    assert bool(torch.isfinite(losses.size_loss(torch.rand(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.9), 2.0)).all())


def test_every_attribute_has_masks_and_several_share_theirs() -> None:
    for name in CELEBA_ATTRIBUTES:
        assert mask_classes([name]).local == (name in REGIONS)
    both = mask_classes(["Smiling", "Big_Nose"])
    assert set(both.shape) == {"mouth", "nose"}
    assert set(both.blend) == {"mouth", "nose", "skin"}
    assert not mask_classes(["Smiling", "Male"]).local
    assert not mask_classes(["Smiling"], globally=True).local
    parsing = torch.rand(1, len(FACE_CLASSES), 4, 4).softmax(1)
    assert torch.allclose(soft_mask(parsing, FACE_CLASSES), torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("hardened", [False, True])
def test_blend_weights_are_zero_outside(hardened: bool) -> None:
    mask = torch.full((1, 1, 32, 32), 0.01)
    mask[..., 12:20, 12:20] = 0.9
    weight = alpha(mask, hardened=hardened, feather=0.1)
    assert float(weight[0, 0, 0, 0]) == 0
    assert float(weight[0, 0, 16, 16]) > 0.89
    assert 0 <= float(weight.min()) <= float(weight.max()) <= 1


def test_both_seams_keep_the_photo_outside_and_the_front_inside() -> None:
    photo, front = torch.rand(1, 3, 32, 32) * 2 - 1, torch.zeros(1, 3, 32, 32)
    weight = torch.zeros(1, 1, 32, 32)
    weight[..., 8:24, 8:24] = 1
    for seam in ("feather", "laplacian"):
        out = blended(front, photo, weight, seam)
        outside = (weight == 0).expand(-1, 3, -1, -1)
        assert torch.equal(out[outside], photo[outside])
    assert torch.equal(blended(front, photo, weight)[..., 8:24, 8:24], front[..., 8:24, 8:24])
    assert torch.allclose(laplacian(front, front, weight), front, atol=1e-6)
    assert torch.allclose(laplacian(photo, photo, weight), photo, atol=1e-5)


def test_targets_and_values_are_inverse_and_half_still_asks() -> None:
    assert [target_of(v) for v in (1, -1)] == pytest.approx([0.95, 0.05])
    for target in (0.1, 0.6, 0.95):
        assert target_of(value_of(target)) == pytest.approx(target)
    assert value_of(1.0) == 1
    assert value_of(0.0) == -1
    assert value_of(0.5) != 0
    with pytest.raises(BadRequest):
        value_of(1.5)


def test_a_request_becomes_a_plan() -> None:
    values = {c.name: c.neutral for c in spec().controls}
    assert plan(values).neutral
    asked = plan(values | {"blond_hair": 1.0, "size": -1.0, "start": 1.0, "preset": 2.0})
    assert asked.attributes == ("Blond_Hair",)
    assert (asked.preset.name, asked.preset.start, asked.area) == ("paper", "mean", 0.5)
    with pytest.raises(BadRequest, match="no part of the face"):
        plan(values | {"male": 1.0, "mode": 1.0})
    with pytest.raises(BadRequest, match="whole number"):
        plan(values | {"preset": 0.5})
    assert len([c for c in spec().controls if c.attribute]) == 40


def test_the_ramp_rises_and_falls_and_constant_stays() -> None:
    rates = [factor(i, 100, (0.05, 0.25)) for i in range(100)]
    assert rates[0] < rates[4] == 1
    assert rates[-1] < 0.1
    assert {factor(i, 100, (0, 0)) for i in range(100)} == {1.0}
