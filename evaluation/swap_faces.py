"""Pairs of faces to swap, drawn with a seed: from aligned photos, or from the generator."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workbench.devices import lock
from workbench.engine import Engine
from workbench.errors import BadImage, FacetError
from workbench.face import AlignedFace, Face, to_tensor, to_uint8
from workbench.images import load_image

SUFFIXES = (".webp", ".png", ".jpg", ".jpeg")
TRUNCATION = 0.7
GENERATED = 1 << 41
"""First seed of the generated faces: far from those that trainings count through."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pair i is ``identities[i]`` on ``attributes[i]``; ``kind`` names the source and ``left_out`` what was not usable.

    ``others`` (M,3,S,S) is what a set of swaps is compared with: more pictures of the same kind, in none of the pairs, or
    all there are where those would be fewer than the pairs.
    """

    kind: str
    identities: tuple[AlignedFace | Face, ...]
    attributes: tuple[AlignedFace | Face, ...]
    others: Tensor
    left_out: tuple[str, ...] = ()


def aligned(face: AlignedFace | Face) -> AlignedFace:
    """The crop of either form."""
    return face.aligned if isinstance(face, Face) else face


@dataclass(frozen=True)
class Pictures:
    """Files of aligned faces, in a folder or in zips, opened one by one."""

    names: tuple[str, ...]
    read: Callable[[str], bytes]


def pictures(place: Path) -> Pictures:
    """The pictures of ``place``: a zip, a folder of pictures, or a folder whose validation zip ("val" in its name) is taken.

    Raises BadImage when there are none.
    """
    if place.is_dir():
        files = sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if files:
            table = {p.name: p for p in files}
            return Pictures(tuple(table), lambda name: table[name].read_bytes())
        zips = sorted(p for p in place.glob("*.zip") if "val" in p.stem.split("-"))
        if not zips:
            raise BadImage(f"The folder '{place}' holds neither pictures nor a zip of validation faces; name another.")
    elif zipfile.is_zipfile(place):
        zips = [place]
    else:
        raise BadImage(f"'{place}' is neither a folder nor a zip of aligned faces; name one.")
    try:
        archives = [zipfile.ZipFile(path) for path in zips]
        found = {n: a for a in archives for n in a.namelist() if n.lower().endswith(SUFFIXES)}
    except (zipfile.BadZipFile, OSError) as error:
        raise BadImage(f"The data set '{place}' cannot be read ({error}).") from error
    if not found:
        raise BadImage(f"'{place}' holds no pictures; name another.")
    return Pictures(tuple(sorted(found)), lambda name: found[name].read(name))


def photo_pairs(engine: Engine, place: Path, count: int, seed: int, others: int) -> Pairs:
    """``count`` pairs of aligned photos; no photo is in two pairs unless there are fewer than twice ``count``."""
    files = pictures(place)
    order = np.random.default_rng(seed).permutation(len(files.names))
    bad: list[str] = []

    def usable() -> Iterator[AlignedFace]:
        for at in order:
            name = files.names[at]
            try:
                yield engine.use_aligned(load_image(files.read(name), Path(name).name))
            except (FacetError, OSError, zipfile.BadZipFile) as error:
                bad.append(f"{name}: {error}")

    faces = usable()
    chosen = list(islice(faces, 2 * count))
    if len(chosen) < 2:
        raise BadImage(f"'{place}' holds {len(chosen)} usable pictures; a pair needs two.")
    half = min(count, len(chosen))
    # With few photos each gives its identity once and its attributes once, to different partners.
    step = count if len(chosen) == 2 * count else max(half // 2, 1)
    identities = tuple(chosen[:half])
    attributes = tuple(chosen[(i + step) % len(chosen)] for i in range(half))
    rest = list(islice(faces, others))
    rest = rest if len(rest) >= half else [*chosen, *rest]
    return Pairs("photos", identities, attributes, torch.stack([to_tensor(f.image) for f in rest]), tuple(bad))


def generated_pairs(engine: Engine, count: int, seed: int, others: int) -> Pairs:
    """``count`` pairs of generated faces of truncation 0.7."""
    first = GENERATED + seed * 1_000_000
    faces = [engine.random_face(first + i, TRUNCATION) for i in range(2 * count)]
    return Pairs("generated", tuple(faces[:count]), tuple(faces[count:]), drawn(engine, others, first + 2 * count))


def drawn(engine: Engine, count: int, first: int, batch: int = 16) -> Tensor:
    """Pictures (N,3,S,S) of the generator, as the 8 bits that a file would hold; seeds ``first`` and up."""
    generator, mean = engine.store.generator(), engine.store.latent_avg()
    parts = []
    for at in range(0, count, batch):
        seeds = range(first + at, first + min(at + batch, count))
        rows = [torch.randn(1, generator.style_dim, generator=torch.Generator().manual_seed(s)) for s in seeds]
        with lock(engine.device), torch.no_grad():
            w = generator.map(torch.cat(rows).to(engine.device))[:, None]
            images = generator.synthesis(mean + TRUNCATION * (w - mean)).float().clamp(-1, 1).cpu()
        parts += [to_tensor(to_uint8(image)) for image in images]
    return torch.stack(parts) if parts else torch.zeros(0, 3, generator.size, generator.size)
