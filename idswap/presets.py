"""Numbers of the two methods: loss weights, schedules, learning rates. Presets hold those of the published codes.

Landmark weights are for points in [0,1] of the picture: the TensorFlow code's 0.001 at 160 px is 25.6, the port's 1 at 112 px 12,544.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from workbench.errors import BadRequest

SAME = frozenset({"structure", "l2", "perceptual", "code"})
CROSS = frozenset({"keep", "leak"})
FIGHT = frozenset({"fool", "judge", "r1"})


@dataclass(frozen=True)
class NitzanConfig:
    """One training of Nitzan's method. Weights of 0 leave a term out.

    Same-image terms: ``structure`` (``masked``: L1 under the inverse Gaussian, ``summed`` over the batch), ``l2``,
    ``perceptual``, and ``code``, the distance to the known w or W+ code (read by the published loader, never used there).
    ``offset`` is the squared length of the layer-wise offsets. Of two faces only (ours): ``keep``, the distance to the code of
    the attribute picture, and ``leak``, how much of that picture's own identity is left. ``cross_every``: every n-th step takes
    two different faces; 0: with probability ``cross_prob``. ``adversarial`` on W: on even steps, or with ``unified`` on all,
    halved.
    """

    batch: int = 6
    identity: float = 1.0
    identity_form: Literal["l1", "cosine"] = "l1"
    landmarks: float = 25.6
    structure: float = 0.02
    alpha: float = 0.84
    masked: bool = True
    summed: bool = True
    l2: float = 0.0
    perceptual: float = 0.0
    code: float = 0.0
    offset: float = 0.0
    keep: float = 0.0
    leak: float = 0.0
    cross_every: int = 3
    cross_prob: float = 1 / 3
    adversarial: float = 1.0
    unified: bool = False
    r1: float = 10.0
    rate: float = 5e-5
    rate_adversarial: float = 5e-6
    rate_discriminator: float = 2e-5
    epsilon: float = 1e-7

    def crosses(self, index: int, uniform: float) -> bool:
        """Whether step ``index`` mixes two faces; ``uniform`` in [0,1) decides where chance does."""
        return index % self.cross_every == 0 if self.cross_every else uniform < self.cross_prob

    def fights(self, index: int) -> bool:
        """Whether step ``index`` has the adversarial terms."""
        return self.adversarial > 0 and (self.unified or index % 2 == 0)

    def share(self, term: str) -> float:
        """In which share of the steps a term of the log is there, so that a log can show its mean over those."""
        crossed = 1 / self.cross_every if self.cross_every else self.cross_prob
        if term in SAME or term in CROSS:
            return crossed if term in CROSS else 1 - crossed
        return 0.5 if term in FIGHT and not self.unified else 1.0

    @property
    def adversarial_weight(self) -> float:
        """Weight of both adversarial losses in a step that has them."""
        return self.adversarial * (0.5 if self.unified else 1.0)


@dataclass(frozen=True)
class ZhouConfig:
    """One training of Zhou's method. Weights of 0 leave a term out; ``batch`` counts pairs.

    On the same-face picture: ``l2``, ``structure``, ``perceptual``, ``identity``, ``code``. On the mixed one: ``identity_high``
    (grey high-pass), ``identity_mixed`` (the plain picture; ours), ``keep`` and ``leak`` (as in NitzanConfig; ours),
    ``attributes`` (``crops`` random crops), ``landmarks`` to the attribute picture. ``high`` is how the recogniser sees the
    high-pass: "published" 2h - 1, or "centred" 2h. ``freeze_norm_at``: batch norms stop learning there; 200 is the published
    slip. ``distil`` pulls the identity head towards the recogniser (ours; needs equal widths).
    """

    batch: int = 3
    l2: float = 1.0
    structure: float = 1.0
    alpha: float = 0.9
    perceptual: float = 1.0
    identity: float = 1.0
    identity_high: float = 1.0
    attributes: float = 1.0
    crops: int = 8
    landmarks: float = 0.0
    high: Literal["published", "centred"] = "published"
    identity_mixed: float = 0.0
    keep: float = 0.0
    leak: float = 0.0
    code: float = 0.0
    offset: float = 0.0
    distil: float = 0.0
    rate: float = 1e-5
    epsilon: float = 1e-8
    freeze_norm_at: int | None = 200


NITZAN_TF = NitzanConfig()
NITZAN_TORCH = NitzanConfig(
    batch=8,
    identity_form="cosine",
    landmarks=112.0**2,
    structure=0.01,
    masked=False,
    summed=False,
    l2=1.0,
    perceptual=1.0,
    adversarial=0.0,
    r1=14.0,
    rate=6e-5,
    rate_adversarial=7e-6,
    epsilon=1e-8,
)
ZHOU_FAITHFUL = ZhouConfig()
ZHOU_PLUS = replace(ZHOU_FAITHFUL, landmarks=25.6, high="centred", identity_mixed=0.5, freeze_norm_at=None)
NITZAN_PRESETS: Mapping[str, NitzanConfig] = {"nitzan_tf": NITZAN_TF, "nitzan_torch": NITZAN_TORCH}
ZHOU_PRESETS: Mapping[str, ZhouConfig] = {"zhou_faithful": ZHOU_FAITHFUL, "zhou_plus": ZHOU_PLUS}
Config = TypeVar("Config", NitzanConfig, ZhouConfig)


def configured(table: Mapping[str, Any], presets: Mapping[str, Config]) -> Config:
    """The preset that ``table["preset"]`` names with the other entries of ``table`` in their places. Raises BadRequest."""
    name = str(table.get("preset"))
    if name not in presets:
        raise BadRequest(f"There is no preset '{name}'; there are: {', '.join(presets)}.")
    own = {key: value for key, value in table.items() if key != "preset"}
    known = {field.name for field in fields(presets[name])}
    if unknown := sorted(set(own) - known):
        raise BadRequest(f"The settings know no '{unknown[0]}'; there are: {', '.join(sorted(known))}.")
    return replace(presets[name], **own)
