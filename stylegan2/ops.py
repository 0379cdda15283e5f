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

from stylegan2.fir import filter_separable, separable_taps

SLOPE = 0.2
GAIN = math.sqrt(2.0)


def make_kernel(taps: Sequence[float], gain: float = 1.0) -> Tensor:
    """(n,n) FIR filter: the outer product of ``taps`` with itself, summing to ``gain``."""
    one = torch.tensor(taps, dtype=torch.float32)
    two = torch.outer(one, one)
    return two / two.sum() * gain


def upfirdn2d_reference(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Upsample ``x`` (B,C,H,W) by zeros, pad (before, after; negative crops), filter with ``kernel`` (n,m), decimate.

    As in the published CPU code, every channel is a picture of its own.
    """
    batch, channels, height, width = x.shape
    out = x.new_zeros(batch * channels, 1, height, up, width, up)
    out[:, :, :, 0, :, 0] = x.reshape(-1, 1, height, width)
    out = F.pad(out.reshape(-1, 1, height * up, width * up), [pad[0], pad[1], pad[0], pad[1]])
    out = F.conv2d(out, kernel.flip(0, 1).to(x.dtype)[None, None])[:, :, ::down, ::down]
    return out.reshape(batch, channels, out.shape[2], out.shape[3])


def upfirdn2d(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """The fast form of ``upfirdn2d_reference``: two one-dimensional passes, no multiplication with an inserted zero.

    A kernel that is not the outer product of a column and a row goes the reference way.
    """
    taps = separable_taps(kernel)
    if taps is None:
        return upfirdn2d_reference(x, kernel, up, down, pad)
    return filter_separable(x, *taps, up=up, down=down, pad=pad)


def bias_leaky_relu_reference(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """leaky_relu(x + bias, 0.2) * sqrt(2); ``x`` (B,C,...), ``bias`` (C,) or None."""
    if bias is not None:
        x = x + bias.reshape(1, -1, *([1] * (x.ndim - 2)))
    return F.leaky_relu(x, SLOPE) * GAIN


class _ActivationGradient(torch.autograd.Function):
    """Gradient of the activation given its output; linear in the gradient, so it is its own derivative."""

    @staticmethod
    def forward(ctx, gradient: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return torch.ops.aten.leaky_relu_backward(gradient, y, SLOPE, True).mul_(GAIN)

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        (y,) = ctx.saved_tensors
        return _ActivationGradient.apply(gradients[0], y), None


class _Activation(torch.autograd.Function):
    """Only the output is kept: its sign tells the slope."""

    @staticmethod
    def forward(ctx, x: Tensor, shift: Tensor) -> Tensor:
        y = F.leaky_relu_(x + shift, SLOPE).mul_(GAIN)
        ctx.save_for_backward(y)
        ctx.shift_shape = shift.shape
        return y

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        (y,) = ctx.saved_tensors
        gradient = _ActivationGradient.apply(gradients[0], y)
        return gradient, gradient.sum_to_size(ctx.shift_shape) if ctx.needs_input_grad[1] else None


def bias_leaky_relu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """The fast form of ``bias_leaky_relu_reference``: in place after one sum, one tensor kept for the gradient."""
    if bias is None:
        return F.leaky_relu(x, SLOPE) * GAIN
    return _Activation.apply(x, bias.to(x.dtype).reshape(1, -1, *([1] * (x.ndim - 2))))


def modulated_conv2d_reference(
    x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool, up: bool = False
) -> Tensor:
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
    A 1x1 kernel with fewer outputs than inputs is smaller than the activations, so there the kernel is scaled.
    """
    if weight.shape[2] == 1 and weight.shape[0] < weight.shape[1] and not demodulate and not up:
        batch, inputs, height, width = x.shape
        kernels = (weight[None, :, :, 0, 0] * style[:, None]).to(x.dtype)
        if x.is_contiguous(memory_format=torch.channels_last):
            pixels = x.permute(0, 2, 3, 1).reshape(batch, height * width, inputs)
            return torch.bmm(pixels, kernels.transpose(1, 2)).transpose(1, 2).reshape(batch, -1, height, width)
        return torch.bmm(kernels, x.reshape(batch, inputs, -1)).reshape(batch, -1, height, width)
    scaled = x * style[:, :, None, None].to(x.dtype)
    if up:
        out = F.conv_transpose2d(scaled, weight.transpose(0, 1).to(x.dtype), stride=2)
    else:
        out = F.conv2d(scaled, weight.to(x.dtype), padding=weight.shape[2] // 2)
    if demodulate:
        power = style.square() @ weight.square().sum([2, 3]).t()
        out = out * torch.rsqrt(power + 1e-8)[:, :, None, None].to(x.dtype)
    return out
