"""StyleGAN2's three operations, each in a readable reference form and a fast form tested equal to it.

``upfirdn2d``: zero-insertion upsampling, padding or cropping, FIR filter, decimation.
``bias_leaky_relu``: bias, leaky ReLU (slope 0.2), gain sqrt(2).
``modulated_conv2d``: convolution whose input channels are scaled per sample, optionally demodulated.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (arXiv 1912.04958), section 2 and appendix B.
All run on CPU, CUDA and MPS with plain PyTorch, and are differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SLOPE = 0.2
GAIN = math.sqrt(2.0)


def make_kernel(taps: Sequence[float], gain: float = 1.0) -> Tensor:
    """(n,n) FIR filter: the outer product of ``taps`` with itself, summing to ``gain``."""
    one = torch.tensor(taps, dtype=torch.float32)
    two = torch.outer(one, one)
    return two / two.sum() * gain


def upfirdn2d_reference(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Upsample ``x`` (B,C,H,W) by zeros, pad (before, after; negative crops), filter with ``kernel`` (n,m), decimate."""
    batch, channels, height, width = x.shape
    out = x.new_zeros(batch, channels, height, up, width, up)
    out[:, :, :, 0, :, 0] = x
    out = F.pad(out.reshape(batch, channels, height * up, width * up), [pad[0], pad[1], pad[0], pad[1]])
    weight = kernel.flip(0, 1).to(x.dtype)[None, None].repeat(channels, 1, 1, 1)
    return F.conv2d(out, weight, groups=channels)[:, :, ::down, ::down]


def separate(kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Column (n,) and row (m,) factors of a rank-one ``kernel`` (n,m) with a sum other than zero."""
    return kernel.sum(1), kernel.sum(0) / kernel.sum()


def upfirdn2d(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """The fast form of ``upfirdn2d_reference`` for a rank-one ``kernel``: two one-dimensional passes.

    Upsampling is done by a transposed convolution, so no multiplication with an inserted zero takes place.
    """
    channels = x.shape[1]
    column, row = (f.to(x.dtype) for f in separate(kernel))
    for taps, axis in ((column, 2), (row, 3)):
        length = taps.numel()
        shape = (channels, 1, length, 1) if axis == 2 else (channels, 1, 1, length)

        def on_axis(value: int, axis: int = axis) -> tuple[int, int]:
            return (value, 1) if axis == 2 else (1, value)

        before, after = pad
        if up > 1:
            weight = taps.reshape(1, 1, *shape[2:]).expand(shape)
            size = x.shape[axis]
            x = F.conv_transpose2d(x, weight, stride=on_axis(up), groups=channels)
            # The full transposed convolution covers a padding of length - 1 on the left and, on the right, of
            # length - up once the trailing inserted zeros are counted.
            lead, tail = before - (length - 1), size * up + before + after - (length - 1) - (x.shape[axis] + before - (length - 1))
            x = F.pad(x, [0, 0, lead, tail] if axis == 2 else [lead, tail, 0, 0])
            if down > 1:
                x = x[:, :, ::down] if axis == 2 else x[:, :, :, ::down]
        else:
            x = F.pad(x, [0, 0, before, after] if axis == 2 else [before, after, 0, 0])
            weight = taps.flip(0).reshape(1, 1, *shape[2:]).expand(shape)
            x = F.conv2d(x, weight, stride=on_axis(down), groups=channels)
    return x


def bias_leaky_relu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """leaky_relu(x + bias, 0.2) * sqrt(2); ``x`` (B,C,...), ``bias`` (C,) or None."""
    if bias is not None:
        x = x + bias.reshape(1, -1, *([1] * (x.ndim - 2)))
    return F.leaky_relu(x, SLOPE) * GAIN


def modulated_conv2d_reference(x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool, up: bool = False) -> Tensor:
    """Convolve each sample with its own kernel (equations 1 and 3 of the paper).

    x (B,I,H,W), weight (O,I,k,k) already scaled, style (B,I). Returns (B,O,H,W), or with ``up`` the transposed
    convolution of stride 2, (B,O,2H+1,2W+1), which still wants its FIR filter.
    """
    batch, inputs, height, width = x.shape
    outputs, _, k, _ = weight.shape
    kernels = weight[None] * style[:, None, :, None, None]
    if demodulate:
        kernels = kernels * torch.rsqrt(kernels.square().sum([2, 3, 4], keepdim=True) + 1e-8)
    x = x.reshape(1, batch * inputs, height, width)
    if up:
        kernels = kernels.transpose(1, 2).reshape(batch * inputs, outputs, k, k)
        out = F.conv_transpose2d(x, kernels, stride=2, groups=batch)
    else:
        out = F.conv2d(x, kernels.reshape(batch * outputs, inputs, k, k), padding=k // 2, groups=batch)
    return out.reshape(batch, outputs, out.shape[2], out.shape[3])


def modulated_conv2d(x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool, up: bool = False) -> Tensor:
    """The fast form of ``modulated_conv2d_reference``: activations are scaled, the kernel is shared by the batch.

    Scaling inputs and outputs instead of kernels is the same linear map; no gradient of per-sample kernels is formed.
    """
    scaled = x * style[:, :, None, None].to(x.dtype)
    if up:
        out = F.conv_transpose2d(scaled, weight.transpose(0, 1).to(x.dtype), stride=2)
    else:
        out = F.conv2d(scaled, weight.to(x.dtype), padding=weight.shape[2] // 2)
    if demodulate:
        power = style.square() @ weight.square().sum([2, 3]).t()
        out = out * torch.rsqrt(power + 1e-8)[:, :, None, None].to(x.dtype)
    return out
