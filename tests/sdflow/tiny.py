"""A tiny random SDFlow family and a face of its generator, for tests."""

from __future__ import annotations

import numpy as np
import torch

from sdflow.editor import SDFlowEditor
from sdflow.estimator import SemanticEstimator
from sdflow.model import ConditionalFlow
from stylegan2.generator import Generator
from workbench.face import AlignedFace, CropTransform, Face, Latent, Photo, to_tensor, to_uint8

SIZE, WIDTH = 16, 16
ATTRIBUTES = ("Eyeglasses", "Male", "Smiling")
WEIGHTS = ("generator-a", "estimator-a", "flow-a")


def generator() -> Generator:
    torch.manual_seed(1)
    return Generator(SIZE, WIDTH, 2, channels={4: 8, 8: 8, 16: 8}).eval().requires_grad_(False)


def estimator() -> SemanticEstimator:
    torch.manual_seed(2)
    return SemanticEstimator(len(ATTRIBUTES), depth=18, width=8, input_size=32).eval()


def flow() -> ConditionalFlow:
    torch.manual_seed(3)
    made = ConditionalFlow(len(ATTRIBUTES), width=WIDTH, hidden=(16,)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def editor() -> SDFlowEditor:
    return SDFlowEditor(generator(), estimator(), flow(), ATTRIBUTES, WEIGHTS)


@torch.no_grad()
def face(seed: int = 0, generator_id: str = WEIGHTS[0]) -> Face:
    """A generated face that stands for a projected photo."""
    made = generator()
    code = torch.randn(made.n_latent, WIDTH, generator=torch.Generator().manual_seed(seed))
    image = made.synthesis(code[None])
    assert isinstance(image, torch.Tensor)
    image = image[0].clamp(-1, 1)
    pixels = to_uint8(image)
    quad = np.array([[0, 0], [0, SIZE], [SIZE, SIZE], [SIZE, 0]], dtype=np.float64)
    aligned = AlignedFace(Photo(pixels), pixels, CropTransform(quad, SIZE))
    return Face(aligned, Latent(code, generator_id), image, to_tensor(pixels), 1.0, 0.0, "encoder", 0.0)
