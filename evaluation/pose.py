"""Head pose from 68 landmarks: a rigid mean face seen by a distant camera.

The points are those that an expression moves least: corners of the eyes, the nose, and the corners of the mouth. Their places
are mean distances of adult faces in millimetres (anthropometry as in Farkas 1994: 90 between the outer and 33 between the
inner corners of the eyes, 50 from the root to the base of the nose, 50 across the mouth), rounded; a face of other proportions
adds a constant to its pitch, and little to its yaw.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

INDEX = (36, 39, 42, 45, 27, 28, 29, 30, 31, 33, 35, 48, 54)
# x to the right of the picture, y down, z away from the camera; the origin lies between the eyes.
MODEL = np.array(
    [
        [-45.0, 0.0, 22.0],
        [-16.5, 1.0, 12.0],
        [16.5, 1.0, 12.0],
        [45.0, 0.0, 22.0],
        [0.0, -2.0, 2.0],
        [0.0, 10.0, -6.0],
        [0.0, 23.0, -15.0],
        [0.0, 36.0, -23.0],
        [-15.0, 46.0, 3.0],
        [0.0, 49.0, -6.0],
        [15.0, 46.0, 3.0],
        [-25.0, 72.0, 9.0],
        [25.0, 72.0, 9.0],
    ]
)
DISTANCE = 1500.0
"""Millimetres from the camera; portraits are taken from one to two metres."""
FOCAL = 1000.0


@dataclass(frozen=True)
class Pose:
    """Degrees: ``yaw`` grows as the nose turns to the picture's right, ``pitch`` as it rises, ``roll`` clockwise."""

    yaw: float
    pitch: float
    roll: float


def head_pose(points: np.ndarray) -> Pose | None:
    """Pose of ``points`` (68,2), x to the right and y down, in any unit; None when they are no face's (all on one spot)."""
    chosen = np.asarray(points, np.float64)[list(INDEX)]
    middle = chosen.mean(0)
    spread = float(np.sqrt(((chosen - middle) ** 2).sum(1).mean()))
    flat = MODEL[:, :2] - MODEL[:, :2].mean(0)
    if not np.isfinite(chosen).all() or spread < 1e-9:
        return None
    # Brought to the size that the mean face has at DISTANCE, so that unit and place of the points do not count.
    scale = FOCAL / DISTANCE * float(np.sqrt((flat**2).sum(1).mean())) / spread
    seen = (chosen - middle) * scale
    camera = np.array([[FOCAL, 0.0, 0.0], [0.0, FOCAL, 0.0], [0.0, 0.0, 1.0]])
    turn, move = np.zeros((3, 1)), np.array([[0.0], [-MODEL[:, 1].mean()], [DISTANCE]])
    good, turn, _ = cv2.solvePnP(
        MODEL, seen, camera, None, turn, move, useExtrinsicGuess=True, flags=cv2.SOLVEPNP_ITERATIVE
    )
    if not good or not np.isfinite(turn).all():
        return None
    return angles(cv2.Rodrigues(turn)[0])


def angles(rotation: np.ndarray) -> Pose:
    """Angles of ``rotation`` (3,3): pitch first, then yaw, then roll."""
    yaw = -np.arcsin(np.clip(-rotation[2, 0], -1, 1))
    pitch = -np.arctan2(rotation[2, 1], rotation[2, 2])
    roll = np.arctan2(rotation[1, 0], rotation[0, 0])
    return Pose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))
