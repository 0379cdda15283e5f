"""Files of the published sizes and layouts, filled by the rule of the golden data: for measuring, they edit nothing well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from encoders.attributes import AttributeAgeClassifier
from encoders.e4e import Encoder4Editing
from encoders.irse import Backbone
from sdflow.estimator import SemanticEstimator
from sdflow.model import ConditionalFlow
from stylegan2.generator import Generator

PRELU = ("input_layer.2.weight", "res_layer.2.weight")
ATTRIBUTES = 3
RULES: Mapping[str, dict[str, Any]] = {
    "generator": {"equalized": ("weight", "input.input", *(f"noise_{i}" for i in range(17)))},
    "projector": {"equalized": ("linear.weight",), "prelu": PRELU},
    "identity": {"prelu": PRELU},
    "sdflow_flow": {"keep": ("step", "_num_evals", "sqrt_end_time")},
}
NETWORKS: Mapping[str, tuple[str, Callable[[], nn.Module]]] = {
    "generator": ("stylegan2-ffhq-config-f.pt", lambda: Generator(1024)),
    "projector": ("e4e_ffhq_encode.pt", lambda: Encoder4Editing(1024)),
    "attributes": ("r34_a40_age_256_classifier.pth", lambda: AttributeAgeClassifier(34)),
    "identity": ("model_ir_se50.pth", lambda: Backbone(112, 50, "ir_se")),
    "sdflow_estimator": ("ckpt/labeldist-0010000", lambda: SemanticEstimator(ATTRIBUTES)),
    "sdflow_flow": ("ckpt/prior-0010000", lambda: ConditionalFlow(ATTRIBUTES)),
}
"""Kind in the official family: the file's name under ``data`` in the layout of the SDFlow demo, and its network."""


def filled(kind: str) -> dict[str, Tensor]:
    """State of the network of ``kind`` with deterministic numbers."""
    from tests.golden.data.fill import fill_state

    state = fill_state(NETWORKS[kind][1]().state_dict(), **RULES.get(kind, {}))
    if kind == "generator":
        # The mapping layers scale by 0.01 when they run, and real files hold weights of the size that makes up for it.
        for key in [k for k in state if k.startswith("style.") and k.endswith("weight")]:
            state[key] = 100 * state[key]
    if kind == "sdflow_flow":
        # The rule's gains would make the flow stiff beyond any trained one.
        for key in [k for k in state if k.endswith("_layer.weight")]:
            state[key] = 0.5 * state[key]
        for key in [k for k in state if k in ("chain.0.weight", "chain.2.weight")]:
            state[key] = state[key] - 1
    return state


def body(kind: str) -> dict[str, Any]:
    """What the published file of ``kind`` holds at its top level."""
    state = filled(kind)
    if kind == "generator":
        return {"g_ema": state, "latent_avg": torch.zeros(512)}
    if kind == "projector":
        named = {f"encoder.{key}": value for key, value in state.items()}
        return {"state_dict": named, "latent_avg": torch.zeros(18, 512), "opts": {"stylegan_size": 1024}}
    return state


def write(kind: str, folder: Path) -> Path:
    """Write the file of ``kind`` into ``folder`` in the published layout; returns its path."""
    path = folder / NETWORKS[kind][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(body(kind), path)
    return path
