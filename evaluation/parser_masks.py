"""Measure a face parser against masks corrected by hand on generated faces.

    python -m evaluation.parser_masks sheet --parser PARSER.safetensors --seeds 0 1 2 --out sheet.png
    python -m evaluation.parser_masks measure --parser PARSER.safetensors --masks data/parser-masks.json [--seeds 24 25]

The file of corrections holds the generator's id, the draft's parser id, the truncation, and for each seed that was looked at
a list of {"class": name, "polygon": [[x, y], ...]} in [0, 1], painted in order over the draft, which is the mask of the parser that was
corrected. A seed with an empty list was looked at and found right. Drafts and pictures (a WebP, one below the other) are stored beside
it (.npz), because later parsers and generators must be measured on the same.
"""

from __future__ import annotations

import argparse
import io
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
from workbench.errors import BadRequest
from workbench.face import to_tensor, to_uint8

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


def packed(shown: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures (S,S,3) uint8 as the bytes of one WebP."""
    data = io.BytesIO()
    Image.fromarray(np.concatenate(list(shown))).save(data, "WEBP", quality=95, method=6)
    return np.frombuffer(data.getvalue(), np.uint8)


def pictures(path: Path) -> dict[int, np.ndarray]:
    """The picture (S,S,3) uint8 of each seed in the corrections ``path``. Raises BadRequest where there is not one for each."""
    try:
        with np.load(path.with_suffix(".npz")) as stored:
            seeds = stored["seeds"].tolist()
            column = np.array(Image.open(io.BytesIO(stored["pictures"].tobytes())).convert("RGB"))
    except (OSError, KeyError, ValueError) as error:
        raise BadRequest(f"The drafts and pictures beside '{path}' cannot be read ({error}).") from error
    if len(column) != len(seeds) * column.shape[1]:
        raise BadRequest(f"The pictures beside '{path}' are not {len(seeds)} squares; draw them anew.")
    return dict(zip(seeds, np.split(column, len(seeds)), strict=True))


def read(path: Path) -> tuple[dict[str, Any], dict[int, np.ndarray]]:
    """The corrections of ``path`` without the faces, and the corrected mask (s,s) uint8 of each seed.

    Raises BadRequest where the file and its drafts do not hold the same seeds, a draft holds another class than
    FACE_CLASSES, or a polygon is none: fewer than three points, or points outside [0, 1].
    """
    head = json.loads(path.read_text())
    faces = {int(seed): strokes for seed, strokes in head.pop("faces").items()}
    with np.load(path.with_suffix(".npz")) as stored:
        drafts = dict(zip(stored["seeds"].tolist(), stored["maps"], strict=True))
    if odd := sorted(set(faces) ^ set(drafts)):
        raise BadRequest(f"'{path}' and the drafts beside it differ in the seeds {odd}; each face needs one of both.")
    for seed, strokes in faces.items():
        if drafts[seed].max() >= len(FACE_CLASSES):
            raise BadRequest(f"The draft of seed {seed} beside '{path}' holds a class that is none; draw it anew.")
        for stroke in strokes:
            points = np.asarray(stroke["polygon"], np.float64)
            if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or points.min() < 0 or points.max() > 1:
                raise BadRequest(f"A polygon of seed {seed} in '{path}' is none: it needs 3 or more points in [0, 1].")
    return head, {seed: corrected(drafts[seed], strokes) for seed, strokes in faces.items()}


def measure(parser: torch.nn.Module, path: Path, seeds: Sequence[int] | None = None) -> dict[str, Any]:
    """Overlap per class of ``parser`` with the corrected masks of ``path``, those of ``seeds`` only where given.

    Raises BadRequest for a seed that was not looked at and as ``read`` does.
    """
    _, masks = read(path)
    wanted = list(masks) if seeds is None else list(seeds)
    if unknown := sorted(set(wanted) - set(masks)):
        raise BadRequest(f"'{path}' holds no mask of the seeds {unknown}; it has {min(masks)} to {max(masks)}.")
    truth, shown = [masks[seed] for seed in wanted], pictures(path)
    found = overlap([parsed(parser, to_tensor(shown[seed])[None]) for seed in wanted], truth)
    known = [value for value in found.values() if value is not None]
    return {"faces": len(truth), "overlap": found, "mean": round(float(np.mean(known)), 4)}


def main(argv: Sequence[str] | None = None) -> None:
    """Draw a sheet (and keep its drafts), or measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("action", choices=("sheet", "measure"))
    options.add_argument("--parser", type=Path, required=True)
    options.add_argument("--generator", type=Path, default=Path("data/starter/generator.safetensors"))
    options.add_argument("--seeds", type=int, nargs="+", help="0 to 5, or all that are measured")
    options.add_argument("--masks", type=Path)
    options.add_argument("--out", type=Path)
    a = options.parse_args(argv)
    if a.action == "sheet" and a.masks and a.masks.exists():
        raise BadRequest(f"'{a.masks}' is there already and may hold corrections; name another file.")
    parser, header = load_network(CompactParser, a.parser, "cpu")
    if a.action == "measure":
        print(json.dumps(measure(parser, a.masks, a.seeds)))
        return
    generator, made = load_network(Generator, a.generator, "cpu")
    centre = container.load(a.generator)[0]["latent_avg"]
    seeds = list(range(6)) if a.seeds is None else a.seeds
    shown = [to_uint8(rendered(generator, centre, seed, TRUNCATION)[0]) for seed in seeds]
    maps = [parsed(parser, to_tensor(picture)[None]) for picture in shown]
    Image.fromarray(sheet(shown, maps)).save(a.out)
    if a.masks:
        np.savez_compressed(
            a.masks.with_suffix(".npz"), seeds=np.array(seeds), maps=np.stack(maps), pictures=packed(shown)
        )
        head = {"generator": made["id"], "parser": header["id"], "truncation": TRUNCATION}
        a.masks.write_text(json.dumps({**head, "faces": {str(seed): [] for seed in seeds}}, indent=1))


if __name__ == "__main__":
    main()
