"""Inference without gradients on CPU: 3x3 convolutions in bands of rows that stay in the cache.

Winograd's F(4x4,3x3) (Lavin & Gray, arXiv 1509.09308): 36 products for 16 outputs instead of 144.
Upsampling joins the stride-2 transposed convolution and its FIR filter into one 3x3 kernel for each of the four
output phases, so the filter costs nothing and no inserted zero is multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan2.fir import Taps

BAND_BYTES = 6 << 20
KERNEL_BYTES = 20 << 20
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def _both_axes(one: Tensor, tiles: Tensor, half: Tensor, out: Tensor) -> None:
    """Apply ``one`` (m,n) to rows, then to columns of ``tiles`` (n*n,N) into ``out`` (m*m,N); ``half`` holds m*n*N numbers."""
    m, n = one.shape
    torch.mm(one, tiles.view(n, -1), out=half.view(m, -1))
    torch.bmm(one.expand(m, m, n), half.view(m, n, -1), out=out.view(m, m, -1))


@dataclass(frozen=True)
class Epilogue:
    """What follows a convolution: demodulation (B,O), noise (1 or B,1,H,W) already scaled, bias (O,), leaky ReLU, gain."""

    demodulation: Tensor
    noise: Tensor
    bias: Tensor
    slope: float
    gain: float


def suits(inputs: int, side: int, *, up: bool, kept: bool) -> bool:
    """Whether the transforms cost less than they save; measured on AVX2 with the published channel table.

    ``kept``: the kernel's transform is kept between pictures. It alone costs more than a small picture saves.
    """
    if up:
        return side * side >= 64 * inputs
    return inputs >= 96 and side * side >= (256 if kept else 8 * inputs)


def small_conv(x: Tensor, weight: Tensor) -> Tensor:
    """3x3 convolution of few pixels as one product, which reads the large ``weight`` (O,I,3,3) in the order it lies in."""
    batch, _, height, width = x.shape
    columns = F.unfold(x, 3, padding=1).transpose(0, 1).flatten(1)
    out = torch.mm(weight.reshape(weight.shape[0], -1), columns)
    return out.view(-1, batch, height, width).transpose(0, 1)


def phase_kernels(weight: Tensor, column: Taps, row: Taps) -> Tensor:
    """Join ``weight`` (O,I,3,3) of a stride-2 transposed convolution with a 4-tap FIR filter: (O,4,I,3,3).

    The second axis is the output phase (row, column); each is an ordinary 3x3 correlation of the small input.
    """
    outputs, inputs = weight.shape[:2]
    taps = torch.outer(torch.tensor(column), torch.tensor(row)).to(weight).flip(0, 1)
    joined = F.conv2d(weight.reshape(-1, 1, 3, 3), taps[None, None], padding=3)
    # Output 2i + f sums joined[f + 2s] * x[i + 1 - s] over s: the parity is the phase, and s runs against the input.
    joined = joined.reshape(outputs, inputs, 3, 2, 3, 2).permute(0, 3, 5, 1, 2, 4).flip(4, 5)
    return joined.reshape(outputs, 4, inputs, 3, 3)


def transform_kernel(weight: Tensor) -> Tensor:
    """Winograd form (36,I,O) of ``weight`` (O,I,3,3)."""
    outputs, inputs = weight.shape[:2]
    one = torch.tensor(_KERNEL)
    return (torch.kron(one, one) @ weight.permute(2, 3, 1, 0).reshape(9, -1)).view(36, inputs, outputs)


def _bands(rows: int, bytes_per_row: int, kernel_bytes: int = 0) -> int:
    """Largest divisor of ``rows`` whose band fits the budget.

    Every band reads the whole kernel, so a band may be as large as the kernel where that is the larger.
    """
    fit = max(BAND_BYTES, min(kernel_bytes, KERNEL_BYTES)) // bytes_per_row
    return max(d for d in range(1, rows + 1) if rows % d == 0 and d <= max(fit, 1))


def winograd_conv(x: Tensor, kernel: Tensor, style: Tensor, end: Epilogue, *, factor: int = 1) -> Tensor:
    """Modulated 3x3 convolution with its epilogue, ``x`` (B,I,H,W) -> (B,O,H*factor,W*factor), channels-last.

    kernel: (36,I,O*factor**2) from ``transform_kernel``, the phases slower than the channels. H and W are multiples of 4.
    """
    batch, inputs, height, width = x.shape
    maps = kernel.shape[2]
    outputs = maps // factor**2
    tiles_down, tiles = height // 4, width // 4
    band = _bands(tiles_down, 36 * 4 * tiles * max(inputs, maps), kernel.numel() * 4)
    rows = x.permute(0, 2, 3, 1)
    out = torch.empty(batch, height * factor, width * factor, outputs)
    source = torch.zeros(band * 4 + 2, width + 2, inputs)
    patches = source.as_strided(
        (6, 6, band, tiles, inputs),
        (source.stride(0), inputs, 4 * source.stride(0), 4 * inputs, 1),
    )
    gathered = torch.empty(36, band * tiles * inputs)
    spectrum = torch.empty(36, band * tiles * inputs)
    product = torch.empty(36, band * tiles, maps)
    result = torch.empty(16, band * tiles * maps)
    half, half_back = torch.empty(36 * band * tiles * inputs), torch.empty(24 * band * tiles * maps)
    forward, backward = torch.tensor(_INPUT, dtype=torch.float32), torch.tensor(_OUTPUT, dtype=torch.float32)
    gain = end.demodulation * end.gain
    noise, bias = end.noise * end.gain, end.bias * end.gain
    for b in range(batch):
        for top in range(0, height, band * 4):
            first, last = max(top - 1, 0), min(top + band * 4 + 1, height)
            shift = first - (top - 1)
            source[:shift].zero_()
            source[shift + last - first :].zero_()
            torch.mul(rows[b, first:last], style[b], out=source[shift : shift + last - first, 1:-1])
            gathered.view(6, 6, band, tiles, inputs).copy_(patches)
            _both_axes(forward, gathered, half, spectrum)
            torch.bmm(spectrum.view(36, band * tiles, inputs), kernel, out=product)
            _both_axes(backward, product.view(36, -1), half_back, result)
            block = out[b, top * factor : (top + band * 4) * factor]
            pixels = result.view(4, 4, band, tiles, factor, factor, outputs).permute(2, 0, 4, 3, 1, 5, 6)
            torch.mul(pixels, gain[b], out=block.view(band, 4, factor, tiles, 4, factor, outputs))
            block += noise[b % noise.shape[0], 0, top * factor : (top + band * 4) * factor, :, None]
            block += bias
            F.leaky_relu_(block, end.slope)
    return out.permute(0, 3, 1, 2)


def direct_conv(x: Tensor, weight: Tensor, style: Tensor, end: Epilogue, *, colours: Tensor | None = None) -> Tensor:
    """The same as ``winograd_conv`` for few channels: each sample's kernel carries style, demodulation and gain.

    With ``colours`` (B,c,O), a 1x1 convolution that follows, returns its (B,c,H,W); the features are never whole in memory.
    """
    batch, inputs, height, width = x.shape
    outputs = weight.shape[0]
    band = _bands(height, 4 * width * max(inputs, outputs))
    maps = outputs if colours is None else colours.shape[1]
    out = torch.empty((batch, maps, height, width), memory_format=torch.channels_last)
    noise, bias = end.noise * end.gain, end.bias * end.gain
    for b in range(batch):
        own = weight * style[b][:, None, None] * (end.demodulation[b] * end.gain)[:, None, None, None]
        own = own.contiguous(memory_format=torch.channels_last)
        for top in range(0, height, band):
            first, last = max(top - 1, 0), min(top + band + 1, height)
            rows = x[b : b + 1, :, first:last]
            if last - first < band + 2:
                rows = F.pad(rows, [0, 0, first - (top - 1), top + band + 1 - last])
            block = F.conv2d(rows, own, bias, padding=(0, 1))
            block += noise[b % noise.shape[0], :, top : top + band]
            here = out[b : b + 1, :, top : top + band]
            if colours is None:
                torch.ops.aten.leaky_relu.out(block, end.slope, out=here)
            else:
                pixels = F.leaky_relu_(block, end.slope)[0].permute(1, 2, 0).reshape(-1, outputs)
                torch.mm(pixels, colours[b].t(), out=here[0].permute(1, 2, 0).view(-1, maps))
    return out


def filtered(x: Tensor, column: Taps, row: Taps, end: Epilogue) -> Tensor:
    """FIR filter and epilogue of a transposed convolution's output ``x`` (B,O,2H+1,2W+1) -> (B,O,2H,2W) in bands."""
    batch, outputs, height, width = x.shape
    height, width = height - 1, width - 1
    band = _bands(height, 4 * width * outputs)
    rows = x.permute(0, 2, 3, 1)
    out = torch.empty(batch, height, width, outputs)
    source = torch.zeros(band + 3, width + 3, outputs)
    vertical = torch.empty(band, width + 3, outputs)
    noise, bias = end.noise * end.gain, end.bias * end.gain
    gain = end.demodulation * end.gain
    for b in range(batch):
        for top in range(0, height, band):
            first, last = max(top - 1, 0), min(top + band + 2, height + 1)
            shift = first - (top - 1)
            source[:shift].zero_()
            source[shift + last - first :].zero_()
            torch.mul(rows[b, first:last], gain[b], out=source[shift : shift + last - first, 1:-1])
            torch.mul(source[:band], column[3], out=vertical)
            for k in (1, 2, 3):
                vertical.add_(source[k : k + band], alpha=column[3 - k])
            block = out[b, top : top + band]
            torch.mul(vertical[:, :width], row[3], out=block)
            for k in (1, 2, 3):
                block.add_(vertical[:, k : k + width], alpha=row[3 - k])
            block += noise[b % noise.shape[0], 0, top : top + band, :, None]
            block += bias
            F.leaky_relu_(block, end.slope)
    return out.permute(0, 3, 1, 2)


def finish(x: Tensor, end: Epilogue) -> Tensor:
    """The epilogue alone, in one new channels-last tensor, for small ``x`` (B,O,H,W)."""
    x = (x * (end.demodulation * end.gain)[:, :, None, None]).contiguous(memory_format=torch.channels_last)
    x += end.noise * end.gain
    x += (end.bias * end.gain)[:, None, None]
    return F.leaky_relu_(x, end.slope)
