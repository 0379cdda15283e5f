"""Measure a face parser against masks corrected by hand on generated faces.

    python -m evaluation.parser_masks sheet --parser PARSER.safetensors --seeds 0 1 2 --out sheet.png
    python -m evaluation.parser_masks measure --parser PARSER.safetensors --masks data/parser-masks.json

The file of corrections holds the generator's id, the draft's parser id, the truncation, and for each seed that was looked at
a list of {"class": name, "polygon": [[x, y], ...]} in [0, 1], painted in order over the draft, which is the mask of the parser that was
corrected. A seed with an empty list was looked at and found right. The draft is stored as a file beside it, because a
later parser must be measured against the same masks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from data import container
from encoders.compact_parser import CompactParser
from encoders.parser import FACE_CLASSES
from stylegan2.generator import Generator
from training.face_regions import filled
from training.files import load_network
from training.parser import painted
from workbench.errors import BadRequest, WrongSpace
from workbench.face import to_uint8

TRUNCATION = 0.8


@torch.inference_mode()
def rendered(generator: Generator, centre: torch.Tensor, seed: int, truncation: float) -> torch.Tensor:
    """The generated face (1,3,S,S) of ``seed``."""
    z = torch.randn(1, generator.style_dim, generator=torch.Generator().manual_seed(seed))
    return generator.synthesis(generator.codes(z, truncation=truncation, center=centre)).clamp(-1, 1)


@torch.inference_mode()
def parsed(parser: torch.nn.Module, image: torch.Tensor) -> np.ndarray:
    """Class map (s,s) uint8 of ``image`` (1,3,S,S)."""
    return parser(image)[0].argmax(0).to(torch.uint8).numpy()


def corrected(draft: np.ndarray, strokes: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """``draft`` (s,s) with the polygons of ``strokes`` painted over it. Raises BadRequest for a class that is none."""
    out = draft.copy()
    for stroke in strokes:
        if stroke["class"] not in FACE_CLASSES:
            raise BadRequest(f"'{stroke['class']}' is no class of a face; there are: {', '.join(FACE_CLASSES)}.")
        out[filled(len(out), np.asarray(stroke["polygon"], np.float64))] = FACE_CLASSES.index(stroke["class"])
    return out


def overlap(guess: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> dict[str, float | None]:
    """Intersection over union of each class over all maps; None where neither has it."""
    a, b = np.stack(guess), np.stack(truth)
    found: dict[str, float | None] = {}
    for place, name in enumerate(FACE_CLASSES):
        either = int(((a == place) | (b == place)).sum())
        found[name] = None if not either else round(float(((a == place) & (b == place)).sum() / either), 4)
    return found


def sheet(images: Sequence[np.ndarray], maps: Sequence[np.ndarray], side: int = 320) -> np.ndarray:
    """Pictures beside their painted maps, with a grid of tenths to read coordinates from."""
    tiles = []
    for image, labels in zip(images, maps, strict=True):
        large = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        both = [large, painted(large, cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST))]
        for tile in both:
            for tenth in range(1, 10):
                at = round(tenth * side / 10)
                tile[at, ::4], tile[::4, at] = 255, 255
        tiles.append(np.concatenate(both, 1))
    rows = [np.concatenate(tiles[at : at + 2], 1) for at in range(0, len(tiles) - len(tiles) % 2, 2)]
    return np.concatenate(rows or tiles, 0)


def measure(
    parser: torch.nn.Module, generator: Generator, centre: torch.Tensor, ident: str, path: Path
) -> dict[str, Any]:
    """Overlap per class of ``parser`` with the corrected masks of ``path``. Raises WrongSpace for another generator's."""
    body = json.loads(path.read_text())
    if body["generator"] != ident:
        raise WrongSpace(f"'{path}' was drawn for the generator {body['generator']}, not for {ident}; draw it anew.")
    with np.load(path.with_suffix(".npz")) as stored:
        drafts = dict(zip(stored["seeds"].tolist(), stored["maps"], strict=True))
    guess, truth = [], []
    for seed, strokes in body["faces"].items():
        truth.append(corrected(drafts[int(seed)], strokes))
        guess.append(parsed(parser, rendered(generator, centre, int(seed), body["truncation"])))
    found = overlap(guess, truth)
    known = [value for value in found.values() if value is not None]
    return {"faces": len(truth), "overlap": found, "mean": round(float(np.mean(known)), 4)}


def main(argv: Sequence[str] | None = None) -> None:
    """Draw a sheet (and keep its drafts), or measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("action", choices=("sheet", "measure"))
    options.add_argument("--parser", type=Path, required=True)
    options.add_argument("--generator", type=Path, default=Path("data/starter/generator.safetensors"))
    options.add_argument("--seeds", type=int, nargs="+", default=list(range(6)))
    options.add_argument("--masks", type=Path)
    options.add_argument("--out", type=Path)
    a = options.parse_args(argv)
    parser, header = load_network(CompactParser, a.parser, "cpu")
    generator, made = load_network(Generator, a.generator, "cpu")
    centre = container.load(a.generator)[0]["latent_avg"]
    if a.action == "measure":
        print(json.dumps(measure(parser, generator, centre, made["id"], a.masks)))
        return
    images = [rendered(generator, centre, seed, TRUNCATION) for seed in a.seeds]
    maps = [parsed(parser, image) for image in images]
    Image.fromarray(sheet([to_uint8(image[0]) for image in images], maps)).save(a.out)
    if a.masks:
        np.savez_compressed(a.masks.with_suffix(".npz"), seeds=np.array(a.seeds), maps=np.stack(maps))
        head = {"generator": made["id"], "parser": header["id"], "truncation": TRUNCATION}
        a.masks.write_text(json.dumps({**head, "faces": {str(seed): [] for seed in a.seeds}}, indent=1))


if __name__ == "__main__":
    main()
