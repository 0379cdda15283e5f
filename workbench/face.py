"""The boxes of the pipeline: Photo, Detection, CropTransform, AlignedFace, Latent, Face.

    bytes -> Photo -> AlignedFace -> Face -> EditResult -> Photo -> file

Each box is frozen and holds what the next step needs. Pictures are uint8 HWC RGB here; tensors
inside the networks are float BCHW in [-1, 1]. ``to_tensor`` and ``to_uint8`` are the only ways across.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

NO_SPACE = "none"
"""Space of the empty latent of a face that was not projected."""


def to_tensor(image: np.ndarray) -> Tensor:
    """Convert ``image`` (H,W,3) uint8 RGB to (3,H,W) float32 in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float().div(127.5).sub(1)


def to_uint8(image: Tensor) -> np.ndarray:
    """Convert ``image`` (3,H,W) float in [-1, 1] (clamped) to (H,W,3) uint8 RGB, rounding to nearest."""
    scaled = image.detach().float().clamp(-1, 1).add(1).mul(127.5).round()
    return np.ascontiguousarray(scaled.to(torch.uint8).permute(1, 2, 0).cpu().numpy())


def content_hash(*parts: object) -> str:
    """SHA-256 (hex) over arrays, tensors, bytes and texts: the key of every cache."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            part = part.detach().cpu().contiguous().numpy()
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, bytes):
            digest.update(part)
        else:
            digest.update(str(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright RGB photo. ``pixels`` (H,W,3) uint8; ``request`` is the JSON of an edit found in the file, if any."""

    pixels: np.ndarray
    name: str = "photo"
    notes: tuple[str, ...] = ()
    request: str | None = None
    hash: str = field(default="")

    def __post_init__(self) -> None:
        if not self.hash:
            object.__setattr__(self, "hash", content_hash(self.pixels))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True, eq=False)
class Detection:
    """One face: ``box`` XYXY, ``points5`` (5,2), ``points68`` (68,2) or None, all in pixels of the upright photo.

    The five points are the eye on the left of the picture, the eye on the right, nose tip, mouth corner on the
    left, mouth corner on the right. ``score`` is in [0, 1]. ``warnings`` say what may go wrong with this face.
    """

    box: tuple[float, float, float, float]
    points5: np.ndarray
    points68: np.ndarray | None
    score: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class CropTransform:
    """The similarity between a photo and an aligned crop.

    ``quad`` (4,2): corners of the crop in photo pixels, top left, bottom left, bottom right, top right
    (FFHQ's order), where whole numbers are pixel edges. ``size``: side of the crop in pixels.
    """

    quad: np.ndarray
    size: int

    @classmethod
    def whole(cls, size: int) -> CropTransform:
        """That of a picture of ``size`` pixels which is its own crop."""
        return cls(np.array([[0, 0], [0, size], [size, size], [size, 0]], dtype=np.float64), size)

    def matrix(self) -> np.ndarray:
        """(2,3) affine from crop pixel edges (x, y) to photo pixel edges."""
        tl, bl, _, tr = self.quad
        return np.stack([(tr - tl) / self.size, (bl - tl) / self.size, tl], axis=1)


@dataclass(frozen=True, eq=False)
class AlignedFace:
    """A square crop of one face with the way back. ``image`` (S,S,3) uint8."""

    photo: Photo
    image: np.ndarray
    transform: CropTransform
    detection: Detection | None = None

    @property
    def hash(self) -> str:
        return content_hash(self.image)


@dataclass(frozen=True, eq=False)
class Latent:
    """A W+ code (L,512) float32 on the CPU, with the generator it belongs to and the projector it came from."""

    code: Tensor
    generator: str
    projector: str = "unknown"
    space: str = "w+"


@dataclass(frozen=True)
class Readout:
    """Probabilities in [0, 1] of CelebA's 40 attributes, in CelebA's order, and the network that gave them."""

    values: Mapping[str, float]
    judge: str


@dataclass(frozen=True, eq=False)
class Face:
    """A projected face: what every editor starts from.

    ``image`` (3,H,W) float in [-1, 1] is the generator's rendering of ``latent``; ``target`` (3,H,W) is the aligned
    photo at the same size. ``identity`` (cosine) and ``l2`` (mean squared error in [-1, 1]) compare the two.
    """

    aligned: AlignedFace
    latent: Latent
    image: Tensor
    target: Tensor
    identity: float
    l2: float
    mode: str
    seconds: float
    warnings: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        return content_hash(self.latent.code, self.latent.generator, self.aligned.image)


def as_it_is(aligned: AlignedFace) -> Face:
    """``aligned`` as a face without a code, its photo standing for the rendering: for editors that need no latent."""
    target = to_tensor(aligned.image)
    nothing = Latent(torch.zeros(0, 0), "none", "none", NO_SPACE)
    return Face(aligned, nothing, target, target, 1.0, 0.0, "photo", 0.0)
