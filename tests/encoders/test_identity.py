"""The identity crop and the state dict of the identity encoder."""

from __future__ import annotations

import pytest
import torch

from encoders.identity import IdentityEncoder, crop_face
from tests.encoders.keys import ours, published


def test_keys_are_those_of_the_published_file():
    with torch.device("meta"):
        assert ours(IdentityEncoder()) == published("arcface_ir_se50")


def test_the_crop_is_rows_35_to_223_and_columns_32_to_220():
    image = torch.zeros(1, 3, 256, 256)
    image[:, :, 35:223, 32:220] = 1
    assert crop_face(image).shape == (1, 3, 112, 112)
    assert crop_face(image).min() == 1
    assert crop_face(1 - image).max() == 0


@pytest.mark.parametrize("size", [64, 128, 512, 1024])
def test_other_sizes_see_the_same_part_of_the_face(size: int):
    ramp = torch.linspace(-1, 1, 256)
    smooth = (ramp[:, None] + ramp.flip(0)[None] * 0.5).expand(1, 3, 256, 256) / 2
    other = torch.nn.functional.interpolate(smooth, size=(size, size), mode="bilinear", antialias=True)
    torch.testing.assert_close(crop_face(other), crop_face(smooth), atol=0.01, rtol=0)


def test_a_whole_face_gives_one_unit_row():
    encoder = IdentityEncoder().eval()
    with torch.inference_mode():
        row = encoder(torch.rand(1, 3, 128, 128) * 2 - 1)
    assert row.shape == (1, 512)
    assert row.norm().item() == pytest.approx(1, abs=1e-5)
