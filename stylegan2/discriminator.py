"""The residual StyleGAN2 discriminator with minibatch standard deviation (arXiv 1912.04958)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from stylegan2.generator import channel_table
from stylegan2.layers import BiasLeakyReLU, EqualConv2d, EqualLinear, Filter


def conv_layer(
    inputs: int, outputs: int, kernel: int, *, down: bool = False, activate: bool = True, bias: bool = True
) -> nn.Sequential:
    """Optional filter and stride 2, convolution, bias and leaky ReLU; the positions in the sequence are the key names."""
    layers: list[nn.Module] = []
    if down:
        total = 2 + (kernel - 1)
        layers.append(Filter(pad=((total + 1) // 2, total // 2)))
    layers.append(
        EqualConv2d(
            inputs,
            outputs,
            kernel,
            stride=2 if down else 1,
            padding=0 if down else kernel // 2,
            bias=bias and not activate,
        )
    )
    if activate:
        layers.append(BiasLeakyReLU(outputs))
    return nn.Sequential(*layers)


class ResBlock(nn.Module):
    """Two convolutions and a 1x1 shortcut, halving the size; the sum is divided by sqrt(2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = conv_layer(inputs, inputs, 3)
        self.conv2 = conv_layer(inputs, outputs, 3, down=True)
        self.skip = conv_layer(inputs, outputs, 1, down=True, activate=False, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


def minibatch_stddev(x: Tensor, group: int = 4) -> Tensor:
    """Append to ``x`` (B,C,H,W) one map with the mean standard deviation over groups of up to ``group`` samples."""
    batch, channels, height, width = x.shape
    group = math.gcd(batch, group) if batch % min(batch, group) else min(batch, group)
    y = x.reshape(group, -1, channels, height, width)
    deviation = torch.sqrt((y.float() if y.dtype.itemsize < 4 else y).var(0, unbiased=False) + 1e-8).mean(
        [1, 2, 3], keepdim=True
    )
    return torch.cat([x, deviation.repeat(group, 1, height, width).to(x.dtype)], 1)


class Discriminator(nn.Module):
    """Images (B,3,size,size) in [-1, 1] to scores (B,1); keys as in rosinality's conversion."""

    def __init__(
        self, size: int, channel_multiplier: int = 2, *, channels: Mapping[int, int] | Mapping[str, int] | None = None
    ) -> None:
        super().__init__()
        table = {int(k): int(v) for k, v in channels.items()} if channels else channel_table(channel_multiplier)
        self.size = size
        blocks: list[nn.Module] = [conv_layer(3, table[size], 1)]
        for i in range(int(math.log2(size)), 2, -1):
            blocks.append(ResBlock(table[2**i], table[2 ** (i - 1)]))
        self.convs = nn.Sequential(*blocks)
        self.final_conv = conv_layer(table[4] + 1, table[4], 3)
        self.final_linear = nn.Sequential(EqualLinear(table[4] * 16, table[4], activate=True), EqualLinear(table[4], 1))

    def forward(self, image: Tensor) -> Tensor:
        x = self.final_conv(minibatch_stddev(self.convs(image)))
        return self.final_linear(x.flatten(1))
