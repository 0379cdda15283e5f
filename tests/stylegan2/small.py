"""Small random networks for the tests of ``stylegan2``."""

from __future__ import annotations

import torch

from stylegan2.discriminator import Discriminator
from stylegan2.generator import Generator

CHANNELS = {4: 12, 8: 10, 16: 8, 32: 6}


def generator(size: int = 32, channels: dict[int, int] = CHANNELS) -> Generator:
    """All parameters random, so that noise, biases and styles leave their mark; style width 16, two mapping layers."""
    draw = torch.Generator().manual_seed(3)
    made = Generator(size, 16, 2, channels=channels)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name.endswith(("bias", "noise.weight")):
                value += 0.3 * torch.randn(value.shape, generator=draw)
            else:
                value.copy_(torch.randn(value.shape, generator=draw))
    for index in range(made.num_layers):
        noise = made.noises.get_buffer(f"noise_{index}")
        noise.copy_(torch.randn(noise.shape, generator=draw))
    return made.eval().requires_grad_(False)


def discriminator(size: int = 32, channels: dict[int, int] = CHANNELS) -> Discriminator:
    """Random weights and biases from a fixed seed."""
    draw = torch.Generator().manual_seed(4)
    made = Discriminator(size, channels=channels)
    with torch.no_grad():
        for value in made.parameters():
            value.copy_(torch.randn(value.shape, generator=draw))
    return made


def codes(made: Generator, batch: int = 2, seed: int = 5) -> torch.Tensor:
    """W+ codes (batch,n_latent,style_dim)."""
    return torch.randn(batch, made.n_latent, made.style_dim, generator=torch.Generator().manual_seed(seed))


def apart(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float(((ours - theirs).abs().max() / theirs.abs().max()).detach())
