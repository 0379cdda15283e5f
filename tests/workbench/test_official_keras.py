"""Keras' files of the TensorFlow identity swap: matched by shape, on tables of arrays as h5py gives them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.encoders.keys import published
from workbench.errors import BadCheckpoint
from workbench.official.files import HDF5, open_file
from workbench.official.keras import convolutions, match


def dense(sides: tuple[int, ...], names: list[str]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, inputs, outputs in zip(names, sides, sides[1:], strict=False):
        found[f"{name}/{name}/kernel:0"] = torch.randn(inputs, outputs)
        found[f"{name}/{name}/bias:0"] = torch.randn(outputs)
    return found


def test_a_mapper_is_matched_whatever_its_layers_are_called() -> None:
    found = dense((2560, 2048, 1024, 512, 512), ["dense_9", "x", "dense", "a"])
    told = match(dict(reversed(found.items())))
    assert told is not None
    kind, state = told
    assert kind == "idswap_mapper"
    assert {key: tuple(value.shape) for key, value in state.items()} == published("idswap_mapper")
    x = torch.randn(3, 2560)
    ours = nn.functional.linear(x, state["model.0.weight"], state["model.0.bias"])
    assert torch.allclose(
        ours, x @ found["dense_9/dense_9/kernel:0"] + found["dense_9/dense_9/bias:0"], rtol=1e-4, atol=1e-3
    )
    # The two layers with 512 outputs are told apart by their inputs, their biases by their group.
    assert torch.equal(state["model.4.bias"], found["dense/dense/bias:0"])
    assert torch.equal(state["model.6.bias"], found["a/a/bias:0"])


def test_a_discriminator_of_w_is_matched() -> None:
    told = match(dense((512, 256, 128, 64, 1), ["a", "b", "c", "d"]))
    assert told is not None
    assert told[0] == "w_discriminator"
    assert {key: tuple(value.shape) for key, value in told[1].items()} == published("idswap_wdisc")


@pytest.mark.parametrize("sides", [(2560, 2048, 1024, 512), (2560, 2048, 1024, 512, 511), (512, 256, 128, 64, 2)])
def test_other_shapes_are_not_guessed(sides: tuple[int, ...]) -> None:
    assert match(dense(sides, ["a", "b", "c", "d"])) is None


def inception() -> dict[str, Tensor]:
    """Arrays as Keras keeps them, numbered as it numbers layers, in an order that means nothing."""
    shapes = published("nitzan_attr_inception")
    found: dict[str, Tensor] = {}
    for index, name in enumerate(convolutions()):
        outputs, inputs, height, width = shapes[f"{name}.conv.weight"]
        number = f"_{index}" if index else ""
        found[f"inception_v3/conv2d{number}/kernel:0"] = torch.full((height, width, inputs, outputs), float(index))
        for part, value in (("beta", 1.0), ("moving_mean", 2.0), ("moving_variance", 3.0)):
            found[f"inception_v3/batch_normalization{number}/{part}:0"] = torch.full((outputs,), value)
    return dict(sorted(found.items()))


def test_the_attribute_encoder_is_matched_by_the_order_of_its_layers() -> None:
    told = match(inception())
    assert told is not None
    kind, state = told
    assert kind == "attribute_encoder"
    assert {key: tuple(value.shape) for key, value in state.items()} == published("nitzan_attr_inception")
    for index, name in enumerate(convolutions()):
        assert state[f"{name}.conv.weight"].flatten()[0] == index
    assert state["model.0.bn.running_var"][0] == 3


def test_a_layer_that_is_missing_is_noticed() -> None:
    found = inception()
    del found["inception_v3/conv2d_17/kernel:0"]
    assert match(found) is None
    found = inception()
    del found["inception_v3/batch_normalization_17/beta:0"]
    assert match(found) is None


def test_without_h5py_the_file_is_refused_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "mapper.h5").write_bytes(HDF5 + bytes(500))
    with pytest.raises(BadCheckpoint, match="pip install h5py"):
        open_file(tmp_path / "mapper.h5")
