"""Attribute directions in the components' embeddings, fitted on labelled faces.

A direction is what a linear classifier of the standardised embeddings says, carried back along the data's own covariance: one
step moves the classifier's score by one standard deviation and everything correlated with it accordingly. InterFaceGAN
(arXiv 1907.10786) moves along the classifier's normal instead, which leaves the data sooner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from iafaces.regions import COMPONENTS
from workbench.errors import BadCheckpoint, BadRequest


@dataclass(frozen=True)
class Recipe:
    """Which CelebA label an attribute is, which components show it, and whether the label says the opposite."""

    label: str
    components: tuple[str, ...]
    inverted: bool = False
    remove: tuple[str, ...] = ()


EYES, ALL = ("l_eye", "r_eye"), COMPONENTS
RECIPES: Mapping[str, Recipe] = {
    "mouth_open": Recipe("Mouth_Slightly_Open", ("mouth",)),
    "smiling": Recipe("Smiling", ("l_eye", "r_eye", "mouth")),
    "big_lips": Recipe("Big_Lips", ("mouth",)),
    "beard": Recipe("No_Beard", ("mouth",), inverted=True),
    "mustache": Recipe("Mustache", ("mouth",)),
    "bushy": Recipe("Bushy_Eyebrows", EYES),
    "arched": Recipe("Arched_Eyebrows", EYES),
    "bags": Recipe("Bags_Under_Eyes", EYES),
    "narrow_eyes": Recipe("Narrow_Eyes", EYES),
    "eyeglasses": Recipe("Eyeglasses", ("l_eye", "r_eye", "nose")),
    "big_nose": Recipe("Big_Nose", ("nose",)),
    "pointy_nose": Recipe("Pointy_Nose", ("nose",)),
    "male": Recipe("Male", ALL),
    "young": Recipe("Young", ALL),
    "heavy_makeup": Recipe("Heavy_Makeup", ALL),
}


@dataclass(frozen=True, eq=False)
class Direction:
    """One attribute.

    ``normal`` (4,D) and ``bias``: the classifier's score of embeddings n is sum(normal * n) + bias, in logits. ``step``
    (4,D): the move of one standard deviation. ``center`` and ``deviation`` of the score over the data, ``low`` and ``high`` its
    1 and 99 % points, in logits. ``accuracy``: balanced, on faces the fit has not seen.
    """

    name: str
    label: str
    components: tuple[str, ...]
    normal: Tensor
    step: Tensor
    bias: float
    center: float
    deviation: float
    low: float
    high: float
    accuracy: float
    removed: tuple[str, ...] = ()

    def score(self, nodes: Tensor) -> Tensor:
        """Logit (B,) of ``nodes`` (B,4,D)."""
        return (nodes * self.normal.to(nodes)).sum([1, 2]) + self.bias

    def moved(self, nodes: Tensor, strength: float | Tensor) -> Tensor:
        """``nodes`` (B,4,D) moved by ``strength`` standard deviations (a number, or one per face); 0 gives them back."""
        if isinstance(strength, Tensor):
            return nodes + strength.reshape(-1, 1, 1).to(nodes) * self.step.to(nodes)
        return nodes if strength == 0 else nodes + strength * self.step.to(nodes)

    def strength_to(self, nodes: Tensor, target: float) -> Tensor:
        """Strength (B,) that brings the score to ``target`` standard deviations from its mean, kept to the 1-99 % range."""
        wanted = min(max(self.center + target * self.deviation, self.low), self.high)
        return (wanted - self.score(nodes)) / (self.normal * self.step).sum().clamp_min(1e-9)


def rows_of(components: Sequence[str]) -> list[int]:
    """Rows of the named components."""
    return [COMPONENTS.index(name) for name in components]


def logistic(x: Tensor, y: Tensor, decay: float, steps: int = 60) -> tuple[Tensor, float]:
    """Weight (n,) and bias of a class-balanced logistic regression with ridge ``decay``; x (N,n) standardised, y (N,) 0 or 1."""
    positive = y.mean().clamp(1e-6, 1 - 1e-6)
    weights = torch.where(y > 0.5, 0.5 / positive, 0.5 / (1 - positive))
    parameters = torch.zeros(x.shape[1] + 1, dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([parameters], max_iter=steps, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        logits = x @ parameters[:-1] + parameters[-1]
        loss = F.binary_cross_entropy_with_logits(logits, y, weights) + decay * parameters[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType] (torch's own closures return tensors)
    found = parameters.detach()
    return found[:-1], float(found[-1])


def balanced_accuracy(logits: Tensor, y: Tensor) -> float:
    """Mean of the shares of the two classes that ``logits`` (N,) tell right."""
    right = (logits > 0) == (y > 0.5)
    return float((right[y > 0.5].float().mean() + right[y <= 0.5].float().mean()) / 2)


def split(y: Tensor, name: str, *, seed: int = 0, held_out: float = 0.2) -> tuple[Tensor, Tensor]:
    """Indices of the faces to fit on and of those held out, by labels ``y`` (N,) 0 or 1. Raises BadRequest as ``fit`` does."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    cut = round(len(y) * (1 - held_out))
    for part in (order[:cut], order[cut:]):
        count = int(y[part].sum())
        if min(count, len(part) - count) < 10:
            raise BadRequest(
                f"'{name}' needs at least ten faces with it and ten without it on each side of the split; take more faces."
            )
    return order[:cut], order[cut:]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The parts of a fit over some rows, before confounders are taken out: standardised classifier and its split."""

    rows: list[int]
    weight: Tensor
    bias: float
    accuracy: float


def fit(
    nodes: Tensor,
    labels: Tensor,
    name: str,
    recipe: Recipe,
    *,
    confounders: Mapping[str, Tensor] | None = None,
    seed: int = 0,
    held_out: float = 0.2,
    decay: float = 1e-3,
) -> Direction:
    """The direction of ``name`` from embeddings ``nodes`` (N,4,D) and ``labels`` (N,) 0 or 1.

    ``confounders``: names and labels (N,) of attributes whose own score the step must not change. Raises BadRequest when
    a class has fewer than ten faces on either side of the split.
    """
    rows = rows_of(recipe.components)
    data = nodes[:, rows].double().flatten(1)
    y = labels.double()
    train, test = split(y, name, seed=seed, held_out=held_out)
    cut = len(train)
    mean, spread = data[train].mean(0), data[train].std(0).clamp_min(1e-6)
    x = (data - mean) / spread
    weight, bias = logistic(x[train], y[train], decay)
    accuracy = balanced_accuracy(x[test] @ weight + bias, y[test])
    covariance = x[train].t() @ x[train] / cut
    direction = weight
    for other in (confounders or {}).values():
        against, _ = logistic(x[train], other.double()[train], decay)
        power = against @ covariance @ against
        direction = direction - (direction @ covariance @ against) / power * against
    step = covariance @ direction
    scores = x[train] @ weight + bias
    deviation = float(scores.std())
    step = step * (deviation / (weight @ step).clamp_min(1e-9))
    full_normal, full_step = torch.zeros(nodes.shape[1:]), torch.zeros(nodes.shape[1:])
    full_normal[rows] = (weight / spread).reshape(len(rows), -1).float()
    full_step[rows] = (step * spread).reshape(len(rows), -1).float()
    return Direction(
        name=name,
        label=recipe.label,
        components=recipe.components,
        normal=full_normal,
        step=full_step,
        bias=float(bias - (weight * mean / spread).sum()),
        center=float(scores.mean()),
        deviation=deviation,
        low=float(scores.quantile(0.01)),
        high=float(scores.quantile(0.99)),
        accuracy=accuracy,
        removed=tuple(confounders or ()),
    )


def column(labels: Tensor, columns: Sequence[str], recipe: Recipe) -> Tensor:
    """Labels (N,) 0 or 1 of the attribute ``recipe`` from ``labels`` (N,len(columns)) with CelebA's names."""
    values = labels[:, list(columns).index(recipe.label)].double()
    return 1 - values if recipe.inverted else values


