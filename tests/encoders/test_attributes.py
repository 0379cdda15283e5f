"""CelebA's names, and the attribute + age classifier: keys, stacked heads, age groups."""

from __future__ import annotations

import pytest
import torch

from encoders.attributes import AGE_GROUPS, CELEBA_ATTRIBUTES, AttributeAgeClassifier
from tests.encoders.keys import ours, published


@pytest.fixture(scope="module")
def small() -> AttributeAgeClassifier:
    torch.manual_seed(0)
    network = AttributeAgeClassifier(18)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.startswith("attr_heads") and "running_mean" in name:
                value.normal_(0, 0.1)
            if name.startswith("attr_heads") and "running_var" in name:
                value.uniform_(0.5, 2)
    return network.eval()


def test_names_are_celebas_in_their_order():
    assert len(CELEBA_ATTRIBUTES) == len(set(CELEBA_ATTRIBUTES)) == 40
    chosen = [CELEBA_ATTRIBUTES[index] for index in (15, 20, 31, 33, 39)]
    assert chosen == ["Eyeglasses", "Male", "Smiling", "Wavy_Hair", "Young"]
    assert CELEBA_ATTRIBUTES[1:] == tuple(sorted(CELEBA_ATTRIBUTES[1:]))


def test_keys_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        assert ours(AttributeAgeClassifier()) == published("sdflow_classifier_r34")


def test_pictures_of_any_size_are_read_at_256(small: AttributeAgeClassifier):
    image = torch.rand(1, 3, 128, 128) * 2 - 1
    larger = torch.nn.functional.interpolate(image, size=(256, 256), mode="bilinear", antialias=True)
    with torch.inference_mode():
        logits = small(image)
        assert logits.shape == (1, 46)
        assert torch.equal(logits, small(larger))
        assert torch.equal(logits[:, :40], small.attributes(image))
        assert torch.equal(logits[:, 40:], small.age(image))


def test_stacked_heads_agree_with_the_heads(small: AttributeAgeClassifier):
    features = torch.randn(3, 512, generator=torch.Generator().manual_seed(1))
    small.stack_heads()
    assert small.stacked is not None
    with torch.inference_mode():
        one_by_one = torch.cat([head(features) for head in small.attr_heads], dim=1)
        torch.testing.assert_close(small.stacked(features), one_by_one, atol=1e-5, rtol=1e-4)
    assert not any(key.startswith("stacked") for key in small.state_dict())


def test_stacked_heads_are_dropped_when_they_would_go_stale():
    with torch.device("meta"):
        network = AttributeAgeClassifier(18).eval()
        network.stack_heads()
        network.load_state_dict(network.state_dict())
        assert network.stacked is None
        network.stack_heads()
        network.eval()
        assert network.stacked is not None
        network.train()
    assert network.stacked is None


@pytest.mark.parametrize("group", range(7))
def test_age_group_is_the_number_of_bits_above_one_half(group: int):
    logits = torch.full((1, 46), -0.5)
    logits[0, 40 : 40 + group] = 0.5
    assert AttributeAgeClassifier.age_group(logits).item() == group
    assert len(AGE_GROUPS) == 7


def test_decisions_are_the_row_the_official_editor_reads():
    logits = torch.full((1, 46), -1.0)
    logits[0, [15, 39, 40, 41]] = 1.0
    row = AttributeAgeClassifier.decisions(logits)
    assert row.shape == (1, 41)
    assert row[0].nonzero().flatten().tolist() == [15, 39, 40]
    assert row[0, 40] == 2
