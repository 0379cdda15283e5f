"""Masked edits beside the engine: the family's masked editor, and what one edit did by a judge that did not guide it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log10
from typing import Any

import numpy as np
from torch import Tensor, ones_like
from torch import bool as boolean

from encoders.attributes import CELEBA_ATTRIBUTES
from maskfacegan.controls import control_name
from maskfacegan.editor import MaskFaceGANEditor
from workbench import readout, registry
from workbench.devices import lock
from workbench.editor import EditResult
from workbench.engine import Engine
from workbench.errors import BadCheckpoint, MissingWeights
from workbench.face import Face

HALF = 0.5
MaskedEditor = MaskFaceGANEditor
"""What ``masked_editor`` makes."""


@dataclass(frozen=True)
class Asked:
    """One attribute that was asked for: the judge's probabilities, and whether it says what was wanted afterwards.

    ``target``: the probability that was asked for; ``threshold``: where the judge's reading counts as having the attribute, see
    ``evaluation.thresholds``.
    """

    before: float
    after: float
    target: float
    threshold: float = HALF

    @property
    def towards(self) -> bool:
        """Whether more of the attribute was asked for; a target at either end says so by itself."""
        return self.target > HALF if abs(self.target - HALF) > 0.4 else self.target > self.before

    @property
    def crosses(self) -> bool:
        """Whether the target lies on the other side of the threshold, as photos with and without the attribute do."""
        return (self.target > self.threshold) == self.towards

    @property
    def success(self) -> bool:
        """Whether it reads as photos on the side that was asked for do; where less was asked for, whether half of it was reached."""
        aim = self.threshold if self.crosses else (self.before + self.target) / 2
        return (self.after > aim) == self.towards

    @property
    def over_half(self) -> bool:
        """Whether it lies on that side of one half, which few photos that have a rare attribute do."""
        return (self.after > HALF) == self.towards

    @property
    def moved(self) -> float:
        """How far the probability went the way that was asked for."""
        return (self.after - self.before) * (1 if self.towards else -1)


@dataclass(frozen=True)
class Judged:
    """What an edit did. ``asked`` by control name; ``others``: mean change of the other attributes' probabilities; ``identity``:
    cosine of result and photo; PSNR in dB (peak 2) to the photo inside and outside the mask, None where nothing differs."""

    asked: Mapping[str, Asked]
    judge: str
    guided_too: bool
    others: float
    identity: float
    psnr_inside: float | None
    psnr_outside: float | None


def masked_editor(engine: Engine) -> MaskFaceGANEditor:
    """A masked editor on the networks of ``engine``, with reconstructions of its own. Raises MissingWeights, BadCheckpoint."""
    editor = registry.create("maskfacegan", engine.store)
    if not isinstance(editor, MaskFaceGANEditor):
        raise BadCheckpoint("The masked editor is another one than expected; install the program again.")
    return editor


def readings(engine: Engine, image: Tensor) -> Mapping[str, float]:
    """The judge's probabilities of CelebA's attributes for ``image`` (3,S,S) in [-1, 1]."""
    network = engine.store.network(_judge(engine))
    with lock(engine.device):
        return readout.read(network.module, image.to(engine.device), network.id).values


def thresholds(engine: Engine) -> Mapping[str, float]:
    """Where the judge's reading of each attribute counts as having it: balanced on photos where measured, else one half."""
    return thresholds_of(engine.store.network(_judge(engine)).header)


def judged(engine: Engine, face: Face, result: EditResult) -> Judged:
    """Measure ``result``, a masked edit of ``face``. A family without a judge is measured by its guide, and says so."""
    network = engine.store.network(_judge(engine))
    before, after = readings(engine, face.target), readings(engine, result.image)
    names = [a for a in CELEBA_ATTRIBUTES if result.request.values.get(control_name(a))]
    sides = thresholds(engine)
    asked = {
        control_name(a): Asked(before[a], after[a], result.stats[f"target_{control_name(a)}"], sides[a]) for a in names
    }
    others = [abs(after[n] - before[n]) for n in CELEBA_ATTRIBUTES if n not in names]
    inside = ones_like(result.image[:1], dtype=boolean) if result.mask is None else result.mask > 0
    return Judged(
        asked,
        network.id,
        network.id == engine.store.network("attributes").id,
        float(np.mean(others)),
        engine.identity(result.image, face.target),
        psnr(result.image, face.target, inside[0]),
        psnr(result.image, face.target, ~inside[0]),
    )


def thresholds_of(header: Mapping[str, Any]) -> Mapping[str, float]:
    """The 40 thresholds in the ``header`` of a classifier's file, one half where it has none. Raises BadCheckpoint."""
    told = header.get("thresholds", {})
    if not isinstance(told, dict) or not all(isinstance(v, int | float) and 0 < v < 1 for v in told.values()):
        raise BadCheckpoint(
            f"The thresholds in the header of the classifier {header.get('id')} are none; measure them again."
        )
    return {name: float(told.get(name, HALF)) for name in CELEBA_ATTRIBUTES}


def compared(engine: Engine, face: Face, result: EditResult) -> readout.Comparison:
    """Photo against result, as the judge reads them; what was asked for is no side effect."""
    network = engine.store.network(_judge(engine))
    before, after = (readout.Readout(readings(engine, image), network.id) for image in (face.target, result.image))
    deltas = readout.differences(before, after)
    asked = frozenset(a for a in CELEBA_ATTRIBUTES if result.request.values.get(control_name(a)))
    identity = engine.identity(result.image, face.target)
    return readout.Comparison(before, after, deltas, identity, identity, readout.unintended(deltas, asked), 0.0)


def psnr(image: Tensor, target: Tensor, where: Tensor) -> float | None:
    """PSNR in dB (peak 2) of ``image`` to ``target`` (3,H,W) in [-1, 1] at ``where`` (H,W) bool; None for no difference."""
    if not bool(where.any()):
        return None
    error = float((image - target)[:, where].square().mean())
    return None if error == 0 else 10 * log10(4 / error)


def _judge(engine: Engine) -> str:
    try:
        engine.store.network("judge")
    except MissingWeights:
        return "attributes"
    return "judge"
