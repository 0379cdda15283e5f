"""Fit the attribute directions of a component auto-encoder on labelled faces and write them as one file.

python -m training.directions configs/starter_iafaces.toml --components runs/iafaces/components.safetensors --faces faces
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import container
from data.datasets import FaceSet, labelled, load_faces, pictures
from encoders.attributes import CELEBA_ATTRIBUTES
from iafaces.directions import RECIPES, Direction, Recipe, column, fit_all, split, to_state
from iafaces.editing import Autoencoder
from training.settings import read_settings
from workbench.component_networks import directions_beside, open_file
from workbench.errors import BadRequest
from workbench.face import content_hash


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
def embeddings(model: Autoencoder, faces: FaceSet, index: np.ndarray, device: str = "cpu") -> Tensor:
    """Embeddings (N,4,D) of ``faces`` at ``index``."""
    rows = []
    for part in np.array_split(index, max(1, len(index) // batch_of(model))):
        rows.append(model.nodes(faces.batch(part, device=device).contiguous()).cpu())
    return torch.cat(rows).clone()


def batch_of(model: Autoencoder) -> int:
    """Faces at once: 50 at 128 px, and as many pixels at other sizes."""
    return max(1, 50 * 128**2 // model.size**2)


@torch.inference_mode()
def streamed(model: Autoencoder, data: Data, index: np.ndarray, device: str = "cpu") -> Tensor:
    """As ``embeddings``, reading a batch of pictures at a time: at 1024 px the faces of a data set fit in no memory."""
    rows, waiting = [], list[np.ndarray]()
    for count, picture in enumerate(pictures(data.zips, data.names, index, model.size), 1):
        waiting.append(picture)
        if len(waiting) == batch_of(model) or count == len(index):
            batch = torch.from_numpy(np.stack(waiting)).to(device).permute(0, 3, 1, 2).contiguous()
            rows.append(model.nodes(batch.float().div(127.5).sub(1)).cpu())
            waiting.clear()
    return torch.cat(rows).clone()


@dataclass(frozen=True, eq=False)
class Data:
    """Labelled training faces: their zips, the names in them, and the 40 labels (N,40) of each."""

    zips: tuple[Path, ...]
    names: tuple[str, ...]
    labels: np.ndarray


def data_of(body: Mapping[str, Any], faces: Path) -> Data:
    """The training faces that a run's settings name, in the folder ``faces``. Raises BadRequest when they are not there."""
    try:
        zips, table = [faces / z for z in body["data"]["zips"]], faces / body["data"]["labels"]
    except (KeyError, TypeError) as error:
        raise BadRequest(
            f"The settings name no training faces ([data] zips and labels; {error} is missing)."
        ) from error
    for path in (*zips, table):
        if not path.is_file():
            raise BadRequest(f"The training faces '{path}' are not there; say with --faces in which folder they lie.")
    try:
        return Data(tuple(zips), *labelled(zips, table))
    except (ValueError, zipfile.BadZipFile) as error:
        raise BadRequest(f"'{table}' labels none of the pictures in {', '.join(z.name for z in zips)}.") from error


def training_faces(body: Mapping[str, Any], faces: Path, size: int, cache: Path | str | None) -> FaceSet:
    """The training faces a run's settings name, at ``size`` px."""
    data = body["data"]
    return load_faces([faces / z for z in data["zips"]], faces / data["labels"], size, data.get("cache", cache))


def run(
    config: Path | str,
    components: Path | str,
    faces: Path | str,
    out: Path | str | None = None,
    *,
    limit: int = 12_000,
    seed: int = 0,
    cache: Path | str | None = None,
    device: str = "cpu",
    remove: Sequence[str] = (),
) -> dict[str, Direction]:
    """Fit all ready attributes on ``limit`` evenly taken training faces of ``config`` and write ``out``.

    ``components`` is one of our networks or a published file; without ``out``, the directions go beside it. ``remove``:
    "beard:male" keeps the score of male out of the step of beard. ``cache`` keeps all faces of ``config`` decoded there. Raises
    BadRequest when settings or faces cannot be read or a removal names a stranger, MissingWeights and BadCheckpoint for the network.
    """
    recipes = without(RECIPES, remove)
    body = read_settings(Path(config))
    network = open_file(Path(components))
    model = network.module.to(device)
    data = data_of(body, Path(faces))
    index = np.unique(np.linspace(0, len(data.names) - 1, min(limit, len(data.names))).astype(int))
    labels = torch.from_numpy(data.labels[index])
    for name, recipe in recipes.items():
        # Told before the faces are read, which takes minutes with a large network.
        split(column(labels, CELEBA_ATTRIBUTES, recipe), name, seed=seed)
    if cache or "cache" in body["data"]:
        nodes = embeddings(model, training_faces(body, Path(faces), model.size, cache), index, device)
    else:
        nodes = streamed(model, data, index, device)
    made = fit_all(nodes, labels, CELEBA_ATTRIBUTES, recipes, seed=seed)
    state, facts = to_state(made)
    source = content_hash(labels, "\n".join(data.names[i] for i in index))[:16]
    about = {
        "encoder": network.id,
        "faces": len(index),
        "seed": seed,
        "data": list(body["data"]["zips"]),
        "source": source,
    }
    out = out or directions_beside(Path(components), network)
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
    made = run(a.config, a.components, a.faces, a.out, limit=a.limit, seed=a.seed, cache=a.cache, remove=a.remove)
    for name, d in made.items():
        facts = {"attribute": name, "components": list(d.components), "accuracy": round(d.accuracy, 4)}
        print(json.dumps({**facts, "low": round(d.low, 2), "high": round(d.high, 2)}))


if __name__ == "__main__":
    main()
