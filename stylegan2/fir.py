"""Separable FIR filtering with resampling as sliced sums, its own adjoint for gradients of any order."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Taps = tuple[float, ...]


def separable_taps(kernel: Tensor, tolerance: float = 1e-5) -> tuple[Taps, Taps] | None:
    """Column and row factors of ``kernel`` (n,m), or None where it is not their outer product."""
    k = kernel.detach().to("cpu", torch.float32)
    peak = k.abs().max()
    if peak == 0:
        return None
    at = int(k.abs().argmax())
    i, j = divmod(at, k.shape[1])
    column, row = k[:, j], k[i] / k[i, j]
    if not torch.allclose(torch.outer(column, row), k, rtol=0, atol=float(peak) * tolerance):
        return None
    # Both factors are given the same sum, so that neither pass leaves the range of the other.
    balance = (row.abs().sum() / column.abs().sum()).sqrt()
    return tuple((column * balance).tolist()), tuple((row / balance).tolist())


def _slice(x: Tensor, axis: int, start: int, count: int, step: int = 1) -> Tensor:
    index = slice(start, start + (count - 1) * step + 1, step)
    return x[:, :, index] if axis == 2 else x[:, :, :, index]


def _filter_axis(x: Tensor, taps: Taps, axis: int, up: int, down: int, pad: tuple[int, int]) -> Tensor:
    """Correlate one axis of ``x`` with ``taps`` after zero insertion and padding, keeping every ``down``-th value."""
    size, before = x.shape[axis], pad[0]
    full = size * up + pad[0] + pad[1] - len(taps) + 1
    length = (full + down - 1) // down
    if length < 1:
        raise ValueError(f"a filter of {len(taps)} taps does not fit into {full + len(taps) - 1} padded values")
    # Output j of a period of `up` meets inserted zeros at all but every `up`-th tap.
    count = -(-length // up)
    plan = [
        [(t, (f * down + k - before) // up) for k, t in enumerate(taps) if (f * down + k - before) % up == 0]
        for f in range(up)
    ]
    starts = [start for phase in plan for _, start in phase] or [0]
    lead = max(0, -min(starts))
    tail = max(0, max(starts) + (count - 1) * down + 1 - size)
    if lead or tail:
        x = F.pad(x, [0, 0, lead, tail] if axis == 2 else [lead, tail, 0, 0])
    phases = []
    for phase in plan:
        total: Tensor | None = None
        for tap, start in phase:
            piece = _slice(x, axis, start + lead, count, down)
            total = piece * tap if total is None else total.add_(piece, alpha=tap)
        if total is None:
            total = torch.zeros_like(_slice(x, axis, 0, 1)).expand(*[count if i == axis else -1 for i in range(4)])
        phases.append(total)
    if up == 1:
        return phases[0]
    shape = list(phases[0].shape)
    shape[axis] = count * up
    if x.is_contiguous(memory_format=torch.channels_last) and x.shape[1] > 1:
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    else:
        out = x.new_empty(shape)
    for f, phase in enumerate(phases):
        _slice(out, axis, f, count, up).copy_(phase)
    return _slice(out, axis, 0, length)


def _flip(taps: Taps) -> Taps:
    return taps[::-1]


class _Separable(torch.autograd.Function):
    """The filter is linear, so its gradient is the filter with flipped taps and up and down exchanged."""

    @staticmethod
    def forward(ctx, x: Tensor, column: Taps, row: Taps, up: int, down: int, pads: tuple[int, int, int, int]) -> Tensor:
        ctx.settings = (x.shape, column, row, up, down, pads)
        y = _filter_axis(x, _flip(column), 2, up, down, pads[:2])
        return _filter_axis(y, _flip(row), 3, up, down, pads[2:])

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        shape, column, row, up, down, pads = ctx.settings
        (gradient,) = gradients
        back = []
        for axis, taps, before in ((2, column, pads[0]), (3, row, pads[2])):
            lead = len(taps) - 1 - before
            back += [lead, shape[axis] * up - gradient.shape[axis] * down + before - up + 1]
        out = _Separable.apply(gradient, _flip(column), _flip(row), down, up, tuple(back))
        return out, None, None, None, None, None


def filter_separable(
    x: Tensor, column: Taps, row: Taps, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)
) -> Tensor:
    """Zero-insert, pad, filter with the outer product of ``column`` and ``row``, decimate; ``x`` (B,C,H,W)."""
    return _Separable.apply(x, column, row, up, down, (pad[0], pad[1], pad[0], pad[1]))
