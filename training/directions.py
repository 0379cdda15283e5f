"""Fit the attribute directions of a component auto-encoder on labelled faces and write them as one file.

python -m training.directions configs/starter_iafaces.toml --components runs/iafaces/components.safetensors --faces faces
"""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import container
from data.datasets import FaceSet, load_faces
from encoders.attributes import CELEBA_ATTRIBUTES
from iafaces.directions import RECIPES, Direction, Recipe, fit_all, to_state
from iafaces.model import ComponentAutoencoder
from workbench.errors import BadRequest
from workbench.face import content_hash
from workbench.weights import load_file


def without(recipes: Mapping[str, Recipe], remove: Sequence[str]) -> dict[str, Recipe]:
    """``recipes`` with the confounders of ``remove`` ("attribute:confounder") added. Raises BadRequest."""
    found = dict(recipes)
    for words in remove:
        name, _, other = words.partition(":")
        if name not in found or other not in found or name == other:
            raise BadRequest(f"'{words}' is no removal; write ATTRIBUTE:OTHER with two of: {', '.join(found)}.")
        found[name] = replace(found[name], remove=(*found[name].remove, other))
    return found


@torch.inference_mode()
def embeddings(model: ComponentAutoencoder, faces: FaceSet, index: np.ndarray, device: str = "cpu") -> Tensor:
    """Embeddings (N,4,D) of ``faces`` at ``index``."""
    rows = []
    for part in np.array_split(index, max(1, len(index) // 50)):
        rows.append(model.encoder.nodes(faces.batch(part, device=device).contiguous()).cpu())
    return torch.cat(rows).clone()


def training_faces(body: Mapping[str, Any], faces: Path, size: int, cache: Path | str | None) -> FaceSet:
    """The training faces a run's settings name, at ``size`` px."""
    data = body["data"]
    return load_faces([faces / z for z in data["zips"]], faces / data["labels"], size, data.get("cache", cache))


def run(
    config: Path | str,
    components: Path | str,
    faces: Path | str,
    out: Path | str,
    *,
    limit: int = 12_000,
    seed: int = 0,
    cache: Path | str | None = None,
    device: str = "cpu",
    remove: Sequence[str] = (),
) -> dict[str, Direction]:
    """Fit all ready attributes on ``limit`` evenly taken training faces of ``config`` and write ``out``.

    ``remove``: "beard:male" keeps the score of male out of the step of beard. Raises BadRequest when the settings cannot be read
    or a removal names a stranger, MissingWeights and BadCheckpoint for the network.
    """
    recipes = without(RECIPES, remove)
    try:
        body = tomllib.loads(Path(config).read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(f"The settings '{config}' cannot be read ({error}).") from error
    module, header, _ = load_file("components", Path(components))
    assert isinstance(module, ComponentAutoencoder)
    module = module.eval().to(device)
    chosen = training_faces(body, Path(faces), module.size, cache)
    index = np.unique(np.linspace(0, len(chosen) - 1, min(limit, len(chosen))).astype(int))
    nodes, labels = embeddings(module, chosen, index, device), torch.from_numpy(chosen.labels[index])
    made = fit_all(nodes, labels, CELEBA_ATTRIBUTES, recipes, seed=seed)
    state, facts = to_state(made)
    source = content_hash(labels, "\n".join(chosen.names[i] for i in index))[:16]
    about = {
        "encoder": header["id"],
        "faces": len(index),
        "seed": seed,
        "data": list(body["data"]["zips"]),
        "source": source,
    }
    container.save(out, state, {**facts, **about}, half=False)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--components", required=True, metavar="FILE")
    parser.add_argument("--faces", default="faces", metavar="FOLDER")
    parser.add_argument("--out", metavar="FILE", help="default: directions.safetensors beside the components")
    parser.add_argument("--limit", type=int, default=12_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--remove", action="append", default=[], metavar="NAME:OTHER", help="keep OTHER out of NAME")
    parser.add_argument("--cache", metavar="FOLDER", help="where decoded faces are kept")
    a = parser.parse_args(argv)
    out = a.out or Path(a.components).with_name("directions.safetensors")
    made = run(a.config, a.components, a.faces, out, limit=a.limit, seed=a.seed, cache=a.cache, remove=a.remove)
    for name, d in made.items():
        facts = {"attribute": name, "components": list(d.components), "accuracy": round(d.accuracy, 4)}
        print(json.dumps({**facts, "low": round(d.low, 2), "high": round(d.high, 2)}))


if __name__ == "__main__":
    main()
