"""The StyleGAN2 generator: mapping network and skip synthesis network (arXiv 1912.04958)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from stylegan2.layers import BiasLeakyReLU, EqualLinear, Filter, Form, ModulatedConv2d, StyledConv, ToRGB

Noise = int | torch.Generator | Sequence[Tensor] | None


def channel_table(channel_multiplier: int = 2) -> dict[int, int]:
    """Channels per resolution of the published networks (config-f with multiplier 2)."""
    wide = {4: 512, 8: 512, 16: 512, 32: 512}
    return wide | {64 << i: (256 >> i) * channel_multiplier for i in range(5)}


class PixelNorm(nn.Module):
    """Scales each row of (B,D) to unit root mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class NoiseMaps(nn.Module):
    """The registered noise maps ``noise_0 ... noise_2L``, each (1,1,r,r)."""

    def __init__(self, count: int) -> None:
        super().__init__()
        for index in range(count):
            side = 2 ** ((index + 5) // 2)
            self.register_buffer(f"noise_{index}", torch.randn(1, 1, side, side))


class Generator(nn.Module):
    """StyleGAN2 generator with the keys of rosinality's conversion.

    size: output side in pixels, a power of two from 8 up. style_dim: width of z and w. n_mlp: depth of the mapping.
    channels: {resolution: channels}; without it the published table times ``channel_multiplier``.
    Attributes: ``n_latent`` rows of a W+ code, 2 log2(size) - 2; ``num_layers`` noise maps.
    """

    def __init__(
        self,
        size: int,
        style_dim: int = 512,
        n_mlp: int = 8,
        channel_multiplier: int = 2,
        *,
        channels: Mapping[int, int] | Mapping[str, int] | None = None,
    ) -> None:
        super().__init__()
        if size < 8 or size & (size - 1):
            raise ValueError(f"size must be a power of two from 8 up, not {size}")
        table = {int(k): int(v) for k, v in channels.items()} if channels else channel_table(channel_multiplier)
        log_size = int(math.log2(size))
        self.size, self.style_dim = size, style_dim
        self.n_latent, self.num_layers = 2 * log_size - 2, 2 * log_size - 3
        self.channels = {2**i: table[2**i] for i in range(2, log_size + 1)}
        mlp = [EqualLinear(style_dim, style_dim, lr_mul=0.01, activate=True) for _ in range(n_mlp)]
        self.style = nn.Sequential(PixelNorm(), *mlp)
        self.input = nn.Module()
        self.input.register_parameter("input", nn.Parameter(torch.randn(1, self.channels[4], 4, 4)))
        self.conv1 = StyledConv(self.channels[4], self.channels[4], style_dim)
        self.to_rgb1 = ToRGB(self.channels[4], style_dim, up=False)
        self.convs, self.to_rgbs = nn.ModuleList(), nn.ModuleList()
        for i in range(3, log_size + 1):
            below, here = self.channels[2 ** (i - 1)], self.channels[2**i]
            self.convs.append(StyledConv(below, here, style_dim, up=True))
            self.convs.append(StyledConv(here, here, style_dim))
            self.to_rgbs.append(ToRGB(here, style_dim))
        self.noises = NoiseMaps(self.num_layers)

    def set_form(self, form: Form) -> Generator:
        """Choose the ``fast`` (default) or the ``reference`` form of all operations."""
        for module in self.modules():
            if isinstance(module, ModulatedConv2d | Filter | BiasLeakyReLU):
                module.form = form
        return self

    def set_precision(self, precision: torch.dtype) -> Generator:
        """Dtype of the convolutions' activations, ``torch.float32`` (default) or ``torch.bfloat16``.

        Weights, styles, RGB and the sum of the RGB levels stay float32.
        """
        for module in self.modules():
            if isinstance(module, StyledConv):
                module.precision = precision
        return self

    def prepare(self) -> Generator:
        """Keep what inference on CPU derives from the weights alone; dropped by training, loading or moving them."""
        for layer, side in self.convolutions():
            if layer.demodulate:
                layer.prepare(side)
        return self

    def convolutions(self) -> list[tuple[ModulatedConv2d, int]]:
        """All convolutions, those to RGB last, each with the side in pixels of its input."""
        layers = [(self.conv1.conv, 4)]
        # They come in pairs, the first of which doubles the size.
        layers += [(m.conv, 4 << ((i + 1) // 2)) for i, m in enumerate(self.convs) if isinstance(m, StyledConv)]
        layers.append((self.to_rgb1.conv, 4))
        return layers + [(m.conv, 8 << i) for i, m in enumerate(self.to_rgbs) if isinstance(m, ToRGB)]

    def map(self, z: Tensor) -> Tensor:
        """Map ``z`` (B,style_dim), standard normal, to w (B,style_dim)."""
        return self.style(z)

    def mean_latent(self, samples: int, generator: torch.Generator) -> Tensor:
        """Mean of ``samples`` mapped codes, (style_dim,)."""
        z = torch.randn(samples, self.style_dim, generator=generator, device=generator.device)
        return self.map(z.to(self.conv1.conv.weight.device)).mean(0)

    def noise_maps(self, noise: Noise, batch: int) -> list[Tensor]:
        """The maps (1 or B,1,r,r) for ``noise``.

        None: the registered ones. An int: a seed. A torch.Generator: a fresh draw per sample. Else the maps themselves.
        """
        registered = [self.noises.get_buffer(f"noise_{i}") for i in range(self.num_layers)]
        if noise is None:
            return registered
        if isinstance(noise, int):
            draw = torch.Generator().manual_seed(noise)
            return [torch.randn(n.shape, generator=draw).to(n) for n in registered]
        if isinstance(noise, torch.Generator):
            return [torch.randn(batch, *n.shape[1:], generator=noise, device=noise.device).to(n) for n in registered]
        if len(noise) != self.num_layers:
            raise ValueError(f"{len(noise)} noise maps given, {self.num_layers} needed")
        return [n.to(registered[0]) for n in noise]

    def synthesis(self, codes: Tensor, noise: Noise = None, *, until: int | None = None) -> Tensor:
        """Render W+ ``codes`` (B,n_latent,style_dim) to images (B,3,size,size), nominally in [-1, 1].

        ``until`` stops at that resolution and returns the picture of that level of the skip network (for training that grows).
        """
        return self._draw(codes, noise, (), until)[0]

    def synthesis_features(
        self, codes: Tensor, resolutions: Sequence[int], noise: Noise = None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Images as ``synthesis`` gives them, and {resolution: (B,C,r,r)} after the last convolution at each of ``resolutions``."""
        return self._draw(codes, noise, resolutions, None)

    def _draw(
        self, codes: Tensor, noise: Noise, features: Sequence[int], until: int | None
    ) -> tuple[Tensor, dict[int, Tensor]]:
        if codes.ndim != 3 or codes.shape[1] < self.n_latent or codes.shape[2] != self.style_dim:
            raise ValueError(f"codes must be (B,{self.n_latent},{self.style_dim}), got {tuple(codes.shape)}")
        maps = self.noise_maps(noise, codes.shape[0])
        kept: dict[int, Tensor] = {}
        start = self.input.get_parameter("input")
        # Channels-last belongs to the fast form: the memory order of the input is the one every layer keeps.
        order = torch.channels_last if self.conv1.conv.form == "fast" else torch.contiguous_format
        x = start.expand(codes.shape[0], -1, -1, -1).contiguous(memory_format=order)
        x = self.conv1(x, codes[:, 0], maps[0])
        image = self.to_rgb1(x, codes[:, 1])
        if 4 in features:
            kept[4] = x
        for j in range(len(self.to_rgbs)):
            x = self.convs[2 * j](x, codes[:, 2 * j + 1], maps[2 * j + 1])
            last, to_rgb = self.convs[2 * j + 1], self.to_rgbs[j]
            if j == len(self.to_rgbs) - 1 and self.size not in features:
                # The largest features are half of a picture's memory traffic and nothing but colours is wanted of them.
                colours = cast(StyledConv, last).colours(
                    x, codes[:, 2 * j + 2], maps[2 * j + 2], cast(ToRGB, to_rgb), codes[:, 2 * j + 3]
                )
                if colours is not None:
                    image = cast(ToRGB, to_rgb).onto(colours, image)
                    break
            x = last(x, codes[:, 2 * j + 2], maps[2 * j + 2])
            image = to_rgb(x, codes[:, 2 * j + 3], image)
            if x.shape[2] in features:
                kept[x.shape[2]] = x
            if x.shape[2] == until:
                break
        return image, kept

    def codes(
        self,
        styles: Tensor | Sequence[Tensor],
        *,
        latent: bool = False,
        truncation: float = 1.0,
        center: Tensor | None = None,
        truncate_rows: range | None = None,
        mix_at: int | None = None,
    ) -> Tensor:
        """Turn z, w or W+ into W+ codes (B,n_latent,style_dim).

        styles: one tensor (B,D) or (B,L,D), or two for style mixing, the second from row ``mix_at`` on.
        latent: they are w already. truncation: pull rows in ``truncate_rows`` (default all) towards ``center`` (D,), (1,D) or (L,D).
        """
        tensors = [styles] if isinstance(styles, Tensor) else list(styles)
        if not latent:
            tensors = [self.map(z) for z in tensors]
        rows = [t[:, None].expand(-1, self.n_latent, -1) if t.ndim == 2 else t for t in tensors]
        if truncation != 1.0:
            if center is None:
                raise ValueError("truncation needs the center of W (latent_avg)")
            middle = center.reshape(-1, self.style_dim)[None]
            pulled = [middle + truncation * (r - middle) for r in rows]
            if truncate_rows is not None:
                chosen = torch.zeros(self.n_latent, 1, dtype=torch.bool, device=rows[0].device)
                chosen[list(truncate_rows)] = True
                pulled = [torch.where(chosen, p, r) for p, r in zip(pulled, rows, strict=True)]
            rows = pulled
        if len(rows) == 1:
            return rows[0]
        at = self.n_latent // 2 if mix_at is None else mix_at
        return torch.cat([rows[0][:, :at], rows[1][:, at:]], 1)

    def forward(
        self,
        styles: Tensor | Sequence[Tensor],
        *,
        latent: bool = False,
        truncation: float = 1.0,
        center: Tensor | None = None,
        truncate_rows: range | None = None,
        mix_at: int | None = None,
        noise: Noise = None,
    ) -> Tensor:
        """Images (B,3,size,size) from z, w or W+; the arguments are those of ``codes`` and ``synthesis``."""
        codes = self.codes(
            styles, latent=latent, truncation=truncation, center=center, truncate_rows=truncate_rows, mix_at=mix_at
        )
        return self.synthesis(codes, noise)
