"""A tiny random component auto-encoder, directions and faces, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from data import container
from iafaces.directions import Direction, to_state
from iafaces.editor import ComponentsEditor
from iafaces.model import ComponentAutoencoder
from workbench.face import AlignedFace, CropTransform, Face, Latent, Photo, to_tensor, to_uint8

SIZE, DIM = 32, 8
ARCH = {
    "size": SIZE,
    "encoder": {"widths": [4, 8], "content": 16, "dim": DIM, "crop": 16, "readers": [4, 8]},
    "decoder": {"widths": [8, 8, 8], "content": 16, "dim": DIM, "seed": 8},
}
WEIGHTS = ("components-a", "directions-a")


def model() -> ComponentAutoencoder:
    torch.manual_seed(4)
    made = ComponentAutoencoder(**ARCH).eval().requires_grad_(False)
    for name, parameter in made.named_parameters():
        if "picture" in name or "heads" in name:
            parameter.normal_()
    return made


def direction(name: str, label: str, components: tuple[str, ...], rows: list[int]) -> Direction:
    normal = torch.zeros(4, DIM)
    normal[rows] = torch.randn(len(rows), DIM, generator=torch.Generator().manual_seed(len(name)))
    normal = normal / normal.norm()
    return Direction(name, label, components, normal, normal.clone(), 0.1, 0.2, 1.0, -3.0, 3.0, 0.9)


def directions() -> dict[str, Direction]:
    return {
        "mouth_open": direction("mouth_open", "Mouth_Slightly_Open", ("mouth",), [3]),
        "bushy": direction("bushy", "Bushy_Eyebrows", ("l_eye", "r_eye"), [0, 1]),
    }


def editor() -> ComponentsEditor:
    return ComponentsEditor(model(), directions(), WEIGHTS)


def picture(seed: int) -> torch.Tensor:
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    return torch.nn.functional.interpolate(coarse, (SIZE, SIZE), mode="bilinear")[0]


def face(seed: int = 0, generator_id: str = "generator-a") -> Face:
    """A smooth random picture that stands for an aligned photo, with another one as its projection."""
    pixels = to_uint8(picture(seed))
    quad = np.array([[0, 0], [0, SIZE], [SIZE, SIZE], [SIZE, 0]], dtype=np.float64)
    aligned = AlignedFace(Photo(pixels), pixels, CropTransform(quad, SIZE))
    code = torch.randn(6, 16, generator=torch.Generator().manual_seed(seed))
    return Face(aligned, Latent(code, generator_id), picture(100 + seed), to_tensor(pixels), 1.0, 0.0, "encoder", 0.0)


def add_to_family(manifest: Path) -> Path:
    """Add the tiny network and its directions to the family of ``tests.tiny_family`` whose ``manifest`` this is."""
    folder = manifest.parent / "tiny"
    header = {"kind": "components", "arch": ARCH, "licence": "none"}
    made = container.save(folder / "components.safetensors", model().state_dict(), header)
    state, facts = to_state(directions())
    container.save(folder / "directions.safetensors", state, {**facts, "encoder": made}, half=False)
    text = manifest.read_text()
    for kind in ("components", "directions"):
        text += f'\n[starter.files.{kind}]\nfile = "{kind}.safetensors"\nsize = 0\nsha256 = ""\n'
    manifest.write_text(text)
    return manifest
