"""Layers with equalised learning rate in rosinality's key layout."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan2 import ops

Form = Literal["fast", "reference"]
FIR = (1, 3, 3, 1)


class EqualLinear(nn.Module):
    """Linear layer whose weight is scaled at run time; (B,in) -> (B,out)."""

    def __init__(self, inputs: int, outputs: int, *, bias_init: float = 0.0, lr_mul: float = 1.0, activate: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_mul)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias_init)))
        self.scale = lr_mul / math.sqrt(inputs)
        self.lr_mul = lr_mul
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        if self.activate:
            return ops.bias_leaky_relu(F.linear(x, self.weight * self.scale), self.bias * self.lr_mul)
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_mul)


class EqualConv2d(nn.Module):
    """Convolution whose weight is scaled at run time; (B,I,H,W) -> (B,O,H',W')."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, stride=self.stride, padding=self.padding)


class BiasLeakyReLU(nn.Module):
    """Bias per channel and leaky ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return ops.bias_leaky_relu(x, self.bias)


class Filter(nn.Module):
    """FIR filter with optional resampling by 2; its taps are a buffer, as in the published files."""

    kernel: Tensor

    def __init__(self, *, pad: tuple[int, int], up: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("kernel", ops.make_kernel(FIR, gain))
        self.pad, self.up = pad, up
        self.form: Form = "fast"

    def forward(self, x: Tensor) -> Tensor:
        op = ops.upfirdn2d if self.form == "fast" else ops.upfirdn2d_reference
        return op(x, self.kernel, up=self.up, pad=self.pad)


class ModulatedConv2d(nn.Module):
    """Modulated convolution: style (B,style_dim) scales the input channels; ``up`` doubles the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, style_dim: int, *, demodulate: bool = True, up: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.modulation = EqualLinear(style_dim, inputs, bias_init=1.0)
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.demodulate, self.up = demodulate, up
        # The transposed convolution leaves 2H + 1; one pixel of padding on both sides and the filter give 2H.
        self.blur = Filter(pad=(1, 1), gain=4.0) if up else None
        self.form: Form = "fast"

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        op = ops.modulated_conv2d if self.form == "fast" else ops.modulated_conv2d_reference
        out = op(x, self.weight[0] * self.scale, self.modulation(w), demodulate=self.demodulate, up=self.up)
        return out if self.blur is None else self.blur(out)


class NoiseInjection(nn.Module):
    """Adds ``noise`` (1 or B,1,H,W) times a learned strength."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return x + self.weight.to(x.dtype) * noise.to(x.dtype)


class StyledConv(nn.Module):
    """Modulated convolution, noise, bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, style_dim: int, *, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(inputs, outputs, 3, style_dim, up=up)
        self.noise = NoiseInjection()
        self.activate = BiasLeakyReLU(outputs)

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        return self.activate(self.noise(self.conv(x, w), noise))


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB, added to the upsampled picture of the level below."""

    def __init__(self, inputs: int, style_dim: int, *, up: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.upsample = Filter(pad=(2, 1), up=2, gain=4.0) if up else None
        self.conv = ModulatedConv2d(inputs, 3, 1, style_dim, demodulate=False)

    def forward(self, x: Tensor, w: Tensor, skip: Tensor | None = None) -> Tensor:
        out = self.conv(x, w) + self.bias
        if skip is None or self.upsample is None:
            return out
        return out + self.upsample(skip)
