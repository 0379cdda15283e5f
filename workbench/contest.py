"""One face, one attribute, several methods: each edit judged by the same networks, at equal strength or at matched success."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from workbench.editor import Cancel, EditorSpec, EditRequest, EditResult, Progress, never, quiet
from workbench.engine import Engine
from workbench.errors import BadRequest
from workbench.face import Face, to_tensor
from workbench.masking import readings

HALF = 0.5
BREATH = 0.002
"""Seconds without the device's lock after each step: threads that wait for it, such as a page's, are let in."""
STEPS = 8
"""Strengths that are tried one after the other until the judge sees the attribute."""


@dataclass(frozen=True, eq=False)
class Entry:
    """What one method made of it.

    ``image`` (3,S,S) is the aligned photo with the edit in it; ``before`` and ``after`` the judge's probabilities of the attribute;
    ``identity`` the cosine with the photo; ``unintended`` the mean change of the other 39 probabilities; ``seconds`` those of
    this edit; ``strength`` its share of the control's range.
    """

    request: EditRequest
    image: Tensor
    attribute: str
    add: bool
    strength: float
    before: float
    after: float
    identity: float
    unintended: float
    seconds: float

    @property
    def success(self) -> bool:
        """Whether the judge sees what was asked for."""
        return (self.after > HALF) == self.add


def editable(spec: EditorSpec) -> tuple[str, ...]:
    """CelebA attributes that the editor of ``spec`` has a control for."""
    return tuple(c.attribute for c in spec.controls if c.attribute)


def request_for(
    spec: EditorSpec, attribute: str, add: bool, strength: float, fixed: Mapping[str, float] | None = None
) -> EditRequest:
    """Move the control of ``attribute`` by the share ``strength`` of its range, upwards to ``add``. Raises BadRequest."""
    control = next((c for c in spec.controls if c.attribute == attribute), None)
    if control is None:
        raise BadRequest(f"{spec.title} does not edit '{attribute}'.")
    value = control.neutral + strength * ((control.high if add else control.low) - control.neutral)
    return EditRequest(spec.name, spec.version, {control.name: value, **(fixed or {})})


def in_photo(engine: Engine, face: Face, result: EditResult) -> Tensor:
    """The aligned photo (3,S,S) with the edit in it, as the program gives it away."""
    return to_tensor(engine.compose(face, result, crop=True).pixels)


def towards(engine: Engine, face: Face, attribute: str) -> bool:
    """The side that the judge does not see in the photo: whether to add ``attribute``."""
    return readings(engine, face.target)[attribute] <= HALF


def enter(
    engine: Engine,
    face: Face,
    spec: EditorSpec,
    attribute: str,
    add: bool,
    strength: float,
    fixed: Mapping[str, float] | None = None,
    *,
    progress: Progress = quiet,
    cancel: Cancel = never,
) -> Entry:
    """Edit ``face`` with one method and judge the photo that comes of it. Raises as ``Engine.edit`` does."""
    request = request_for(spec, attribute, add, strength, fixed)
    result = engine.edit(face, request, progress=progress, cancel=cancel)
    image = in_photo(engine, face, result)
    before, after = readings(engine, face.target), readings(engine, image)
    others = [abs(after[name] - value) for name, value in before.items() if name != attribute]
    return Entry(
        request,
        image,
        attribute,
        add,
        strength,
        before[attribute],
        after[attribute],
        engine.identity(image, face.target),
        float(np.mean(others)),
        float(result.stats.get("seconds", 0.0)),
    )


def curve(
    engine: Engine, face: Face, spec: EditorSpec, attribute: str, add: bool, steps: int = STEPS
) -> tuple[Entry, ...]:
    """One method at ``steps`` strengths up to its whole range."""
    return tuple(enter(engine, face, spec, attribute, add, (i + 1) / steps) for i in range(steps))


def first_success(entries: tuple[Entry, ...]) -> Entry:
    """The weakest entry that the judge is convinced by; the strongest when none convinces."""
    return next((entry for entry in entries if entry.success), entries[-1])


def job_of(
    engine: Engine, face: Face, spec: EditorSpec, attribute: str, add: bool, fixed: Mapping[str, float]
) -> Callable[[Progress, Cancel], Entry]:
    """The work of a slow method at its whole range, for ``jobs.Job``: such a method goes for its target by itself."""

    def work(progress: Progress, cancel: Cancel) -> Entry:
        def tell(fraction: float, message: str = "") -> None:
            progress(min(fraction, 0.99), message)
            time.sleep(BREATH)

        return enter(engine, face, spec, attribute, add, 1.0, fixed, progress=tell, cancel=cancel)

    return work
