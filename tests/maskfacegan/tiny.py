"""Tiny random networks for masked editing and a face of their generator."""

from __future__ import annotations

import numpy as np
import torch

from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.compact import AttributeNet
from encoders.compact_parser import CompactParser
from maskfacegan.editor import MaskFaceGANEditor
from maskfacegan.moves import principal_axes
from maskfacegan.networks import AttributeFeatures, Networks
from stylegan2.generator import Generator
from workbench.editor import EditRequest
from workbench.face import AlignedFace, CropTransform, Face, Latent, Photo, to_tensor, to_uint8

SIZE, WIDTH = 16, 16
WEIGHTS = ("generator-a", "parser-a", "attributes-a")
PREVIEW, FAST, PAPER = 0.0, 1.0, 2.0


def generator() -> Generator:
    torch.manual_seed(1)
    return Generator(SIZE, WIDTH, 2, channels={4: 8, 8: 8, 16: 8}).eval().requires_grad_(False)


def guide() -> AttributeNet:
    torch.manual_seed(2)
    made = AttributeNet((4, 8), input_size=16).eval().requires_grad_(False)
    with torch.no_grad():
        # Untrained heads say one half of everything; this one has opinions that the picture can change.
        made.head[3].weight.mul_(20)
    return made


def parser() -> CompactParser:
    """A random network whose classes come in patches: it sees the picture and where in it a pixel lies."""
    torch.manual_seed(3)
    made = CompactParser((4, 8), (8,), input_size=SIZE).eval().requires_grad_(False)
    with torch.no_grad():
        made.place.normal_(0, 3)
        convolution = made.head[0]
        convolution.weight.mul_(6)
    return made


def networks() -> Networks:
    guiding = guide()
    mean = torch.zeros(generator().n_latent, WIDTH)
    axes = principal_axes(generator().map, WIDTH)
    return Networks(generator(), parser(), guiding, AttributeFeatures(guiding), mean, axes)


def editor() -> MaskFaceGANEditor:
    return MaskFaceGANEditor(networks(), WEIGHTS)


@torch.no_grad()
def face(seed: int = 0, generator_id: str = WEIGHTS[0]) -> Face:
    """A generated face that stands for a projected photo; the photo differs from its projection."""
    made = generator()
    code = torch.randn(made.n_latent, WIDTH, generator=torch.Generator().manual_seed(seed))
    image = made.synthesis(code[None])[0].clamp(-1, 1)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed + 100))
    pixels = to_uint8((0.8 * image + 0.1 * noise).clamp(-1, 1))
    quad = np.array([[0, 0], [0, SIZE], [SIZE, SIZE], [SIZE, 0]], dtype=np.float64)
    aligned = AlignedFace(Photo(pixels), pixels, CropTransform(quad, SIZE))
    return Face(aligned, Latent(code, generator_id), image, to_tensor(pixels), 1.0, 0.0, "encoder", 0.0)


def ask(preset: float = PREVIEW, **values: float) -> EditRequest:
    return EditRequest("maskfacegan", "1", {"preset": preset, **values})


def column(attribute: str) -> int:
    return CELEBA_ATTRIBUTES.index(attribute)
