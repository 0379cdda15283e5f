"""The starter family's networks: shapes, any input size, a linear start, the judge's recogniser."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoders.compact import AttributeNet, CompactE4E, IdentityNet, resized
from encoders.mobilefacenet import TEMPLATE, MobileFaceNet, face_crop


@pytest.mark.parametrize("size", [32, 48, 128])
def test_classifier_and_identity_take_any_size(size: int) -> None:
    image = torch.rand(2, 3, size, size) * 2 - 1
    assert AttributeNet((8, 16), input_size=32).eval()(image).shape == (2, 40)
    rows = IdentityNet((8, 16), input_size=32, dim=12).eval()(image)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))


def test_projector_starts_as_its_linear_part_with_equal_rows() -> None:
    net = CompactE4E(32, style_dim=16, thumbnail=8, widths=(4, 8), bottleneck=16).eval()
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    codes = net(image)
    assert codes.shape == (2, 8, 16)
    linear = net.linear(resized(image, 8).flatten(1))
    torch.testing.assert_close(codes, linear[:, None].expand(-1, 8, -1))


def test_shrinking_is_an_area_average() -> None:
    image = torch.rand(1, 3, 32, 32)
    assert resized(image, 8)[0, 0, 0, 0] == pytest.approx(float(image[0, 0, :4, :4].mean()), abs=1e-6)


def test_face_crop_undoes_a_similarity() -> None:
    angle, scale = np.radians(20), 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = TEMPLATE @ turn.T + (90, 40)
    scene = np.zeros((400, 400, 3), np.uint8)
    marks = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255))
    for (x, y), colour in zip(points, marks, strict=True):
        scene[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5] = colour
    crop = face_crop(scene, points)
    assert crop.shape == (112, 96, 3)
    for (x, y), colour in zip(TEMPLATE, marks, strict=True):
        np.testing.assert_allclose(crop[round(y), round(x)], colour, atol=40)


def test_mobilefacenet_embeds_a_picture_and_its_mirror_image() -> None:
    net = MobileFaceNet().eval()
    crop = np.random.default_rng(0).integers(0, 256, (112, 96, 3), dtype=np.uint8)
    with torch.inference_mode():
        rows = net.embed([crop, np.ascontiguousarray(crop[:, ::-1])])
    assert rows.shape == (2, 256)
    torch.testing.assert_close(rows[0].roll(128), rows[1], rtol=1e-4, atol=1e-5)
