"""The published parser, classifier tree and LPIPS by their keys, and the compact parser."""

from __future__ import annotations

import pytest
import torch

from encoders.attribute_tree import PARENTS, TREE_ATTRIBUTES, AttributeTree
from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.compact_parser import CompactParser
from encoders.lpips import LPIPS
from encoders.parser import FACE_CLASSES, FaceParser
from tests.encoders.keys import ours, published


def test_keys_are_the_authors() -> None:
    with torch.device("meta"):
        made = {"maskfacegan_parser": FaceParser(), "maskfacegan_classifier": AttributeTree()}
    for name, module in made.items():
        assert ours(module) == published(name)
    assert ours(LPIPS("alex")) == published("lpips_alex")
    assert ours(LPIPS("vgg")) == published("maskfacegan_lpips_given_heads")


def test_the_training_loss_is_dropped_from_the_authors_file() -> None:
    state = {"model.a": torch.ones(1), "loss.weight": torch.ones(9)}
    assert set(FaceParser.strip(state)) == {"model.a"}


@torch.inference_mode()
def test_the_tree_answers_in_celebas_order_and_can_be_pruned() -> None:
    torch.manual_seed(0)
    tree, image = AttributeTree(4, 64, 8).eval(), torch.rand(2, 3, 80, 80) * 2 - 1
    whole = tree(image)
    assert sorted(TREE_ATTRIBUTES) == sorted(CELEBA_ATTRIBUTES)
    assert [len(PARENTS[level]) for level in ("06-11", "11-12", "12-13", "13-14", "14-15")] == [2, 3, 10, 18, 33]
    part = tree.tree_logits(image, [TREE_ATTRIBUTES.index("Smiling"), TREE_ATTRIBUTES.index("Male")])
    wanted = whole[:, [CELEBA_ATTRIBUTES.index("Smiling"), CELEBA_ATTRIBUTES.index("Male")]]
    assert torch.equal(part, wanted)


@torch.inference_mode()
def test_parsers_give_nine_classes_at_their_own_size() -> None:
    for parser in (FaceParser(32, width=4, head=8), CompactParser((4, 8), (8,), input_size=32)):
        for side in (16, 32, 48):
            assert parser.eval()(torch.zeros(1, 3, side, side)).shape == (1, len(FACE_CLASSES), 32, 32)
    with pytest.raises(ValueError, match="decoder widths"):
        CompactParser((4, 8, 16), (8,))


@torch.inference_mode()
def test_lpips_is_zero_for_one_picture_and_a_mask_weighs_it() -> None:
    torch.manual_seed(0)
    network = LPIPS("alex").eval()
    for head in network.lins:
        head.load_state_dict({"model.1.weight": torch.rand_like(head.state_dict()["model.1.weight"])})
    a, b = torch.rand(2, 1, 3, 64, 64) * 2 - 1
    assert float(network(a, a)) == 0
    assert float(network(a, b)) > 0
    assert float(network(a, b, torch.zeros(1, 1, 64, 64))) == 0
    assert torch.allclose(network(a, b, torch.full((1, 1, 64, 64), 0.5)), network(a, b) / 2)
