"""ResNet: torchvision's keys, sizes, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from encoders.resnet import ResNet
from tests.encoders.keys import ours, published


@pytest.mark.parametrize(("depth", "name"), [(34, "sdflow_estimator_r34"), (50, "sdflow_estimator_r50")])
def test_keys_and_shapes_are_the_published_ones(depth: int, name: str):
    with torch.device("meta"):
        network = ResNet(depth, 3)
    assert {f"backbone.{key}": shape for key, shape in ours(network).items()} == published(name)


@pytest.mark.parametrize(
    ("depth", "parameters"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160)]
)
def test_number_of_parameters_is_torchvisions(depth: int, parameters: int):
    with torch.device("meta"):
        network = ResNet(depth)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(("depth", "features"), [(18, 64), (50, 256)])
def test_features_and_outputs_have_the_promised_shapes(depth: int, features: int):
    network = ResNet(depth, 7, width=8).eval()
    image = torch.rand(2, 3, 48, 64)
    assert network.n_features == features
    assert network.features(image).shape == (2, features)
    assert network(image).shape == (2, 7)


def test_without_outputs_the_features_come_back():
    network = ResNet(18, None, width=8).eval()
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(network(image), network.features(image))
    assert not any(key.startswith("fc.") for key in network.state_dict())


def test_gradients_reach_the_first_layer():
    network = ResNet(18, 2, width=8)
    network(torch.rand(2, 3, 32, 32)).sum().backward()
    gradient = network.conv1.weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_another_depth_is_refused():
    with pytest.raises(ValueError, match="depth must be one of"):
        ResNet(42)


@pytest.mark.parametrize("image", [torch.rand(3, 32, 32), torch.rand(1, 4, 32, 32), torch.zeros(1, 3, 32, 32).byte()])
def test_what_is_no_batch_of_images_is_refused(image: torch.Tensor):
    with pytest.raises(ValueError, match="expected float images"):
        ResNet(18, 2, width=8)(image)
