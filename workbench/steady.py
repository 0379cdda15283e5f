"""A face's square held steady over a clip, and numbers of a clip that are gathered frame by frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workbench.crop import quad_side
from workbench.face import Detection


@dataclass(frozen=True)
class Smoothing:
    """Cut-off in Hz at rest, and how fast it rises with speed (in sides of the face per second); 0 Hz switches it off."""

    cutoff: float = 1.0
    speed: float = 2.0
    derivative: float = 1.0


class SteadyQuad:
    """The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012) on centre and axis of a square, at ``rate`` frames a second.

    A square at rest stops trembling, and one that moves is followed with little lag.
    """

    def __init__(self, rate: float, smoothing: Smoothing = Smoothing()) -> None:
        self.rate, self.smoothing = rate, smoothing
        self._value: np.ndarray | None = None
        self._slope = np.zeros(4)

    def reset(self) -> None:
        """Begin anew with the next square: after a cut, or when the face was lost."""
        self._value, self._slope = None, np.zeros(4)

    def __call__(self, quad: np.ndarray) -> np.ndarray:
        """The steady square (4,2) for the square ``quad`` (4,2) found in the next frame."""
        now = np.concatenate([quad.mean(0), (quad[3] - quad[0]) / 2])
        if self.smoothing.cutoff <= 0:
            return _square(now)
        if self._value is None:
            self._value = now
            return _square(now)
        side = max(quad_side(quad), 1e-6)
        slope = (now - self._value) * self.rate
        self._slope += self._weight(self.smoothing.derivative) * (slope - self._slope)
        pace = float(np.hypot(*self._slope[:2]) + np.hypot(*self._slope[2:])) / side
        self._value = self._value + self._weight(self.smoothing.cutoff + self.smoothing.speed * pace) * (
            now - self._value
        )
        return _square(self._value)

    def _weight(self, cutoff: float) -> float:
        turn = 2 * math.pi * cutoff / self.rate
        return turn / (turn + 1)


def _square(value: np.ndarray) -> np.ndarray:
    centre, x = value[:2], value[2:]
    y = np.array([-x[1], x[0]])
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def followed(found: Sequence[Detection], last: np.ndarray | None) -> Detection | None:
    """The detection nearest to the square ``last`` (4,2) and within one side of it; without one, the first (largest)."""
    if not found:
        return None
    if last is None:
        return found[0]
    centre = last.mean(0)
    near = min(found, key=lambda d: float(np.hypot(*(_middle(d) - centre))))
    return near if float(np.hypot(*(_middle(near) - centre))) <= quad_side(last) else None


def _middle(detection: Detection) -> np.ndarray:
    x0, y0, x1, y1 = detection.box
    return np.array([(x0 + x1) / 2, (y0 + y1) / 2])


class Coherence:
    """How much one face stays one person: sums over frames, so that a long clip costs no memory."""

    def __init__(self, target: Tensor) -> None:
        self.target = target
        self._count, self._total, self._squares, self._least = 0, 0.0, 0.0, 2.0
        self._sum = torch.zeros_like(target, dtype=torch.float64)
        self._before: Tensor | None = None
        self._least_step = 2.0

    def add(self, row: Tensor) -> None:
        """The unit embedding (D,) of the next frame's face."""
        cosine = float(row @ self.target)
        self._count += 1
        self._total += cosine
        self._squares += cosine * cosine
        self._least = min(self._least, cosine)
        self._sum += row.double()
        if self._before is not None:
            self._least_step = min(self._least_step, float(row @ self._before))
        self._before = row

    def told(self) -> dict[str, float | None]:
        """To the identity: mean, least, spread; among the frames: mean over all pairs, least of two that follow."""
        n = self._count
        if n == 0:
            return dict.fromkeys(("to_identity", "least", "spread", "between_frames", "least_step"))
        mean = self._total / n
        spread = math.sqrt(max(self._squares / n - mean * mean, 0.0))
        pairs = (float(self._sum @ self._sum) - n) / (n * (n - 1)) if n > 1 else None
        numbers = {"to_identity": mean, "least": self._least, "spread": spread, "between_frames": pairs}
        numbers["least_step"] = self._least_step if n > 1 else None
        return {name: None if number is None else round(number, 4) for name, number in numbers.items()}


class Jitter:
    """Mean length of the second difference of points over frames, in parts of the face's side."""

    def __init__(self) -> None:
        self._kept: list[np.ndarray] = []
        self._total, self._count = 0.0, 0

    def reset(self) -> None:
        """Begin anew: the next frame does not continue the last one."""
        self._kept = []

    def add(self, points: np.ndarray, side: float) -> None:
        """Points (N,2) of the next frame, in pixels of the frame, on a face ``side`` pixels large."""
        self._kept = [*self._kept[-2:], points]
        if len(self._kept) == 3:
            first, second, third = self._kept
            self._total += float(np.hypot(*(third - 2 * second + first).T).mean()) / max(side, 1e-6)
            self._count += 1

    def told(self) -> float | None:
        """The mean; None for fewer than three frames in a row."""
        return round(self._total / self._count, 6) if self._count else None
