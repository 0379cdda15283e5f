"""Layers with equalised learning rate in rosinality's key layout."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan2 import ops, winograd
from stylegan2.fir import Taps, filter_separable, separable_taps

Form = Literal["fast", "reference"]
FIR = (1, 3, 3, 1)


def plain_inference(x: Tensor) -> bool:
    """Whether nothing but the values of ``x`` matter: no gradients, no compiler, float32 on CPU."""
    quiet = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
    return quiet and x.device.type == "cpu" and x.dtype == torch.float32


def version(x: Tensor) -> int:
    """Count of changes in place; tensors made in inference mode have none and do not change in place outside it."""
    return -1 if x.is_inference() else x._version


class EqualLinear(nn.Module):
    """Linear layer whose weight is scaled at run time; (B,in) -> (B,out)."""

    def __init__(
        self, inputs: int, outputs: int, *, bias_init: float = 0.0, lr_mul: float = 1.0, activate: bool = False
    ) -> None:
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

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
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
        self.form: Form = "fast"

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "fast":
            return ops.bias_leaky_relu(x, self.bias)
        return ops.bias_leaky_relu_reference(x, self.bias)


class Filter(nn.Module):
    """FIR filter with optional resampling by 2; its taps are a buffer, as in the published files."""

    kernel: Tensor

    def __init__(self, *, pad: tuple[int, int], up: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("kernel", ops.make_kernel(FIR, gain))
        self.pad, self.up = pad, up
        self.form: Form = "fast"
        self._factors: tuple[Tensor, int, tuple[Taps, Taps] | None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy counts its changes from zero again, so what was kept cannot be told from outdated there.
        return self.__dict__ | {"_factors": None}

    def taps(self) -> tuple[Taps, Taps] | None:
        """Column and row factors of the kernel, or None where it has none; found again after the buffer changed."""
        known = self._factors
        if known is None or known[0] is not self.kernel or known[1] != version(self.kernel):
            known = self._factors = (self.kernel, version(self.kernel), separable_taps(self.kernel))
        return known[2]

    def forward(self, x: Tensor) -> Tensor:
        taps = self.taps() if self.form == "fast" else None
        if taps is None:
            return ops.upfirdn2d_reference(x, self.kernel, up=self.up, pad=self.pad)
        return filter_separable(x, *taps, up=self.up, pad=self.pad)


class ModulatedConv2d(nn.Module):
    """Modulated convolution: style (B,style_dim) scales the input channels; ``up`` doubles the size."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, style_dim: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.modulation = EqualLinear(style_dim, inputs, bias_init=1.0)
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.demodulate, self.up = demodulate, up
        # The transposed convolution leaves 2H + 1; one pixel of padding on both sides and the filter give 2H.
        self.blur = Filter(pad=(1, 1), gain=4.0) if up else None
        self.form: Form = "fast"
        self._prepared: tuple[int, dict[str, Tensor]] | None = None

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.modulation(w)
        if self.form == "fast":
            # The constant scale goes with the style: a few hundred numbers instead of the whole kernel.
            out = ops.modulated_conv2d(x, self.weight[0], style * self.scale, demodulate=self.demodulate, up=self.up)
        else:
            weight = self.weight[0] * self.scale
            out = ops.modulated_conv2d_reference(x, weight, style, demodulate=self.demodulate, up=self.up)
        return out if self.blur is None else self.blur(out)

    def prepare(self, side: int) -> None:
        """Keep what depends on the weights alone for inputs of ``side`` pixels; dropped when they change or train."""
        with torch.no_grad():
            constants = {"power": self._power()}
            if self._by_winograd(side, kept=True):
                constants["winograd"] = self._winograd()
            elif self.up:
                order = torch.channels_last if side <= 16 else torch.contiguous_format
                constants["transposed"] = self.weight[0].transpose(0, 1).contiguous(memory_format=order)
            self._prepared = (version(self.weight), constants)

    def __getstate__(self) -> dict[str, Any]:
        # A copy counts its changes from zero again, so what was kept cannot be told from outdated there.
        return self.__dict__ | {"_prepared": None}

    def train(self, mode: bool = True) -> ModulatedConv2d:
        if mode:
            self._prepared = None
        super().train(mode)
        return self

    def _apply(self, fn, recurse: bool = True):
        self._prepared = None
        return super()._apply(fn, recurse)

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        self._prepared = None
        super()._load_from_state_dict(*args, **kwargs)

    def _by_winograd(self, side: int, *, kept: bool) -> bool:
        _, _, inputs, kernel, _ = self.weight.shape
        return kernel == 3 and side % 4 == 0 and winograd.suits(inputs, side, up=self.up, kept=kept)

    def _power(self) -> Tensor:
        return torch.linalg.vector_norm(self.weight[0], dim=(2, 3)).square_()

    def _winograd(self) -> Tensor:
        weight = self.weight[0]
        taps = self.blur.taps() if self.blur is not None else None
        if taps is None:
            return winograd.transform_kernel(weight)
        return winograd.transform_kernel(winograd.phase_kernels(weight, *taps).transpose(0, 1).flatten(0, 1))

    def _kept(self, name: str) -> Tensor | None:
        if self._prepared is None or self._prepared[0] != version(self.weight):
            return None
        return self._prepared[1].get(name)

    def by_direct(self, x: Tensor) -> bool:
        """Whether ``render`` would convolve ``x`` with a kernel of its own for each sample."""
        _, outputs, inputs, kernel, _ = self.weight.shape
        if self.up or kernel != 3 or self._by_winograd(x.shape[2], kept=self._kept("winograd") is not None):
            return False
        return 18 * outputs * inputs < x.shape[2] * x.shape[3] * (outputs + inputs)

    def render(self, x: Tensor, w: Tensor, noise: Tensor, bias: Tensor, colours: Tensor | None = None) -> Tensor | None:
        """Convolution, noise, bias and leaky ReLU in one, without gradients on CPU; None where no short cut exists.

        ``colours`` (B,3,O), only where ``by_direct``: the 1x1 convolution that follows, done as well.
        """
        taps = self.blur.taps() if self.blur is not None else None
        if self.up and (taps is None or len(taps[0]) != 4 or len(taps[1]) != 4):
            return None
        weight = self.weight[0]
        side, pixels = x.shape[2], x.shape[2] * x.shape[3]
        style = self.modulation(w) * self.scale
        power, kernel = self._kept("power"), self._kept("winograd")
        power = self._power() if power is None else power
        demodulation = torch.rsqrt(style.square() @ power.t() + 1e-8)
        end = winograd.Epilogue(demodulation, noise, bias, ops.SLOPE, ops.GAIN)
        if side == x.shape[3] and self._by_winograd(side, kept=kernel is not None):
            kernel = self._winograd() if kernel is None else kernel
            return winograd.winograd_conv(x, kernel, style, end, factor=2 if self.up else 1)
        if taps is not None:
            transposed = self._kept("transposed")
            transposed = weight.transpose(0, 1) if transposed is None else transposed
            out = F.conv_transpose2d(x * style[:, :, None, None], transposed, stride=2)
            return winograd.filtered(out, *taps, end)
        if self.by_direct(x):
            return winograd.direct_conv(x, weight, style, end, colours=colours)
        scaled = x * style[:, :, None, None]
        few = x.shape[0] * pixels <= 256
        return winograd.finish(winograd.small_conv(scaled, weight) if few else F.conv2d(scaled, weight, padding=1), end)


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
        self.precision = torch.float32

    def forward(self, x: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        if self.precision != torch.float32:
            x = x.to(self.precision)
        if self.conv.form == "fast" and plain_inference(x):
            out = self.conv.render(x, w, noise * self.noise.weight, self.activate.bias)
            if out is not None:
                return out
        return self.activate(self.noise(self.conv(x, w), noise))

    def colours(self, x: Tensor, w: Tensor, noise: Tensor, to_rgb: ToRGB, w_rgb: Tensor) -> Tensor | None:
        """What ``to_rgb.conv`` makes of this layer's output, without keeping that; None where no short cut exists."""
        if self.conv.form != "fast" or self.precision != torch.float32 or not plain_inference(x):
            return None
        if not self.conv.by_direct(x):
            return None
        kernels = to_rgb.conv.weight[0, :, :, 0, 0] * (to_rgb.conv.modulation(w_rgb) * to_rgb.conv.scale)[:, None]
        return self.conv.render(x, w, noise * self.noise.weight, self.activate.bias, kernels)


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB, added to the upsampled picture of the level below."""

    def __init__(self, inputs: int, style_dim: int, *, up: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.upsample = Filter(pad=(2, 1), up=2, gain=4.0) if up else None
        self.conv = ModulatedConv2d(inputs, 3, 1, style_dim, demodulate=False)

    def forward(self, x: Tensor, w: Tensor, skip: Tensor | None = None) -> Tensor:
        return self.onto(self.conv(x, w), skip)

    def onto(self, colours: Tensor, skip: Tensor | None) -> Tensor:
        """Add the bias and the picture ``skip`` of half the size to ``colours`` (B,3,H,W)."""
        out = colours.to(self.bias.dtype) + self.bias
        if skip is None or self.upsample is None:
            return out
        return out + self.upsample(skip)
