"""Labels for the starter face parser, made without any labelled mask; one restartable script for all rounds.

    python -m training.parser_labels --faces faces --runs runs            # landmarks, position and palettes
    python -m training.run configs/starter_parser.toml --minutes 10
    python -m training.parser_labels --faces faces --runs runs --refine   # the parser's own masks, fitted to each picture
    python -m training.run configs/starter_parser.toml --minutes 20

Photos come from the training zips; generated faces are added when the family's generator is there. The second round
takes the trained parser's coarse classes as position prior (self-training); brows, eyes, nose and mouth stay the
landmarks' polygons. The round may be repeated with the better parser. Parts that are done already (by photos, networks
and settings) are not done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data import container
from data.datasets import files_of, load_faces
from encoders.compact_parser import CompactParser
from encoders.landmarks import LandmarkNet
from encoders.parser import FACE_CLASSES
from stylegan2.generator import Generator
from training import face_regions as regions
from training.files import load_network
from workbench.face import to_uint8

PART = 120
WORKING = 64
GROUPS = {
    "background": ("background",),
    "skin": ("skin", "eyebrows", "eyes", "nose", "mouth", "ears"),
    "hair": ("hair",),
    "belowface": ("belowface",),
}


def generated(folder: Path, count: int, first_seed: int) -> tuple[np.ndarray, str]:
    """``count`` random faces (N,S,S,3) uint8 by seeds from ``first_seed`` (truncation 0.8), and the generator's id."""
    path = folder / "generator.safetensors"
    network, header = load_network(Generator, path, "cpu")
    centre = container.load(path)[0]["latent_avg"]
    seeds = range(first_seed, first_seed + count)
    images = []
    with torch.inference_mode():
        for seed in seeds:
            z = torch.randn(1, network.style_dim, generator=torch.Generator().manual_seed(seed))
            codes = network.codes(z, truncation=0.8, center=centre)
            images.append(to_uint8(network.synthesis(codes)[0].clamp(-1, 1)))
    return np.stack(images), header["id"]


def tensor(images: np.ndarray) -> Tensor:
    """(B,S,S,3) uint8 as (B,3,S,S) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def coarse_of(parsing: Tensor) -> Tensor:
    """Probabilities (B,4,h,w) of the coarse classes from a softmax (B,9,h,w)."""
    columns = [parsing[:, [FACE_CLASSES.index(n) for n in GROUPS[name]]].sum(1) for name in regions.COARSE]
    return torch.stack(columns, 1)


def label_part(
    images: np.ndarray, group: np.ndarray, points: LandmarkNet, parser: CompactParser | None
) -> tuple[np.ndarray, np.ndarray]:
    """Class maps (B,S,S) uint8 (255 unsure) and points (B,68,2) of some faces (B,S,S,3)."""
    size = images.shape[1]
    whole = tensor(images)
    found = regions.landmarks(points, whole)
    prior = torch.from_numpy(np.stack([regions.coarse_prior(p, WORKING) for p in found])).float()
    if parser is not None:
        with torch.inference_mode():
            seen = coarse_of(F.interpolate(parser(whole).softmax(1), (WORKING, WORKING), mode="area")).clone()
        # The parser knows hair from background where colours do not; the geometry keeps it from drifting.
        prior = (0.85 * seen + 0.15 * prior).clamp_min(1e-4)
    small = F.interpolate(whole, (WORKING, WORKING), mode="area")
    pixels = np.stack([to_uint8(image) for image in small])
    settings = regions.Palette() if parser is None else regions.Palette(rounds=4, position=1.0, colour=0.8)
    coarse = regions.coarse_posterior(pixels, prior, group, settings)
    grey = whole.mean(1, keepdim=True).add(1).div(2)
    large = F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    large = regions.guided(grey, large, max(1, size // 42), 1e-3).clamp(1e-4, 1)
    large = (large / large.sum(1, keepdim=True)).numpy()
    return np.stack([regions.assemble(c, p) for c, p in zip(large, found, strict=True)]), found


def main(argv: Sequence[str] | None = None) -> None:
    """Write parser-labels.npz into the cache folder of the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder with the training zips and labels")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--family", type=Path, default=Path("data/starter"), help="landmark network and generator")
    parser.add_argument("--count", type=int, default=1320, help="photos to label")
    parser.add_argument("--generated", type=int, default=120, help="generated faces to label")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--refine", action="store_true", help="second round, with the trained parser")
    a = parser.parse_args(argv)
    points, _ = load_network(LandmarkNet, a.family / "landmarks.safetensors", "cpu")
    network, name = None, "landmarks and palettes"
    if a.refine:
        network, header = load_network(CompactParser, a.runs / "starter_parser" / "parser.safetensors", "cpu")
        name = f"parser {header['id']}"
    photos = load_faces(*files_of(a.faces, "train"), a.size, a.runs / "cache")
    index = np.linspace(0, len(photos) - 1, a.count).astype(int)
    images, group = photos.images[index], regions.hair_group(photos.labels[index])
    generator = "none"
    if a.generated:
        made, generator = generated(a.family, a.generated, 100_000)
        if made.shape[1] != a.size:
            small = F.interpolate(tensor(made), (a.size, a.size), mode="area")
            made = np.stack([to_uint8(image) for image in small])
        images = np.concatenate([images, made])
        group = np.concatenate([group, np.full(len(made), -1)])
    folder = a.runs / "cache" / "parser-parts"
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"labels": name, "generator": generator, "count": a.count, "generated": a.generated, "size": a.size}
    key = json.dumps(plan, sort_keys=True)
    labels, found = [], []
    for at in range(0, len(images), PART):
        stored = folder / f"{at:06d}.npz"
        if stored.is_file():
            with np.load(stored) as part:
                if str(part["plan"]) == key:
                    labels.append(part["labels"])
                    found.append(part["points"])
                    continue
        part_labels, part_points = label_part(images[at : at + PART], group[at : at + PART], points, network)
        np.savez(stored, labels=part_labels, points=part_points, plan=key)
        labels.append(part_labels)
        found.append(part_points)
        print(f"{at + len(part_labels)} of {len(images)}", flush=True)
    target = a.runs / "cache" / "parser-labels.npz"
    np.savez(target, images=images, labels=np.concatenate(labels), points=np.concatenate(found), plan=key)
    print(f"{target}: {len(images)} faces by {name}")


if __name__ == "__main__":
    main()
