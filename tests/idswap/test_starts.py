"""Starts of our trainings: a mapper that is nearly the projector, an identity head that is the recogniser."""

from __future__ import annotations

import pytest
import torch

from encoders.compact import CompactE4E, IdentityNet, resized
from idswap.compact import CompactAttributes, CompactSwapEncoder
from idswap.models import CodeMapper
from idswap.starts import centred_thumbnails, compact_recogniser, from_projector
from workbench.errors import BadCheckpoint

DIM = 20


@pytest.fixture
def projector() -> CompactE4E:
    torch.manual_seed(0)
    made = CompactE4E(16, style_dim=16, widths=(4, 8), thumbnail=4, bottleneck=8)
    torch.nn.init.normal_(made.deltas.bias, std=0.1)
    return made.eval()


@torch.inference_mode()
@pytest.mark.parametrize("unit", [False, True])
def test_the_mapper_starts_as_the_projector_whatever_the_identity_is(projector: CompactE4E, unit: bool) -> None:
    torch.manual_seed(1)
    image = torch.rand(64, 3, 16, 16) * 2 - 1
    codes = projector(image)
    # As many components as the code has numbers: nothing may be lost but what unit rows lose.
    encoder = CompactAttributes((4, 8), input_size=16, dim=16, thumbnail=4).eval()
    mapper = CodeMapper([6 + 16, 8, 16], rows=6, rank=2, skip=16)
    torch.nn.init.zeros_(mapper.mapper.model[-1].weight)  # pyright: ignore[reportArgumentType]
    from_projector(encoder.head, mapper, projector, codes, unit=unit)
    centred_thumbnails(encoder.head, resized(image, 4))
    read = encoder(image)
    if unit:
        read = torch.nn.functional.normalize(read, dim=1)
    got = mapper(torch.randn(64, 6), read)
    apart = (got - codes).square().mean() / (codes - codes.mean(0)).square().mean()
    assert apart < (0.1 if unit else 1e-4)
    assert torch.equal(got, mapper(torch.randn(64, 6), read))


def test_a_start_needs_the_parts_that_hold_it(projector: CompactE4E) -> None:
    encoder = CompactAttributes((4, 8), input_size=16, dim=16, thumbnail=4)
    with pytest.raises(BadCheckpoint, match="skip"):
        from_projector(encoder.head, CodeMapper([22, 8, 16], rows=6), projector, torch.zeros(4, 6, 16), unit=False)


@torch.inference_mode()
def test_the_identity_head_starts_as_the_recogniser() -> None:
    torch.manual_seed(2)
    known = IdentityNet((4, 8), input_size=32, dim=6, crop=(0.25, 0.25, 0.75, 0.75)).eval()
    encoder = CompactSwapEncoder(
        (4, 8), input_size=64, identity=6, attributes=5, thumbnail=8, canvas=(0, 0, 1, 1), window=(4, 12)
    ).eval()
    image = torch.zeros(3, 3, 64, 64)
    # Nothing lies at the crop's border, where the recogniser sees padding and the encoder the picture.
    image[:, :, 24:40, 24:40] = torch.randn(3, 3, 16, 16)
    before = (encoder(image)[0] * known(image)).sum(1)
    compact_recogniser(encoder, known)
    after = (encoder(image)[0] * known(image)).sum(1)
    assert before.abs().max() < 0.95
    assert after.min() > 0.99
    with pytest.raises(BadCheckpoint, match="other widths"):
        compact_recogniser(CompactSwapEncoder((4, 4), input_size=64, identity=6, attributes=5), known)


def test_only_the_window_reaches_the_identity() -> None:
    torch.manual_seed(3)
    encoder = CompactSwapEncoder((4, 8), input_size=64, identity=6, attributes=5, window=(4, 12)).eval()
    image = torch.randn(1, 3, 64, 64, requires_grad=True)
    encoder(image)[0].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum((0, 1)) > 0
    assert seen[32, 32]
    assert not seen[:2].any()
