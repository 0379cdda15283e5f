"""Fewer numbers per component: exact where the embeddings lie in few axes, and refused where there is nothing to save."""

from __future__ import annotations

import copy

import pytest
import torch

from iafaces.model import ComponentAutoencoder, Reader
from tests.iafaces import tiny
from training.condense import axes, condensed


def flat_model(rank: int) -> ComponentAutoencoder:
    """The tiny network with embeddings that use only ``rank`` directions, turned at random."""
    net = copy.deepcopy(tiny.model())
    for seed, reader in enumerate(net.encoder.readers.values()):
        assert isinstance(reader, Reader)
        turn = torch.linalg.qr(torch.randn(tiny.DIM, tiny.DIM, generator=torch.Generator().manual_seed(seed)))[0]
        plane = turn[:, :rank] @ turn[:, :rank].t()
        reader.head.weight.copy_(plane @ reader.head.weight)
        reader.head.bias.copy_(plane @ torch.randn(tiny.DIM))
        reader.gain.fill_(1.7)
    return net


def nodes_of(net: ComponentAutoencoder, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return net.encode(images).nodes


def test_embeddings_of_few_axes_lose_nothing() -> None:
    net = flat_model(3)
    images = torch.stack([tiny.picture(seed) for seed in range(12)])
    found = axes(nodes_of(net, images), 3)
    assert all(share == pytest.approx(1, abs=1e-5) for _, share in found.values())
    made, arch = condensed(net, tiny.ARCH, {kind: turn for kind, (turn, _) in found.items()})
    assert arch["encoder"]["dim"] == arch["decoder"]["dim"] == 3
    assert nodes_of(made, images).shape == (12, 4, 3)
    with torch.no_grad():
        assert torch.allclose(made(images), net(images), atol=1e-4)
        assert not torch.allclose(net(images), tiny.model()(images), atol=1e-2)


def test_exchanged_components_are_the_same_too() -> None:
    net = flat_model(4)
    images = torch.stack([tiny.picture(seed) for seed in range(8)])
    made, _ = condensed(net, tiny.ARCH, {k: t for k, (t, _) in axes(nodes_of(net, images), 4).items()})
    with torch.no_grad():
        pictures = []
        for network in (net, made):
            code = network.encode(images)
            nodes = code.nodes.clone()
            nodes[:, 3] = code.nodes.roll(1, 0)[:, 3]
            pictures.append(network.decode(type(code)(code.content, nodes)))
    assert torch.allclose(*pictures, atol=1e-4)


def test_too_few_axes_lose_something() -> None:
    net = flat_model(5)
    images = torch.stack([tiny.picture(seed) for seed in range(12)])
    found = axes(nodes_of(net, images), 2)
    assert all(share < 0.9999 for _, share in found.values())
