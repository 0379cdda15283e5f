"""What a metric is: its table, what it may need, and the one line that it answers with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from torch import Tensor

from evaluation.features import Features

Kind = Literal["pairs", "sets"]


@dataclass(frozen=True, eq=False)
class Context:
    """What some metrics need: networks with their names, the edited component, another picture to compare with.

    ``features``: a feature network for perceptual and set metrics; ``embed``: pictures (B,3,H,W) to unit rows (B,n) and the
    name of that network; ``judge``: pictures to 40 probabilities, with ``attribute`` its column; ``score``: a discriminator.
    ``lpips``: the published distance of two batches; ``inception``: the published features (B,2048) of FID; ``points``: one
    picture (3,H,W) to its 68 points (68,2) as parts of its side, or None without a face.
    """

    features: Features | None = None
    embed: tuple[str, Callable[[Tensor], Tensor]] | None = None
    judge: tuple[str, Callable[[Tensor], Tensor]] | None = None
    score: tuple[str, Callable[[Tensor], Tensor]] | None = None
    lpips: tuple[str, Callable[[Tensor, Tensor], Tensor]] | None = None
    inception: tuple[str, Callable[[Tensor], Tensor]] | None = None
    points: tuple[str, Callable[[Tensor], np.ndarray | None]] | None = None
    component: str | None = None
    attribute: int | None = None
    wanted: bool = True


@dataclass(frozen=True)
class Metric:
    """A registered metric: per-pair values (N,) for "pairs", one number for "sets". ``needs`` names a field of Context.

    A pair whose value is NaN shows no face; it is counted and named, and takes no part in the mean.
    """

    name: str
    kind: Kind
    better: Literal["higher", "lower"]
    function: Callable[[Tensor, Tensor, Context], Tensor]
    needs: str | None


@dataclass(frozen=True)
class Result:
    """One number with its circumstances.

    ``low`` and ``high``: 95 % bootstrap interval of the mean, for pairs. ``n``: how many it was taken over; ``not_found``: pairs
    in which no face was found, named in ``left_out`` with the files that could not be used.
    """

    metric: str
    value: float
    n: int
    resolution: int
    seconds: float
    low: float | None = None
    high: float | None = None
    backbone: str | None = None
    judge: str | None = None
    not_found: int = 0
    left_out: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), sort_keys=True)


def _collect() -> tuple[dict[str, Metric], Callable[..., Any]]:
    table: dict[str, Metric] = {}

    def register(
        name: str, *, kind: Kind = "pairs", better: Literal["higher", "lower"] = "lower", needs: str | None = None
    ) -> Callable[[Callable[[Tensor, Tensor, Context], Tensor]], Callable[[Tensor, Tensor, Context], Tensor]]:
        def add(function: Callable[[Tensor, Tensor, Context], Tensor]) -> Callable[[Tensor, Tensor, Context], Tensor]:
            table[name] = Metric(name, kind, better, function, needs)
            return function

        return add

    return table, register


METRICS, metric = _collect()
