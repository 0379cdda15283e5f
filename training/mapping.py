"""Give an autoencoder's W a mapping network, in closed form.

    python -m training.mapping --run runs/autoencoder --out runs/mapping --faces faces

The base codes of the training faces are close to one Gaussian (a rectified flow trained on them found nothing beyond it: its loss
stayed at pi / 2 per entry, that of two Gaussians), so z ~ N(0, I) is carried onto them by a linear map. StyleGAN2's mapping
network is eight leaky ReLU layers; they act linearly where everything is positive. W is therefore moved by a constant so that
codes lie four standard deviations above zero (or where an earlier generator has them, so that networks trained on its codes
can go on: ``--like``), the first layer holds the map and the others pass it on. The generator's
style biases and the projector's bias take the move back, so no picture changes. So do the rows' mean deltas, which a random face,
whose rows are alike, would lack.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from data import container
from data.datasets import files_of, keep, load_faces
from encoders.compact import CompactE4E
from stylegan2.generator import Generator
from stylegan2.layers import EqualLinear, ModulatedConv2d
from training.codes import all_codes, code_file
from workbench.errors import BadCheckpoint
from workbench.face import to_uint8

LIFT = 4.0
"""How many standard deviations above zero the mean of every entry of w is put."""
LEAST = 3.0
"""Below this the mapping network's leaky ReLU would bend too many codes."""


def gaussian(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (D,) and a factor (D,D) with factor^T factor = covariance of ``codes`` (N,D)."""
    mean = codes.mean(0)
    values, axes = torch.linalg.eigh((codes - mean).double().t() @ (codes - mean).double() / len(codes))
    return mean, (axes * values.clamp(min=0).sqrt()).t().float()


@torch.no_grad()
def set_mapping(mapping: nn.Sequential, factor: Tensor, lift: Tensor) -> None:
    """Make ``mapping`` carry z to z @ factor + lift, exact while the result is positive."""
    layers = [layer for layer in mapping if isinstance(layer, EqualLinear)]
    for number, layer in enumerate(layers):
        # A layer gives sqrt(2) lrelu(x W + b); its stored weight and bias act multiplied by scale and lr_mul.
        weight = factor.t() if number == 0 else torch.eye(len(lift))
        layer.weight.copy_(weight / math.sqrt(2) / layer.scale)
        layer.bias.copy_(lift / math.sqrt(2) / layer.lr_mul if number == 0 else torch.zeros_like(lift))


def rows_of(generator: Generator) -> list[tuple[int, ModulatedConv2d]]:
    """Every modulated convolution with the row of a W+ code that it reads."""
    layers: list[tuple[int, torch.nn.Module]] = [(0, generator.conv1), (1, generator.to_rgb1)]
    layers += [(index + 1, layer) for index, layer in enumerate(generator.convs)]
    layers += [(2 * index + 3, layer) for index, layer in enumerate(generator.to_rgbs)]
    return [(row, layer.conv) for row, layer in layers if isinstance(layer.conv, ModulatedConv2d)]


@torch.no_grad()
def move_latent(generator: Generator, projector: CompactE4E, shift: Tensor) -> None:
    """Add ``shift`` (D,) or (L,D) to the rows of W+: the projector gives it, the generator's styles take it off."""
    by_row = shift.expand(generator.n_latent, -1)
    projector.base.bias.add_(by_row[0])
    projector.deltas.bias.add_((by_row[1:] - by_row[0]).flatten())
    for row, layer in rows_of(generator):
        style = layer.modulation
        style.bias.sub_((style.weight * style.scale) @ by_row[row] / style.lr_mul)


def main(argv: Sequence[str] | None = None) -> None:
    """Write generator, projector and a sheet of random faces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="run folder of the autoencoder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--faces", type=Path, required=True, help="folder with the training zips and labels")
    parser.add_argument("--like", type=Path, help="generator of an earlier run, whose mean code is kept")
    parser.add_argument("--cache", type=Path)
    a = parser.parse_args(argv)
    cache = a.cache or a.run.parent / "cache"
    state, header = container.load(a.run / "generator.safetensors")
    state.pop("latent_avg")
    generator = Generator(**header["arch"])
    generator.load_state_dict(state)
    projector_state, projector_header = container.load(a.run / "projector.safetensors")
    projector = CompactE4E(**projector_header["arch"]).eval()
    projector.load_state_dict(projector_state)
    faces = load_faces(*files_of(a.faces, "train"), generator.size, cache)
    stored = code_file(cache, projector_header["id"], faces, False)
    codes = all_codes(projector, faces, "cpu", stored, mirrored=False)
    _, factor = gaussian(torch.from_numpy(codes[:, 0].astype(np.float32)))
    spread = factor.square().sum(0).sqrt()
    lift = LIFT * spread
    if a.like:
        lift = container.load(a.like)[0].get("latent_avg", lift[:0])
        if lift.shape != spread.shape or float((lift / spread).min()) < LEAST:
            raise BadCheckpoint(f"'{a.like}' has no mean code so far above these codes' spread; leave --like out.")
    set_mapping(generator.style, factor, lift)
    shift = lift - torch.from_numpy(codes.mean(0, dtype=np.float32))
    move_latent(generator, projector, shift)
    kept = {k: v for k, v in header.items() if k != "id"}
    identity = container.save(a.out / "generator.safetensors", {**generator.state_dict(), "latent_avg": lift}, kept)
    kept = {k: v for k, v in projector_header.items() if k != "id"} | {"generator": identity}
    renamed = container.save(a.out / "projector.safetensors", projector.state_dict(), kept)
    moved = code_file(cache, renamed, faces, False)
    keep(moved, (codes + shift.numpy()).astype(np.float16))
    z = torch.randn(30, generator.style_dim, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        image = generator(z, truncation=0.8, center=lift)
    rows = [torch.cat(list(part), 2) for part in image.split(10)]
    Image.fromarray(to_uint8(torch.cat(rows, 1))).save(a.out / "random.png")


if __name__ == "__main__":
    main()
