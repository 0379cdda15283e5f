"""Losses where the answer is known without a reference: constants, fast forms, borders, small pictures."""

from __future__ import annotations

import pytest
import torch

from idswap import losses


def picture(seed: int, side: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_a_picture_is_at_no_distance_from_itself():
    a = picture(0, 176)
    assert torch.allclose(losses.ms_ssim(a, a), torch.ones(2), atol=1e-6)
    assert float(losses.masked_structure(a, a)) == pytest.approx(0, abs=1e-6)
    assert float(losses.structure(a, a, 0.84)) == pytest.approx(0, abs=1e-6)


def test_the_mask_weighs_the_border():
    mask = losses.inverse_gaussian(256)
    uniform = 1 / 256**2
    assert float(mask.sum()) == pytest.approx(1, abs=1e-5)
    assert float(mask[128, 128]) / uniform == pytest.approx(0.133, abs=2e-3)
    assert float(mask[0, 0]) / uniform == pytest.approx(1.688, abs=2e-3)
    assert float(mask[0, 128]) / uniform == pytest.approx(1.35, abs=1e-2)
    small = losses.inverse_gaussian(64)
    assert float(small[32, 32] * 64**2) == pytest.approx(float(mask[128, 128]) / uniform, abs=1e-2)


def test_the_masked_l1_of_a_constant_difference_is_the_difference():
    a = torch.full((3, 3, 64, 64), 0.25)
    rows = losses.masked_l1(a, a + 0.5, losses.inverse_gaussian(64))
    assert torch.allclose(rows, torch.full((3,), 0.5), atol=1e-5)
    summed = losses.masked_structure(a, a + 0.5, 0.0, summed=True)
    assert float(summed) == pytest.approx(1.5, abs=1e-4)
    assert float(losses.masked_structure(a, a + 0.5, 0.0, summed=False)) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("side", [11, 20, 32, 64, 65, 128, 161])
def test_small_pictures_use_the_scales_that_fit(side: int):
    a, b = picture(1, side), picture(2, side)
    near = losses.ms_ssim(a, 0.9 * a + 0.1 * b)
    far = losses.ms_ssim(a, b)
    assert near.shape == (2,)
    assert bool((near > far).all())
    assert bool((near < 1).all())


def test_a_picture_below_the_window_is_refused():
    with pytest.raises(ValueError, match="11 px"):
        losses.ms_ssim(picture(0, 10), picture(1, 10))


def test_r1_of_a_linear_judge_is_its_slope():
    w = torch.randn(5, 4).requires_grad_()
    slope = torch.tensor([1.0, 2.0, 0.0, -2.0])
    assert float(losses.r1(w @ slope, w, 10.0).detach()) == pytest.approx(5 * 9)


def test_adversarial_losses_at_zero():
    zero = torch.zeros(3)
    assert float(losses.fool(zero)) == pytest.approx(0.693147, abs=1e-5)
    assert float(losses.judge(zero, zero)) == pytest.approx(2 * 0.693147, abs=1e-5)


def test_a_flat_picture_has_no_high_frequencies_inside():
    high = losses.high_pass(torch.full((1, 3, 64, 64), 0.7))
    assert float(high[:, :, 12:-12, 12:-12].abs().max()) < 1e-5
    assert float(high[:, :, 0, 0].min()) > 0.1
    assert torch.equal(high[:, 0], high[:, 2])
    assert losses.opencv_sigma(21) == pytest.approx(3.5)
    assert [losses.high_pass_size(s) for s in (64, 128, 256)] == [5, 11, 21]


def test_crops_are_the_same_boxes_in_every_row():
    boxes = losses.draw_boxes(8, 64, torch.Generator().manual_seed(0))
    assert bool((boxes[:, 2] >= 8).all())
    assert bool((boxes[:, 2] <= 16).all())
    assert bool((boxes[:, :2] + boxes[:, 2:] <= 64).all())
    image = picture(3)
    found = losses.crops(image, boxes, 16)
    assert found.shape == (16, 3, 16, 16)
    y, x, h, w = boxes[2].tolist()
    one = losses.crops(image[1:, :, y : y + h, x : x + w], torch.tensor([[0, 0, h, w]]), 16)
    assert torch.allclose(found[8 + 2], one[0])
    again = losses.draw_boxes(8, 64, torch.Generator().manual_seed(0))
    assert torch.equal(boxes, again)


def test_identity_terms_of_equal_opposite_and_orthogonal_codes():
    a = torch.eye(4)[:2]
    assert float(losses.identity_cosine(a, a)) == 0
    assert float(losses.identity_cosine(a, -a)) == 2
    assert float(losses.identity_cosine(a, torch.eye(4)[2:])) == 1
    assert float(losses.identity_l1(a, -a)) == pytest.approx(0.5)
