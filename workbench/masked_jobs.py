"""A masked edit as a job: progress, a picture on the way, one more try at half the size, and everything measured at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from maskfacegan.controls import plan
from maskfacegan.editor import MaskedResult, MaskFaceGANEditor, Snapshot
from workbench.devices import lock
from workbench.editor import Cancel, EditRequest, Progress
from workbench.engine import Engine
from workbench.errors import Cancelled
from workbench.face import Face, to_uint8
from workbench.jobs import Job
from workbench.masking import Judged, compared, judged
from workbench.pace import Paces
from workbench.readout import Comparison

PREVIEW_EVERY = 0.8
"""Seconds between two pictures on the way."""
BREATH = 0.002
"""Seconds without the device's lock after each step: threads that wait for it, such as a slider's, are let in."""


@dataclass(frozen=True, eq=False)
class MaskedOrder:
    """What is to be done: ``face``, ``request``, and a mask (1,S,S) of one's own."""

    face: Face
    request: EditRequest
    own: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was done: the order, the result, what the judge says, and the readouts before and after, photo against edit."""

    order: MaskedOrder
    result: MaskedResult
    judged: Judged
    comparison: Comparison


def pace_name(engine: Engine, editor: MaskFaceGANEditor, request: EditRequest) -> str:
    """Under which name the time per step of such a request is remembered."""
    wanted = plan(editor.spec.validate(request))
    where = "local" if wanted.classes.local else "global"
    return f"{engine.device.type} {engine.family} {engine.size} {wanted.preset.name} {where}"


def expected(engine: Engine, editor: MaskFaceGANEditor, order: MaskedOrder, paces: Paces) -> tuple[int, float]:
    """Steps and seconds that ``order`` will take at most; a pace that is not known yet is measured on two steps."""
    name = pace_name(engine, editor, order.request)
    with lock(engine.device):
        steps = editor.steps(order.face, order.request)
        if paces.get(name) is None:
            paces.put(name, editor.seconds_per_step(order.face, order.request))
    return steps, steps * (paces.get(name) or 0.0)


def masked_job(
    engine: Engine, editor: MaskFaceGANEditor, order: MaskedOrder, paces: Paces, *, owner: str, title: str
) -> Job[Outcome]:
    """The job of ``order``, not started yet; its ``preview`` is an (S,S,3) uint8 picture of how far it is."""
    shown = [0.0]

    def run(progress: Progress, cancel: Cancel, reduced: bool) -> Outcome:
        def watch(now: Snapshot) -> None:
            if time.monotonic() - shown[0] >= PREVIEW_EVERY:
                job.preview, shown[0] = to_uint8(now.picture()), time.monotonic()

        def tell(fraction: float, message: str = "") -> None:
            progress(min(fraction, 0.99), message)
            time.sleep(BREATH)

        with lock(engine.device) as held:
            result = editor.run(
                order.face, order.request, mask=order.own, reduced=reduced, watch=watch,
                progress=held.outside(tell), cancel=held.outside(cancel),
            )  # fmt: skip
        if not isinstance(result, MaskedResult):
            raise Cancelled("The edit gave no result.")
        steps = result.stats["steps"]
        if steps and not reduced:
            paces.put(pace_name(engine, editor, order.request), result.stats["seconds"] / steps)
        found = judged(engine, order.face, result)
        return Outcome(order, result, found, compared(engine, order.face, result))

    job: Job[Outcome] = Job(
        lambda progress, cancel: run(progress, cancel, False), title, owner=owner,
        smaller=lambda progress, cancel: run(progress, cancel, True),
    )  # fmt: skip
    return job


def seen(preview: object) -> np.ndarray | None:
    """A job's preview, if it is a picture."""
    return preview if isinstance(preview, np.ndarray) else None
