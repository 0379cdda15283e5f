"""Flip an attribute of a face with any editor and let a judge say what became of it: the protocol that all methods share.

An attribute is flipped away from what the judge sees before. Success: the judge sees the other side of one half afterwards.
Identity: cosine of a recogniser between before and after. Unintended: mean change of the judge's other 39 probabilities.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from encoders.attributes import CELEBA_ATTRIBUTES
from evaluation.registry import interval
from workbench.contest import in_photo
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.errors import BadRequest
from workbench.face import Face

View = Literal["photo", "rendering"]


@dataclass(frozen=True, eq=False)
class Judges:
    """Probabilities (B,40) and unit rows (B,D), NaN where no face was found, of pictures (B,3,S,S); and their names."""

    attributes: tuple[str, Callable[[Tensor], Tensor]]
    identity: tuple[str, Callable[[Tensor], Tensor]]


@dataclass(frozen=True, eq=False)
class Seen:
    """A picture (3,S,S) before any edit, and what the judges say of it."""

    image: Tensor
    probabilities: Tensor
    vector: Tensor


@dataclass(frozen=True)
class Try:
    """One edit: whether the judge flipped, its probability, identity (None without a face), unintended change, seconds."""

    face: int
    success: bool
    probability: float
    identity: float | None
    unintended: float
    seconds: float


@dataclass(frozen=True)
class Point:
    """Means over tries at one strength, with their 95 % bootstrap intervals; ``strength`` is a share of the control's range."""

    strength: float
    n: int
    success: float
    identity: float
    unintended: float
    seconds: float
    not_found: int = 0
    success_interval: tuple[float, float] | None = None
    identity_interval: tuple[float, float] | None = None
    unintended_interval: tuple[float, float] | None = None


def column_of(attribute: str) -> int:
    """Column of a CelebA attribute. Raises BadRequest."""
    if attribute not in CELEBA_ATTRIBUTES:
        raise BadRequest(f"There is no attribute '{attribute}'; there are: {', '.join(CELEBA_ATTRIBUTES)}.")
    return CELEBA_ATTRIBUTES.index(attribute)


def before(face: Face, view: View) -> Tensor:
    """The picture (3,S,S) that an edit is compared with: the aligned photo or its rendering."""
    return face.target if view == "photo" else face.image


def after(engine: Engine, face: Face, result: EditResult, view: View) -> Tensor:
    """The edited picture (3,S,S) as the program gives it: in the photo, or as rendered."""
    return result.image if view == "rendering" else in_photo(engine, face, result)


def look(judges: Judges, image: Tensor) -> Seen:
    """What the judges say of ``image`` (3,S,S)."""
    return Seen(image, judges.attributes[1](image[None])[0], judges.identity[1](image[None])[0])


def attempt(
    engine: Engine,
    judges: Judges,
    number: int,
    face: Face,
    seen: Seen,
    request: EditRequest,
    attribute: str,
    view: View,
) -> Try:
    """Carry out ``request`` on ``face`` and judge it; the seconds are those of a fresh edit, without the reading."""
    column = column_of(attribute)
    add = bool(seen.probabilities[column] <= 0.5)
    started = time.perf_counter()
    result = engine.edit(face, request)
    seconds = result.stats.get("seconds", time.perf_counter() - started)
    now = look(judges, after(engine, face, result, view))
    others = torch.arange(len(now.probabilities)) != column
    same = float(now.vector @ seen.vector)
    return Try(
        number,
        bool((now.probabilities[column] > 0.5) == add),
        float(now.probabilities[column]),
        None if np.isnan(same) else same,
        float((now.probabilities - seen.probabilities)[others].abs().mean()),
        float(seconds),
    )


def mean_of(strength: float, tries: Sequence[Try]) -> Point:
    """The point of ``tries`` at one strength."""
    known = np.array([t.identity for t in tries if t.identity is not None], np.float64)
    success, change = (np.array(v, np.float64) for v in ([t.success for t in tries], [t.unintended for t in tries]))
    return Point(
        strength,
        len(tries),
        float(success.mean()),
        float(known.mean()) if len(known) else float("nan"),
        float(change.mean()),
        float(np.mean([t.seconds for t in tries])),
        len(tries) - len(known),
        interval(success),
        interval(known) if len(known) else None,
        interval(change),
    )


UNTOUCHED = Point(0.0, 0, 0.0, 1.0, 0.0, 0.0)
"""No edit: nothing flips and nothing changes."""


def at_success(points: Iterable[Point], level: float) -> Point | None:
    """The curve of ``points`` where success first reaches ``level``, interpolated from no edit on; None where it never does."""
    last = UNTOUCHED
    for point in sorted(points, key=lambda p: p.strength):
        if point.success >= level:
            span = point.success - last.success
            share = (level - last.success) / span if span > 0 else 1.0

            def between(name: str, a: Point = last, b: Point = point, t: float = share) -> float:
                return (1 - t) * getattr(a, name) + t * getattr(b, name)

            seconds = point.seconds if last is UNTOUCHED else between("seconds")
            return Point(
                between("strength"),
                point.n,
                level,
                between("identity"),
                between("unintended"),
                seconds,
                point.not_found,
            )
        last = point if point.success >= last.success else last
    return None
