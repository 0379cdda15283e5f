"""Head pose: projections of a head whose angles are known."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.pose import INDEX, MODEL, angles, head_pose


def turned(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Rotation that brings the nose to the right, up, and the head round clockwise, by degrees; built from its axes."""
    y, p, r = np.radians([yaw, pitch, roll])
    across = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    up = np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]])
    round_ = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return round_ @ across @ up


def seen(yaw: float, pitch: float = 0, roll: float = 0, *, distance: float = 1500, size: float = 1.0) -> np.ndarray:
    """68 points (68,2) of the mean head at ``distance`` millimetres; those that do not count lie anywhere."""
    points = np.random.default_rng(0).normal(0, 100, (68, 2))
    head = MODEL @ turned(yaw, pitch, roll).T + [0, 0, distance]
    points[list(INDEX)] = size * (0.5 + head[:, :2] / head[:, 2:])
    return points


@pytest.mark.parametrize("distance", [800, 1500, 100_000])
@pytest.mark.parametrize(
    "wanted", [(0, 0, 0), (20, 0, 0), (-45, 0, 0), (0, 15, 0), (0, -15, 0), (25, 10, 12), (-30, -10, -20)]
)
def test_known_angles_come_back(wanted: tuple[float, float, float], distance: float):
    pose = head_pose(seen(*wanted, distance=distance))
    assert pose is not None
    assert pose.yaw == pytest.approx(wanted[0], abs=1.5)
    assert pose.pitch == pytest.approx(wanted[1], abs=3)
    assert pose.roll == pytest.approx(wanted[2], abs=3)


def test_the_nose_says_what_is_right_and_what_is_up():
    to_right, up = seen(25), seen(0, 20)
    middle = seen(0)
    assert to_right[30, 0] > to_right[[36, 45], 0].mean()
    assert up[30, 1] < middle[30, 1]
    clockwise = seen(0, 0, 10)
    assert clockwise[45, 1] > clockwise[36, 1]


def test_unit_and_place_of_the_points_do_not_count():
    small, large = head_pose(seen(30, 5)), head_pose(seen(30, 5, size=1000) + np.array([70, -20]))
    assert small is not None
    assert large is not None
    assert large.yaw == pytest.approx(small.yaw, abs=1e-3)
    assert large.pitch == pytest.approx(small.pitch, abs=1e-3)


def test_a_little_noise_and_an_open_mouth_change_little():
    rng = np.random.default_rng(1)
    unit = np.hypot(*(seen(0)[45] - seen(0)[36]))
    for yaw in (-30, 0, 30):
        points = seen(yaw) + rng.normal(0, 0.01 * unit, (68, 2))
        points[48:] += [0, 0.1 * unit]
        pose = head_pose(points)
        assert pose is not None
        assert pose.yaw == pytest.approx(yaw, abs=4)


def test_what_is_no_face_has_no_pose():
    assert head_pose(np.zeros((68, 2))) is None
    assert head_pose(np.full((68, 2), np.nan)) is None


def test_angles_are_read_off_a_rotation_exactly():
    for wanted in ((12, -7, 30), (-60, 20, -5)):
        pose = angles(turned(*wanted))
        assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx(wanted)
