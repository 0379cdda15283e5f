"""A family of random networks small enough for tests: 32 px, codes of 8 rows, a manifest of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from data import container
from encoders.compact import AttributeNet, CompactE4E, IdentityNet
from sdflow.estimator import SemanticEstimator
from sdflow.model import ConditionalFlow
from stylegan2.generator import Generator

ATTRIBUTES = ("Eyeglasses", "Male", "Smiling", "Wavy_Hair", "Young")
SIZE = 32

ARCH = {
    "generator": {"size": SIZE, "style_dim": 512, "n_mlp": 2, "channels": {"4": 8, "8": 8, "16": 8, "32": 8}},
    "projector": {"size": SIZE, "widths": [4, 8], "thumbnail": 8, "bottleneck": 16},
    "attributes": {"widths": [4, 8], "input_size": 16},
    "judge": {"widths": [4, 8], "input_size": 16, "residual": False},
    "identity": {"widths": [4, 8], "input_size": 16, "dim": 16},
    "sdflow_estimator": {"attributes": 5, "depth": 18, "width": 8, "input_size": SIZE},
    "sdflow_flow": {"attributes": 5, "width": 512, "hidden": [8, 8]},
}
CLASSES: dict[str, type[nn.Module]] = {
    "generator": Generator,
    "projector": CompactE4E,
    "attributes": AttributeNet,
    "judge": AttributeNet,
    "identity": IdentityNet,
    "sdflow_estimator": SemanticEstimator,
    "sdflow_flow": ConditionalFlow,
}


def network(kind: str) -> nn.Module:
    """A random network of ``kind``, the same at every call."""
    torch.manual_seed(len(kind))
    return CLASSES[kind](**ARCH[kind]).eval()


def write_family(folder: Path, seed: int = 0) -> Path:
    """Write all networks and the manifest into ``folder``; returns the manifest. ``seed`` makes other generators."""
    (folder / "tiny").mkdir(parents=True, exist_ok=True)
    manifest = ["[starter]", 'title = "Tiny"', 'folders = ["tiny"]', "low_identity = -1.0", "high_l2 = 9.0"]
    generator_id = ""
    for kind in ARCH:
        module = network(kind)
        state: dict[str, Tensor] = dict(module.state_dict())
        header = {"kind": kind, "arch": ARCH[kind], "licence": "none"}
        if kind == "generator":
            state["latent_avg"] = torch.full((512,), 0.01 * seed)
        elif kind in ("attributes", "judge"):
            # Untrained heads say one half of everything; these have opinions.
            state["head.3.weight"] = 40 * state["head.3.weight"]
        elif kind == "projector":
            for key in ("base.weight", "deltas.weight"):
                state[key] = 0.2 * torch.randn_like(state[key])
            header["generator"] = generator_id
        elif kind.startswith("sdflow"):
            header |= {"generator": generator_id, "attributes": list(ATTRIBUTES)}
        made = container.save(folder / "tiny" / f"{kind}.safetensors", state, header)
        generator_id = made if kind == "generator" else generator_id
        manifest += ["", f"[starter.files.{kind}]", f'file = "{kind}.safetensors"', "size = 0", 'sha256 = ""']
    codes = {"codes": torch.randn(3, 8, 512, generator=torch.Generator().manual_seed(1))}
    header = {"kind": "samples", "arch": {}, "generator": generator_id}
    container.save(folder / "tiny" / "samples.safetensors", codes, header)
    manifest += ["", "[starter.files.samples]", 'file = "samples.safetensors"', "size = 0", 'sha256 = ""', ""]
    path = folder / "weights.toml"
    path.write_text("\n".join(manifest), "utf-8")
    return path
