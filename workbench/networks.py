"""Which class a weights file of ours holds, by the ``kind`` in its header."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import nn

from workbench.errors import BadCheckpoint

CLASSES: Mapping[str, tuple[str, str]] = {
    "generator": ("stylegan2.generator", "Generator"),
    "discriminator": ("stylegan2.discriminator", "Discriminator"),
    "projector": ("encoders.compact", "CompactE4E"),
    "attributes": ("encoders.compact", "AttributeNet"),
    "judge": ("encoders.compact", "AttributeNet"),
    "identity": ("encoders.compact", "IdentityNet"),
    "sdflow_estimator": ("sdflow.estimator", "SemanticEstimator"),
    "sdflow_flow": ("sdflow.model", "ConditionalFlow"),
    "components": ("iafaces.model", "ComponentAutoencoder"),
    "nitzan_attributes": ("idswap.compact", "CompactAttributes"),
    "nitzan_inception": ("encoders.inception", "InceptionEncoder"),
    "nitzan_mapper": ("idswap.models", "CodeMapper"),
    "zhou_encoder": ("idswap.compact", "CompactSwapEncoder"),
    "zhou_irse50": ("idswap.models", "SwapEncoder"),
    "zhou_mapper": ("idswap.models", "CodeMapper"),
    "detector": ("encoders.detector", "FaceDetector"),
    "landmarks": ("encoders.landmarks", "LandmarkNet"),
    "parser": ("encoders.compact_parser", "CompactParser"),
}
LATENT_BOUND = frozenset({"projector", "sdflow_estimator", "sdflow_flow", "nitzan_mapper", "zhou_mapper", "samples"})
"""Kinds that mean something for one generator only, and must carry its id."""


def build(kind: str, arch: Mapping[str, Any]) -> nn.Module:
    """An uninitialised network of ``kind`` with constructor arguments ``arch``. Raises BadCheckpoint."""
    if kind not in CLASSES:
        raise BadCheckpoint(f"There is no network of the kind '{kind}'; there are: {', '.join(CLASSES)}.")
    module, name = CLASSES[kind]
    try:
        return getattr(import_module(module), name)(**arch)
    except (TypeError, ValueError, KeyError) as error:
        raise BadCheckpoint(f"A network '{kind}' cannot be built from {dict(arch)} ({error}).") from error
