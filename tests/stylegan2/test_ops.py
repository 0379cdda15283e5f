"""The operations: the fast forms equal the reference forms, and their gradients are right to second order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from stylegan2 import ops
from stylegan2.fir import separable_taps
from tests.stylegan2.small import apart

TAPS = st.lists(st.floats(-3, 3, width=32).filter(lambda v: abs(v) > 0.1), min_size=1, max_size=6)


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    column=TAPS,
    row=TAPS,
    up=st.integers(1, 3),
    down=st.integers(1, 3),
    before=st.integers(-2, 5),
    after=st.integers(-2, 5),
    sides=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    last=st.booleans(),
)
def test_upfirdn2d_equals_its_reference(column, row, up, down, before, after, sides, last):
    x = rand(2, 3, *sides)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    kernel = torch.outer(torch.tensor(column), torch.tensor(row))
    if any(s * up + before + after < n for s, n in zip(sides, kernel.shape, strict=True)):
        return
    ours = ops.upfirdn2d(x, kernel, up, down, (before, after))
    theirs = ops.upfirdn2d_reference(x, kernel, up, down, (before, after))
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_upfirdn2d_filters_with_the_kernel_turned_around():
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1
    kernel = torch.outer(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 5.0, 7.0]))
    torch.testing.assert_close(ops.upfirdn2d(x, kernel, pad=(1, 1))[0, 0, 1:4, 1:4], kernel)


def test_a_kernel_without_factors_goes_the_reference_way():
    kernel = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert separable_taps(kernel) is None
    x = rand(1, 2, 6, 6)
    ours, theirs = ops.upfirdn2d(x, kernel, 2, 1, (1, 0)), ops.upfirdn2d_reference(x, kernel, 2, 1, (1, 0))
    torch.testing.assert_close(ours, theirs)


def test_a_kernel_whose_values_cancel_is_still_separated():
    kernel = torch.outer(torch.tensor([1.0, -1.0]), torch.tensor([2.0, -2.0]))
    x = rand(1, 2, 6, 6)
    assert separable_taps(kernel) is not None
    torch.testing.assert_close(ops.upfirdn2d(x, kernel), ops.upfirdn2d_reference(x, kernel))


def test_a_filter_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        ops.upfirdn2d(rand(1, 1, 2, 2), ops.make_kernel([1, 3, 3, 1]))


@pytest.mark.parametrize(
    ("up", "down", "pad"), [(1, 1, (2, 1)), (2, 1, (2, 1)), (1, 2, (1, 1)), (3, 2, (-1, 2)), (2, 3, (3, 2))]
)
def test_upfirdn2d_gradients(up, down, pad):
    kernel = torch.outer(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 3.0, 3.0, 1.0]))
    x = rand(1, 2, 5, 4).requires_grad_()

    def call(x):
        return ops.upfirdn2d(x, kernel, up, down, pad)

    assert gradcheck(call, (x,))
    assert gradgradcheck(call, (x,))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5)])
def test_activation_equals_its_reference_with_and_without_bias(shape):
    x, bias = rand(*shape), rand(3, seed=1)
    torch.testing.assert_close(ops.bias_leaky_relu(x, bias), ops.bias_leaky_relu_reference(x, bias))
    torch.testing.assert_close(ops.bias_leaky_relu(x), ops.bias_leaky_relu_reference(x))


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5)])
def test_activation_gradients(shape):
    x, bias = rand(*shape).requires_grad_(), rand(3, seed=1).requires_grad_()
    assert gradcheck(ops.bias_leaky_relu, (x, bias))
    assert gradgradcheck(ops.bias_leaky_relu, (x, bias))


def test_activation_leaves_its_input_alone():
    x = rand(2, 3, 4, 4)
    before = x.clone()
    ops.bias_leaky_relu(x, rand(3))
    assert torch.equal(x, before)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize("side", [1, 3])
def test_modulated_convolution_equals_its_reference(up, demodulate, side):
    x, weight, style = rand(3, 4, 6, 5), rand(7, 4, side, side, seed=1), rand(3, 4, seed=2)
    ours = ops.modulated_conv2d(x, weight, style, demodulate=demodulate, up=up)
    theirs = ops.modulated_conv2d_reference(x, weight, style, demodulate=demodulate, up=up)
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("up", [False, True])
def test_modulated_convolution_gradients(up):
    inputs = (rand(2, 2, 3, 3), rand(2, 2, 3, 3, seed=1), rand(2, 2, seed=2))
    inputs = tuple(t.requires_grad_() for t in inputs)

    def call(x, weight, style):
        return ops.modulated_conv2d(x, weight, style, demodulate=True, up=up)

    assert gradcheck(call, inputs)
    assert gradgradcheck(call, inputs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_no_operation_leaves_the_dtype_of_its_input(dtype):
    # A float64 anywhere fails on MPS, a silent float32 doubles the memory of bfloat16.
    x = torch.randn(1, 4, 6, 6, dtype=dtype)
    assert ops.upfirdn2d(x, ops.make_kernel([1, 3, 3, 1]), 2, 1, (2, 1)).dtype == dtype
    assert ops.bias_leaky_relu(x, torch.zeros(4)).dtype == dtype
    assert ops.modulated_conv2d(x, torch.ones(4, 4, 3, 3), torch.ones(1, 4), demodulate=True).dtype == dtype


def test_forms_are_close_enough_in_float32():
    x, weight, style = (t.float() for t in (rand(2, 16, 8, 8), rand(16, 16, 3, 3, seed=1), rand(2, 16, seed=2)))
    ours = ops.modulated_conv2d(x, weight, style, demodulate=True)
    assert apart(ours, ops.modulated_conv2d_reference(x, weight, style, demodulate=True)) < 1e-5
