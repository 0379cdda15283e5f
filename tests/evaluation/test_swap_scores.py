"""Scores of swaps on readings whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from encoders.compact import AttributeNet
from encoders.parser import FACE_CLASSES
from evaluation.features import Features
from evaluation.pose import head_pose
from evaluation.swap_readers import Reading
from evaluation.swap_scores import correlation, distances, identity, mean, shape, surroundings, under
from tests.evaluation.test_pose import seen

N = 4


def reading(
    row: Tensor, points: np.ndarray | None = None, regions: np.ndarray | None = None, found: bool = True
) -> Reading:
    unit = F.normalize(row, dim=0)
    return Reading(unit, unit, points, None if points is None else head_pose(points), regions, found)


def people(count: int, first: int) -> list[Reading]:
    return [reading(row) for row in torch.eye(16)[first : first + count]]


def judged(results: list[Reading], who: list[Reading], what: list[Reading]) -> dict[str, float | None]:
    return {name: number.value for name, number in identity(results, who, what, lambda r: r.judged).items()}


def test_a_perfect_swap_and_none_at_all():
    who, what = people(N, 0), people(N, 8)
    assert judged(who, who, what) == {"similarity": 1, "leak": 0, "closer": 1, "top1": 1}
    found = judged(what, who, what)
    assert (found["similarity"], found["leak"], found["closer"]) == (0, 1, 0)


def test_half_way_and_another_person():
    who, what = people(N, 0), people(N, 8)
    half = [reading(2 * a.judged + b.judged) for a, b in zip(who, what, strict=True)]
    found = judged(half, who, what)
    assert found["similarity"] == pytest.approx(2 / 5**0.5)
    assert found["leak"] == pytest.approx(1 / 5**0.5)
    assert (found["closer"], found["top1"]) == (1, 1)
    # The next pair's identity in every result: closer to no source of its own pair, found in none.
    assert judged(who[1:] + who[:1], who, what)["top1"] == 0


def test_a_result_without_a_face_is_neither_closer_nor_found_nor_averaged():
    who, what = people(N, 0), people(N, 8)
    results = [reading(who[0].judged, found=False), *who[1:]]
    found = identity(results, who, what, lambda r: r.judged)
    assert found["closer"].value == found["top1"].value == (N - 1) / N
    assert (found["similarity"].value, found["similarity"].n, found["closer"].n) == (1, N - 1, N)


def test_landmarks_and_pose_follow_the_attribute_picture():
    yaws = (-30, -10, 15, 35)
    what = [reading(torch.eye(16)[0], seen(yaw)) for yaw in yaws]
    same = shape(what, what)
    assert same["landmark_error"].value == 0
    assert same["yaw_error"].value == 0
    assert same["yaw_correlation"].value == pytest.approx(1)
    moved = []
    for yaw in yaws:
        points = seen(yaw)
        points[:, 0] += 0.1 * np.hypot(*(points[45] - points[36]))
        moved.append(reading(torch.eye(16)[0], points))
    assert shape(moved, what)["landmark_error"].value == pytest.approx(0.1)
    mirrored = shape([reading(torch.eye(16)[0], seen(-yaw)) for yaw in yaws], what)
    assert mirrored["yaw_correlation"].value == pytest.approx(-1, abs=1e-3)
    assert mirrored["yaw_error"].value == pytest.approx(2 * np.abs(yaws).mean(), abs=3)
    # The jaw, which the swap may change, does not count.
    jaw = seen(10)
    jaw[:17] += 5
    assert shape([reading(torch.eye(16)[0], jaw)], [reading(torch.eye(16)[0], seen(10))])["landmark_error"].value == 0


def test_faces_that_were_not_found_leave_the_means():
    what = [reading(torch.eye(16)[0], seen(yaw)) for yaw in (-20, 0, 20)]
    results = [reading(torch.eye(16)[0]), *what[1:]]
    found = shape(results, what)
    assert found["landmark_error"].n == found["yaw_error"].n == 2
    assert found["yaw_correlation"].value is None


def test_means_carry_an_interval_and_nothing_is_no_number():
    found = mean([1.0, 2.0, 3.0, 4.0])
    assert found.value == 2.5
    assert found.low is not None
    assert found.high is not None
    assert 1 <= found.low < 2.5 < found.high <= 4
    assert mean([]).told() == {"value": None, "low": None, "high": None, "n": 0}


def test_correlation_agrees_with_numpy_and_knows_its_uncertainty():
    rng = np.random.default_rng(0)
    a = rng.normal(size=200)
    b = a + rng.normal(size=200)
    found = correlation(a.tolist(), b.tolist())
    assert found.value == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert found.value is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert 0.05 < found.high - found.low < 0.4
    assert correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).value is None


def features() -> Features:
    torch.manual_seed(0)
    return Features("tiny", AttributeNet(widths=[4, 8], input_size=32).eval())


def test_hair_and_background_are_told_apart():
    regions = np.full((32, 32), FACE_CLASSES.index("skin"), np.uint8)
    regions[:8], regions[24:] = FACE_CLASSES.index("hair"), FACE_CLASSES.index("background")
    source = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    row = torch.eye(16)[0]
    for place, changed, same in ((slice(0, 4), "hair", "background"), (slice(28, 32), "background", "hair")):
        image = source.clone()
        image[:, :, place] = -image[:, :, place]
        found = surroundings(
            features(),
            image,
            [reading(row, regions=regions)],
            source,
            [reading(row, regions=regions)],
            torch.device("cpu"),
        )
        far, near = found[changed].value, found[same].value
        assert far is not None
        assert near is not None
        assert far > 0.05
        assert near < 0.2 * far
    face = source.clone()
    face[:, :, 14:18] = 1
    found = surroundings(
        features(), face, [reading(row, regions=regions)], source, [reading(row, regions=regions)], torch.device("cpu")
    )
    hair = found["hair"].value
    assert hair is not None
    assert hair < 0.05


def test_a_region_that_is_hardly_there_is_not_compared():
    regions = np.zeros((32, 32), np.uint8)
    regions[0, :5] = FACE_CLASSES.index("hair")
    images = torch.zeros(1, 3, 32, 32)
    row = reading(torch.eye(16)[0], regions=regions)
    found = surroundings(features(), images, [row], images, [row], torch.device("cpu"))
    assert (found["hair"].n, found["background"].n) == (0, 1)


def test_under_the_whole_picture_is_the_plain_distance():
    net = features()
    a, b = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2)).split(1)
    with torch.no_grad():
        whole = under(distances(net, a, b), torch.ones(32, 32))
    assert whole == pytest.approx(float(net.distance(a, b)), rel=1e-3)
