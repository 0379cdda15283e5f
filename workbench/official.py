"""The published checkpoints, read by their authors' keys. Never an unrestricted unpickling."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.container import state_id
from workbench.errors import BadCheckpoint
from workbench.manifest import Record

Loaded = tuple[nn.Module, Mapping[str, Any], Mapping[str, Tensor]]


def load(kind: str, path: Path, record: Record, latent_avg: Tensor | None) -> Loaded:
    """Network, header and extra tensors of a published file. ``latent_avg`` is the generator's, for the projector.

    Raises BadCheckpoint when the file is damaged, holds something else, or would need code to be run to be read.
    """
    body = unpickle(path)
    try:
        module, state, extra = _build(kind, body, record, latent_avg)
        module.load_state_dict(state, strict=True)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        sentence = f"'{path}' is not the published '{record.file}' ({type(error).__name__}: {reason})."
        raise BadCheckpoint(sentence) from error
    header = {"kind": kind, "id": state_id(state), "arch": dict(record.arch), "attributes": list(record.attributes)}
    return module, header, extra


def unpickle(path: Path) -> Mapping[str, Any]:
    """The dictionary in a ``.pt`` or ``.pth`` file, tensors and plain values only. Raises BadCheckpoint."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            body = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadCheckpoint(f"'{path}' cannot be read as weights ({reason}); fetch it again.") from error
    if not isinstance(body, Mapping):
        raise BadCheckpoint(f"'{path}' holds a {type(body).__name__} where a table of tensors is expected.")
    return body


def _build(
    kind: str, body: Mapping[str, Any], record: Record, latent_avg: Tensor | None
) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
    if kind == "generator":
        from stylegan2.generator import Generator

        return Generator(**record.arch), dict(body["g_ema"]), {"latent_avg": body["latent_avg"].float()}
    if kind == "projector":
        from encoders.e4e import E4EProjector, Encoder4Editing

        mean = body.get("latent_avg", latent_avg)
        if mean is None:
            raise KeyError("latent_avg")
        state = {key: value for key, value in body["state_dict"].items() if key.startswith("encoder.")}
        module = E4EProjector(Encoder4Editing(**record.arch), mean.float())
        return module, state | {"latent_avg": module.latent_avg}, {}
    state = {key.replace("module.", ""): value for key, value in body.items()}
    if kind == "attributes":
        from encoders.attributes import AttributeAgeClassifier

        return AttributeAgeClassifier(**record.arch), state, {}
    if kind == "identity":
        from encoders.identity import IdentityEncoder

        return IdentityEncoder(), state, {}
    if kind == "sdflow_estimator":
        from sdflow.estimator import SemanticEstimator, estimator_arch

        return SemanticEstimator(**estimator_arch(state)), state, {}
    if kind == "sdflow_flow":
        from sdflow.model import ConditionalFlow, flow_arch

        return ConditionalFlow(**flow_arch(state)), state, {}
    raise KeyError(f"no published form of '{kind}' is known")
