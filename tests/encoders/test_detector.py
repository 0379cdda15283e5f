"""Shapes and arithmetic of the detector and the landmark network."""

from __future__ import annotations

import pytest
import torch

from encoders.detector import MEAN_POINTS, STRIDES, FaceDetector, box_overlap, cells, merge
from encoders.landmarks import LandmarkNet


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 160)])
def test_one_guess_per_cell(height: int, width: int) -> None:
    out = FaceDetector().eval()(torch.zeros(2, 3, height, width))
    count = sum((height // s) * (width // s) for s in STRIDES)
    assert out.logits.shape == (2, count)
    assert out.boxes.shape == (2, count, 4)
    assert out.points.shape == (2, count, 5, 2)
    assert (out.boxes[..., 2:] > out.boxes[..., :2]).all()


def test_size_of_the_networks() -> None:
    assert sum(p.numel() for p in FaceDetector().parameters()) < 300_000
    assert sum(p.numel() for p in LandmarkNet().parameters()) < 400_000


def test_guesses_start_at_their_cells() -> None:
    network = FaceDetector().eval()
    for head in network.heads:
        torch.nn.init.zeros_(head[-1].weight)
    out = network(torch.zeros(1, 3, 64, 96))
    grid = torch.cat([cells(64 // s, 96 // s, s) for s in STRIDES])
    torch.testing.assert_close((out.boxes[0, :, :2] + out.boxes[0, :, 2:]) / 2, grid)
    size = (out.boxes[0, :, 2:] - out.boxes[0, :, :2])[:, None]
    torch.testing.assert_close(out.points[0], grid[:, None] + size * torch.tensor(MEAN_POINTS))
    assert cells(2, 3, 8).tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]


def test_same_alone_and_in_a_batch() -> None:
    network = FaceDetector().eval()
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together, alone = network(images), network(images[1:2])
    torch.testing.assert_close(together.boxes[1:2], alone.boxes, atol=1e-4, rtol=1e-4)


def test_box_overlap() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30]])
    torch.testing.assert_close(box_overlap(boxes, boxes)[0], torch.tensor([1.0, 1 / 3, 0.0]))


def test_merge_leaves_one_guess_per_face() -> None:
    boxes = torch.tensor([[0.0, 0, 100, 100], [2, 2, 102, 102], [300, 0, 400, 100], [30, 30, 60, 60]])
    scores = torch.tensor([0.8, 0.8, 0.9, 0.7])
    points = boxes[:, None, :2].expand(-1, 5, -1)
    kept, where, five = merge(scores, boxes, points)
    torch.testing.assert_close(kept, torch.tensor([0.9, 0.8]))
    torch.testing.assert_close(where, torch.tensor([[300.0, 0, 400, 100], [1, 1, 101, 101]]))
    torch.testing.assert_close(five[1], torch.ones(5, 2))


def test_merge_of_nothing() -> None:
    kept, boxes, points = merge(torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, 5, 2))
    assert len(kept) == len(boxes) == len(points) == 0


@pytest.mark.parametrize("size", [64, 96])
def test_landmarks_lie_in_the_crop_at_the_start(size: int) -> None:
    out = LandmarkNet(input_size=size).eval()(torch.zeros(2, 3, size, size))
    assert out.points68.shape == (2, 68, 2)
    assert out.points5.shape == (2, 5, 2)
    assert out.logit.shape == (2,)
    assert ((out.points68 > 0) & (out.points68 < 1)).all()
