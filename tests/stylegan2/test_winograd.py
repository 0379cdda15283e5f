"""The banded convolutions of inference against plain ones in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from stylegan2 import ops, winograd
from stylegan2.fir import separable_taps
from stylegan2.layers import StyledConv
from tests.stylegan2.small import apart


def parts(inputs: int, outputs: int, side: int, batch: int = 2, *, up: bool = False, noises: int = 1):
    draw = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    x = rand(batch, inputs, side, side).contiguous(memory_format=torch.channels_last)
    out = side * 2 if up else side
    end = winograd.Epilogue(rand(batch, outputs).abs(), rand(noises, 1, out, out), rand(outputs), ops.SLOPE, ops.GAIN)
    return x, rand(outputs, inputs, 3, 3), rand(batch, inputs), end


def finished(out: torch.Tensor, end: winograd.Epilogue) -> torch.Tensor:
    out = out * end.demodulation[:, :, None, None].double() + end.noise.double()
    return ops.bias_leaky_relu_reference(out, end.bias.double())


def scaled(x: torch.Tensor, style: torch.Tensor) -> torch.Tensor:
    return x.double() * style[:, :, None, None].double()


@pytest.mark.parametrize("budget", [1, 50_000, 6 << 20])
@pytest.mark.parametrize("noises", [1, 2])
def test_same_size(budget, noises, monkeypatch):
    monkeypatch.setattr(winograd, "BAND_BYTES", budget)
    x, weight, style, end = parts(5, 7, 16, noises=noises)
    theirs = finished(F.conv2d(scaled(x, style), weight.double(), padding=1), end)
    assert apart(winograd.winograd_conv(x, winograd.transform_kernel(weight), style, end), theirs) < 1e-5
    assert apart(winograd.direct_conv(x, weight, style, end), theirs) < 1e-5


@pytest.mark.parametrize("budget", [1, 50_000, 6 << 20])
def test_twice_the_size_with_an_uneven_filter(budget, monkeypatch):
    monkeypatch.setattr(winograd, "BAND_BYTES", budget)
    x, weight, style, end = parts(5, 6, 16, up=True)
    kernel = torch.outer(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 5.0, 2.0, 1.0])) / 30
    taps = separable_taps(kernel)
    assert taps is not None
    wide = F.conv_transpose2d(scaled(x, style), weight.transpose(0, 1).double(), stride=2)
    theirs = finished(ops.upfirdn2d_reference(wide, kernel, pad=(1, 1)), end)
    phases = winograd.phase_kernels(weight, *taps).transpose(0, 1).flatten(0, 1)
    ours = winograd.winograd_conv(x, winograd.transform_kernel(phases), style, end, factor=2)
    assert apart(ours, theirs) < 1e-5
    assert apart(winograd.filtered(wide.float(), *taps, end), theirs) < 1e-5


@pytest.mark.parametrize(
    ("inputs", "outputs", "side", "up"),
    [(8, 8, 4, True), (2, 3, 16, True), (128, 4, 32, False), (3, 4, 16, False), (40, 40, 4, False)],
    ids=["filtered", "phases", "winograd", "own kernels", "small"],
)
def test_a_layer_without_gradients_equals_the_one_with(inputs, outputs, side, up):
    torch.manual_seed(0)
    layer = StyledConv(inputs, outputs, 8, up=up)
    torch.nn.init.normal_(layer.noise.weight)
    torch.nn.init.normal_(layer.activate.bias)
    x, w = torch.randn(2, inputs, side, side), torch.randn(2, 8)
    noise = torch.randn(1, 1, *(2 * [2 * side if up else side]))
    theirs = layer(x, w, noise)
    with torch.no_grad():
        before = x.clone()
        assert apart(layer(x, w, noise), theirs) < 1e-5
        layer.conv.prepare(side)
        assert apart(layer(x, w, noise), theirs) < 1e-5
        assert torch.equal(x, before)
        layer.conv.weight.mul_(torch.rand_like(layer.conv.weight))
        changed = layer(x, w, noise)
    assert apart(changed, layer(x, w, noise)) < 1e-5
    assert apart(changed, theirs) > 1e-3
