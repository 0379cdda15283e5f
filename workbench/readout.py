"""What a face shows and what an edit changed: 40 attribute probabilities, identity, unintended changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from encoders.attributes import CELEBA_ATTRIBUTES, AttributeAgeClassifier
from workbench.face import Readout

UNINTENDED = 0.15
"""A probability that moves by more than this without being asked for is marked."""


@dataclass(frozen=True)
class Comparison:
    """Before against after.

    ``before``/``after``: readouts of projection and edited picture. ``deltas``: after minus before, 40 names.
    ``identity``: cosine of the edited picture with the photo's crop; ``identity_kept``: with the projection, so 1 means
    that the edit itself cost nothing. ``unintended``: names that moved by more than UNINTENDED without being asked
    for, the largest change first. ``seconds``: what the reading cost.
    """

    before: Readout
    after: Readout
    deltas: Mapping[str, float]
    identity: float
    identity_kept: float
    unintended: tuple[str, ...]
    seconds: float


@torch.no_grad()
def read(network: nn.Module, image: Tensor, judge: str) -> Readout:
    """Probabilities by ``network`` (whose id is ``judge``) of ``image`` (3,H,W) in [-1, 1], on the network's device."""
    logits = attribute_logits(network, image[None])[0]
    values = torch.sigmoid(logits.float()).cpu().tolist()
    return Readout(dict(zip(CELEBA_ATTRIBUTES, values, strict=True)), judge)


def attribute_logits(network: nn.Module, images: Tensor) -> Tensor:
    """Logits (B,40) of ``images`` (B,3,H,W); the published classifier's age half is left out."""
    if isinstance(network, AttributeAgeClassifier):
        return network.attributes(images)
    return network(images)[:, : len(CELEBA_ATTRIBUTES)]


@torch.no_grad()
def embed(network: nn.Module, image: Tensor) -> Tensor:
    """Unit identity vector (D,) on the CPU of ``image`` (3,H,W) in [-1, 1], an FFHQ crop."""
    return torch.nn.functional.normalize(network(image[None]).float(), dim=1)[0].cpu()


def differences(before: Readout, after: Readout) -> dict[str, float]:
    """After minus before for each attribute."""
    return {name: after.values[name] - value for name, value in before.values.items()}


def unintended(deltas: Mapping[str, float], asked: frozenset[str], limit: float = UNINTENDED) -> tuple[str, ...]:
    """Names outside ``asked`` whose change is larger than ``limit``, the largest first."""
    moved = [name for name, delta in deltas.items() if abs(delta) > limit and name not in asked]
    return tuple(sorted(moved, key=lambda name: -abs(deltas[name])))