def fit_all(
    nodes: Tensor, labels: Tensor, columns: Sequence[str], recipes: Mapping[str, Recipe] = RECIPES, *, seed: int = 0
) -> dict[str, Direction]:
    """Directions of all ``recipes`` from ``nodes`` (N,4,D) and ``labels`` (N,len(columns)) with CelebA's names."""

    made: dict[str, Direction] = {}
    for name, recipe in recipes.items():
        others = {other: column(labels, columns, recipes[other]) for other in recipe.remove}
        made[name] = fit(nodes, column(labels, columns, recipe), name, recipe, confounders=others, seed=seed)
    return made


def to_state(directions: Mapping[str, Direction]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header entries of one safe file."""
    state: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for name, d in directions.items():
        state |= {f"{name}.normal": d.normal, f"{name}.step": d.step}
        facts[name] = {
            "label": d.label,
            "components": list(d.components),
            "bias": d.bias,
            "center": d.center,
            "deviation": d.deviation,
            "low": d.low,
            "high": d.high,
            "accuracy": round(d.accuracy, 4),
            "removed": list(d.removed),
        }
    return state, {"kind": "directions", "directions": facts}


def from_state(state: Mapping[str, Tensor], header: Mapping[str, Any], encoder: str) -> dict[str, Direction]:
    """Directions of a file made for the network ``encoder`` (its id). Raises BadCheckpoint for another one's."""
    if header.get("kind") != "directions" or header.get("encoder") != encoder:
        raise BadCheckpoint(
            f"These attribute directions belong to the network {header.get('encoder')}, not to {encoder}; fit them again."
        )
    try:
        return {
            name: Direction(
                name=name,
                label=facts["label"],
                components=tuple(facts["components"]),
                normal=state[f"{name}.normal"].float(),
                step=state[f"{name}.step"].float(),
                bias=facts["bias"],
                center=facts["center"],
                deviation=facts["deviation"],
                low=facts["low"],
                high=facts["high"],
                accuracy=facts["accuracy"],
                removed=tuple(facts.get("removed", ())),
            )
            for name, facts in header["directions"].items()
        }
    except (KeyError, TypeError) as error:
        raise BadCheckpoint(f"The file of attribute directions is incomplete ({error}); fit them again.") from error
