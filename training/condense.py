"""Give a trained component auto-encoder embeddings of fewer numbers: their principal axes, the same network in a smaller basis.

    python -m training.condense configs/starter_iafaces.toml --components RUN/components.safetensors --faces FOLDER --dim 64 --out OUT

Every map into and out of an embedding is linear, so the turn into the axes is exact and only what lies beyond ``dim`` of them is lost.
A short training uses far fewer than it was given, and the file shrinks accordingly.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import container
from data.datasets import load_faces
from iafaces.model import KINDS, ComponentAutoencoder
from training.directions import embeddings, training_faces
from training.settings import read_settings
from workbench.errors import BadCheckpoint, BadRequest
from workbench.weights import load_file


def axes(nodes: Tensor, dim: int) -> dict[str, tuple[Tensor, float]]:
    """Per kind of component the first ``dim`` principal axes (D,dim) of ``nodes`` (N,4,D) about zero, and the share they hold."""
    found = {}
    for kind in dict.fromkeys(KINDS):
        rows = nodes[:, [i for i, k in enumerate(KINDS) if k == kind]].double().flatten(0, 1)
        values, vectors = torch.linalg.eigh(rows.t() @ rows / len(rows))
        chosen = vectors.flip(1)[:, :dim]
        found[kind] = (chosen.float(), float(values.flip(0)[:dim].sum() / values.sum()))
    return found


def condensed(
    net: ComponentAutoencoder, arch: Mapping[str, Any], basis: Mapping[str, Tensor]
) -> tuple[ComponentAutoencoder, dict]:
    """``net`` (made from ``arch``) with its embeddings in ``basis`` (D,dim per kind), and the arguments that make it."""
    old, dim = arch["encoder"]["dim"], next(iter(basis.values())).shape[1]
    made_of = {**arch, "encoder": {**arch["encoder"], "dim": dim}, "decoder": {**arch["decoder"], "dim": dim}}
    state = {name: value.clone() for name, value in net.state_dict().items()}
    # Layers scale their weights by the square root of their inputs; gains by that of the embedding's length.
    shrink, grow = math.sqrt(dim / old), math.sqrt(old / dim)
    for kind, turn in basis.items():
        reader = f"encoder.readers.{kind}"
        state[f"{reader}.head.weight"] = turn.t() @ state[f"{reader}.head.weight"]
        state[f"{reader}.head.bias"] = turn.t() @ state[f"{reader}.head.bias"]
        state[f"{reader}.gain"] = state[f"{reader}.gain"] * grow
        inputs = [f"decoder.seeds.{kind}.start.weight"]
        inputs += [n for n in state if n.startswith("decoder.levels.") and n.endswith(f".heads.{kind}.weight")]
        for name in inputs:
            state[name] = state[name] @ turn * shrink
    made = ComponentAutoencoder(**made_of)
    made.load_state_dict(state)
    return made.eval().requires_grad_(False), made_of


@torch.inference_mode()
def psnr(net: ComponentAutoencoder, images: Tensor) -> float:
    """Mean over ``images`` (N,3,S,S), peak 2."""
    values = []
    for part in images.split(10):
        values.append(10 * torch.log10(4 / (net(part).clamp(-1, 1) - part).square().mean([1, 2, 3])))
    return float(torch.cat(values).mean())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the settings the network was trained with")
    parser.add_argument("--components", required=True, type=Path, metavar="FILE")
    parser.add_argument("--faces", default="faces", type=Path, metavar="FOLDER")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE")
    parser.add_argument("--dim", type=int, default=64, help="numbers per component (default: 64)")
    parser.add_argument("--limit", type=int, default=3000, metavar="N", help="training faces the axes are taken from")
    parser.add_argument("--cache", metavar="FOLDER", help="where decoded faces are kept")
    a = parser.parse_args(argv)
    net, header, _ = load_file("components", a.components)
    if not isinstance(net, ComponentAutoencoder):
        raise BadCheckpoint(f"'{a.components}' holds no component network of this program.")
    if not 1 <= a.dim < header["arch"]["encoder"]["dim"]:
        raise BadRequest(f"The embeddings have {header['arch']['encoder']['dim']} numbers; give fewer than that.")
    net = net.eval().requires_grad_(False)
    body = read_settings(Path(a.config))
    chosen = training_faces(body, a.faces, net.size, a.cache)
    index = np.unique(np.linspace(0, len(chosen) - 1, min(a.limit, len(chosen))).astype(int))
    found = axes(embeddings(net, chosen, index), a.dim)
    made, arch = condensed(net, header["arch"], {kind: turn for kind, (turn, _) in found.items()})
    data = body["data"]
    val = load_faces([a.faces / z for z in data["val_zips"]], a.faces / data["val_labels"], net.size, a.cache)
    images = val.batch(np.arange(min(200, len(val)))).contiguous()
    before, after = psnr(net, images), psnr(made, images)
    kept = {name: header[name] for name in ("kind", "steps") if name in header}
    name = container.save(
        a.out, made.state_dict(), {**kept, "arch": arch, "psnr_val": round(after, 2), "condensed_from": header["id"]}
    )
    share = {kind: round(value, 5) for kind, (_, value) in found.items()}
    print(json.dumps({"id": name, "dim": a.dim, "share": share, "psnr_before": before, "psnr_after": after}))


if __name__ == "__main__":
    main()
