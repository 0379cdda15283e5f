"""Where a swapping run's pictures come from: drawn on the fly, a stored generated set, photos, or a mixture of these."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from data.datasets import FaceSet, keep
from data.swap_sets import FolderSet, ShardSet
from encoders.compact import resized
from stylegan2.generator import Generator
from training.make_dataset import codes_of, draw_z
from workbench.errors import BadImage
from workbench.face import to_tensor, to_uint8

HELD_OUT = 1 << 40
"""Generated faces of the sample sheet have seeds from here on: no run trains on them."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """Pictures (B,3,S,S) in [-1,1] with their codes (B,L,D)."""

    image: Tensor
    codes: Tensor


class Source(Protocol):
    """Gives faces for rows that a shared generator of random numbers has drawn."""

    def draw(self, rng: np.random.Generator, count: int, part: slice) -> Drawn:
        """``part`` of ``count`` faces; what is drawn from ``rng`` does not depend on ``part``."""
        ...


class Fly:
    """New faces at every step: z, truncated w, picture."""

    def __init__(
        self, generator: Generator, center: Tensor, psi: float, rows: int | None, device: str, seed: int = 0
    ) -> None:
        self.generator, self.center, self.psi, self.rows = generator, center, psi, rows
        self.device, self.seed = device, seed

    @torch.no_grad()
    def made(self, numbers: np.ndarray) -> Drawn:
        """Faces of these numbers."""
        z = torch.stack([draw_z(self.seed, int(n), self.generator.style_dim) for n in numbers]).to(self.device)
        codes = codes_of(self.generator, z, self.center, self.psi, self.rows)
        return Drawn(self.generator.synthesis(codes), codes.contiguous())

    def draw(self, rng: np.random.Generator, count: int, part: slice) -> Drawn:
        return self.made(rng.integers(0, HELD_OUT, count)[part])


class Kept:
    """The first ``count`` numbers of a Fly, made once and kept in ``stored`` as uint8 pictures; codes are made again."""

    def __init__(self, fly: Fly, count: int, stored: Path) -> None:
        self.fly, self.count = fly, count
        names = stored.with_suffix(".npy")
        if not names.is_file():
            side = fly.generator.size
            images = np.empty((count, side, side, 3), np.uint8)
            for at in range(0, count, 16):
                numbers = np.arange(at, min(at + 16, count))
                images[numbers] = np.stack([to_uint8(image) for image in fly.made(numbers).image])
            keep(names, images)
        self.images = np.load(names, mmap_mode="r")

    @torch.no_grad()
    def draw(self, rng: np.random.Generator, count: int, part: slice) -> Drawn:
        numbers = rng.integers(0, self.count, count)[part]
        fly = self.fly
        z = torch.stack([draw_z(fly.seed, int(n), fly.generator.style_dim) for n in numbers]).to(fly.device)
        codes = codes_of(fly.generator, z, fly.center, fly.psi, fly.rows)
        return Drawn(_pictures(self.images[numbers], fly.device), codes.contiguous())


class Stored:
    """A generated set on disk, in any of the layouts; its w is broadcast to all rows."""

    def __init__(self, faces: FolderSet | ShardSet, generator: Generator, device: str) -> None:
        self.faces, self.generator, self.device = faces, generator, device
        found = faces.image(0).shape[0]
        if found != generator.size or faces.w(0).shape != (generator.style_dim,):
            raise BadImage(
                f"'{faces.root}' holds faces of {found} px with w of {faces.w(0).size} numbers, and the generator has "
                f"{generator.size} px and {generator.style_dim}; make a set with this generator."
            )

    def draw(self, rng: np.random.Generator, count: int, part: slice) -> Drawn:
        numbers = rng.integers(0, len(self.faces), count)[part]
        images = torch.stack([to_tensor(self.faces.image(int(n))) for n in numbers]).to(self.device)
        w = torch.from_numpy(np.stack([self.faces.w(int(n)) for n in numbers])).to(self.device)
        return Drawn(images, w[:, None].expand(-1, self.generator.n_latent, -1))


class Photos:
    """Aligned photos with the projector's codes (N or 2N,L,D); mirrored at random where there are codes of the mirror images."""

    def __init__(self, faces: FaceSet, codes: np.ndarray, size: int, device: str) -> None:
        self.faces, self.codes, self.size, self.device = faces, codes, size, device
        self.mirrored = len(codes) == 2 * len(faces)

    def draw(self, rng: np.random.Generator, count: int, part: slice) -> Drawn:
        numbers = rng.integers(0, len(self.faces), count)[part]
        flip = (rng.random(count) < 0.5)[part] & self.mirrored
        return self.at(numbers, flip)

    def at(self, numbers: np.ndarray, flip: np.ndarray | None = None) -> Drawn:
        """These photos."""
        rows = numbers if flip is None else numbers + flip * len(self.faces)
        image = resized(self.faces.batch(numbers, flip, self.device), self.size)
        return Drawn(image, torch.from_numpy(self.codes[rows].astype(np.float32)).to(self.device))


class Mixture:
    """``share`` of every batch from ``first`` (rounded), the rest from ``second``; rows are spread so that ranks see both."""

    def __init__(self, first: Source, second: Source, share: float) -> None:
        self.first, self.second, self.share = first, second, share

    def draw(self, rng: np.random.Generator, count: int, part: slice) -> Drawn:
        of_first = round(count * self.share)
        order = rng.permutation(count)
        a = self.first.draw(rng, of_first, slice(None)) if of_first else None
        b = self.second.draw(rng, count - of_first, slice(None)) if of_first < count else None
        both = [x for x in (a, b) if x is not None]
        images, codes = torch.cat([x.image for x in both]), torch.cat([x.codes for x in both])
        rows = torch.from_numpy(order[part]).to(images.device)
        return Drawn(images[rows], codes[rows])


def _pictures(pixels: np.ndarray, device: str) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)
    return tensor.contiguous(memory_format=torch.channels_last).float().div_(127.5).sub_(1)
