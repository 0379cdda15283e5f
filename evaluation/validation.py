"""Which faces an evaluation uses, who judges them, and the circumstances that stand beside every number."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from data.datasets import members
from evaluation.circumstances import attributes_of, identity_of
from evaluation.flips import Judges
from evaluation.swap_readers import points_of
from workbench.engine import Engine
from workbench.errors import BadImage, FacetError
from workbench.face import Face
from workbench.images import load_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def options(parser: argparse.ArgumentParser) -> None:
    """The options on faces, judges and the engine."""
    parser.add_argument(
        "--faces", required=True, type=Path, metavar="PLACE", help="aligned faces: a folder or a zip of pictures"
    )
    parser.add_argument("--count", type=int, default=60, metavar="N", help="how many, taken evenly (default: 60)")
    parser.add_argument(
        "--recogniser", type=Path, metavar="FILE", help="another identity network than the family's own"
    )
    parser.add_argument("--family", default="starter", help="family of weights (default: starter)")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    parser.add_argument("--manifest", metavar="FILE", help="another list of weights than data/weights.toml")


def pictures(place: Path, count: int) -> list[tuple[str, bytes]]:
    """``count`` pictures, evenly taken, of a folder or a zip: name and bytes. Raises BadImage when there are none."""
    if place.is_dir():
        found = [(p.name, p.read_bytes()) for p in sorted(place.iterdir()) if p.suffix.lower() in SUFFIXES]
    elif place.is_file():
        found = list(members([place]))
    else:
        raise BadImage(f"There are no faces at '{place}'; name a folder or a zip of aligned faces.")
    if not found:
        raise BadImage(f"'{place}' holds no pictures; name a folder or a zip of aligned faces.")
    index = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int))
    return [found[i] for i in index]


def faces(engine: Engine, chosen: argparse.Namespace) -> tuple[list[Face], list[str]]:
    """The projected faces that ``chosen`` (see ``options``) names, and a sentence for every picture that cannot be used."""
    found: list[Face] = []
    left_out: list[str] = []
    for name, data in pictures(chosen.faces, chosen.count):
        try:
            found.append(engine.project(engine.use_aligned(load_image(data, name)), "encoder"))
        except FacetError as error:
            left_out.append(f"{name}: {error}")
            tell(f"left out: {left_out[-1]}")
    if not found:
        raise BadImage(f"No picture of '{chosen.faces}' can be used; give aligned faces.")
    return found, left_out


def judges(engine: Engine, recogniser: Path | None) -> Judges:
    """The family's judge classifier and the recogniser: the family's own, or one from a file."""
    return Judges(attributes_of(engine), identity_of(engine, recogniser, points_of(engine)))


def facts(
    engine: Engine, chosen: argparse.Namespace, used: Sequence[Face], left_out: Sequence[str], named: Judges
) -> dict[str, Any]:
    """What a reader has to know beside the numbers."""
    return {
        "family": engine.family,
        "generator": engine.generator_id,
        "resolution": engine.size,
        "faces": len(used),
        "from": Path(chosen.faces).name,
        "left_out": list(left_out),
        "judge": named.attributes[0],
        "recogniser": named.identity[0],
        "recogniser_is_the_familys": chosen.recogniser is None,
        "machine": f"{machine()}, {engine.device}",
        "date": date.today().isoformat(),
    }


def machine() -> str:
    """Processor, threads and torch, as they stand beside a number."""
    names = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    model = next(
        (line.partition(":")[2].strip() for line in names if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def tell(sentence: str) -> None:
    """Progress goes to stderr, so that stdout holds the numbers alone."""
    print(sentence, file=sys.stderr, flush=True)


def saved(path: Path, pixels: np.ndarray) -> None:
    """Write a picture (H,W,3) uint8 as PNG, its folder included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")
