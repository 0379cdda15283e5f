"""Our component auto-encoder: what each part may see and change."""

from __future__ import annotations

import pytest
import torch

from iafaces.model import Code, Gate
from iafaces.regions import soft_masks
from tests.iafaces import tiny
from workbench.errors import BadImage


def images() -> torch.Tensor:
    return torch.stack([tiny.picture(seed) for seed in (1, 2)])


def test_the_content_never_sees_a_component() -> None:
    model, image = tiny.model(), images()
    masks = soft_masks(tiny.SIZE, 0.03, 0.015)
    # Only pixels that the masks cover wholly; their edge is shared with the content on purpose.
    other = torch.where(masks.sum(0) >= 1, images().flip(0), image)
    assert not torch.equal(other, image)
    first, second = model.encode(image), model.encode(other)
    assert torch.allclose(first.content, second.content, atol=1e-5)
    assert not torch.allclose(first.nodes, second.nodes, atol=1e-3)


def test_an_embedding_sees_its_own_component_only() -> None:
    model, image = tiny.model(), images()
    masks = soft_masks(tiny.SIZE, 0.03, 0.015)
    other = torch.where(masks[3] >= 1, -image, image)
    first, second = model.encode(image).nodes, model.encode(other).nodes
    assert torch.allclose(first[:, :2], second[:, :2], atol=1e-5)
    assert not torch.allclose(first[:, 3], second[:, 3], atol=1e-3)


def test_embeddings_have_the_learned_size() -> None:
    nodes = tiny.model().encode(images()).nodes
    assert torch.allclose(nodes.square().mean(2).sqrt(), torch.ones(2, 4), atol=1e-3)


def test_a_mirrored_face_has_its_eyes_exchanged() -> None:
    model, image = tiny.model(), images()
    nodes, mirrored = model.encode(image).nodes, model.encode(image.flip(3)).nodes
    assert torch.allclose(nodes[:, 0], mirrored[:, 1], atol=1e-4)
    assert torch.allclose(nodes[:, 1], mirrored[:, 0], atol=1e-4)


def test_a_component_changes_its_own_side_of_the_picture() -> None:
    model = tiny.model()
    code = model.encode(images())
    nodes = code.nodes.clone()
    nodes[:, 0] = nodes[:, 0].flip(0)
    change = (model.decode(Code(code.content, nodes)) - model.decode(code)).square().sum([0, 1])
    columns = change.sum(0)
    assert change.sum() > 0
    assert columns[: tiny.SIZE // 2].sum() > 5 * columns[tiny.SIZE // 2 :].sum()


def test_layouts_and_gates_of_a_component_end_with_its_mask() -> None:
    decoder, masks = tiny.model().decoder, soft_masks(16, 0.03, 0.015)
    nodes = torch.randn(1, 4, tiny.DIM, generator=torch.Generator().manual_seed(0))
    beyond = masks.sum(0) == 0
    layout = decoder.layout(nodes, masks)
    assert layout[:, :, ~beyond].abs().sum() > 0
    assert layout[:, :, beyond].abs().sum() == 0
    gate = decoder.levels[0].gates[0]  # type: ignore[union-attr]
    x = torch.ones(1, 8, 16, 16)
    gated = gate(x, nodes, masks)
    assert torch.equal(gated[:, :, beyond], x[:, :, beyond])
    assert not torch.equal(gated, x)


def test_gates_begin_as_the_identity() -> None:
    gate = Gate(8, 6)
    x = torch.randn(2, 6, 16, 16)
    assert torch.equal(gate(x, torch.randn(2, 4, 8), soft_masks(16)), x)


def test_another_picture_size_is_refused() -> None:
    with pytest.raises(BadImage, match="32"):
        tiny.model().encode(torch.zeros(1, 3, 64, 64))
