"""The published networks: sizes, keys, checkpoints, boxes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from iafaces import checkpoint
from iafaces.official import ENCODERS, PublishedDecoder, PublishedDiscriminator, PublishedEncoder
from iafaces.regions import grid_boxes
from workbench.errors import BadImage


def count(module: nn.Module) -> tuple[int, int]:
    return len(module.state_dict()), sum(p.numel() for p in module.parameters())


def test_sizes_are_those_of_the_published_networks() -> None:
    with torch.device("meta"):
        assert count(PublishedEncoder.published(256)) == (43, 15_363_840)
        assert count(PublishedEncoder.published(1024)) == (55, 10_741_248)
        assert count(PublishedDecoder.published(256, cam=False)) == (100, 31_413_533)
        assert count(PublishedDecoder.published(256, cam=True)) == (144, 30_048_029)
        assert count(PublishedDecoder.published(1024, cam=False)) == (118, 20_322_562)
        assert count(PublishedDecoder.published(1024, cam=True)) == (196, 23_406_562)
        assert count(PublishedDiscriminator.published(256)) == (50, 26_319_361)
        assert count(PublishedDiscriminator.published(1024)) == (64, 26_391_041)


def test_another_picture_size_is_refused() -> None:
    encoder = PublishedEncoder(64, (4, 4, 4), content=4, feats_dim=4)
    with pytest.raises(BadImage, match="64x64"):
        encoder(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize("saved_as", ["layers.", "layers2."])
def test_both_names_of_the_heads_load(saved_as: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arch = {"size": 64, "widths": (4, 4), "content": 4, "components": 4, "feats_dim": 4}
    monkeypatch.setitem(ENCODERS, 1024, arch)  # type: ignore[arg-type]
    monkeypatch.setattr(
        PublishedDecoder,
        "published",
        lambda size, cam, legacy_boxes: PublishedDecoder(
            16, (4, 4, 4), content=4, cam=cam, style="wrapped", feats_dim=4
        ),
    )
    torch.manual_seed(0)
    encoder = PublishedEncoder(**arch)  # type: ignore[arg-type]
    decoder = PublishedDecoder(16, (4, 4, 4), content=4, cam=True, style="wrapped", feats_dim=4)
    state = {k.replace("layers2.", saved_as): v for k, v in encoder.state_dict().items()}
    net = checkpoint.from_state({"e_ema": state, "g_ema": decoder.state_dict(), "config": None})
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(net.encode(image).nodes, encoder(image)[1])
    assert net.decode(net.encode(image)).shape == image.shape


def energy_inside(legacy: bool, component: int) -> float:
    """Share of the squared change inside the component's box when its embedding changes; ToRGB's global style is kept still."""
    torch.manual_seed(3)
    decoder = PublishedDecoder(
        8, (16, 16, 16, 16, 16), content=16, cam=True, style="none", feats_dim=16, legacy_boxes=legacy
    ).eval()
    for name, parameter in decoder.named_parameters():
        if "to_rgb" in name and "modulation_new.weight" in name:
            parameter.data.zero_()
    total = inside = 0.0
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        content = torch.randn(1, 16, 8, 8, generator=generator)
        nodes = torch.randn(1, 4, 16, generator=generator)
        other = nodes.clone()
        other[:, component] = torch.randn(1, 16, generator=generator)
        with torch.no_grad():
            change = (decoder(content, other) - decoder(content, nodes)).square().sum(1)[0]
        x0, y0, x1, y1 = grid_boxes(128)[component]
        total += float(change.sum())
        inside += float(change[y0:y1, x0:x1].sum())
    return inside / total


@pytest.mark.parametrize("component", range(4))
def test_gates_act_in_their_boxes_and_the_released_ones_beside_them(component: int) -> None:
    right, released = energy_inside(False, component), energy_inside(True, component)
    assert right > 0.4
    assert released < 0.5 * right
