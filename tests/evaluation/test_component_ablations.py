"""The variants of the component network that are measured against each other: each differs in the one thing it is named for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from evaluation import component_ablations as ablations
from iafaces.model import Code, ComponentAutoencoder, Level
from iafaces.regions import BOXES
from tests.training import faces
from workbench.errors import BadRequest

DATA = {"zips": ["train.zip"], "labels": "train.csv", "val_zips": ["val.zip"], "val_labels": "val.csv"}


def network(name: str) -> ComponentAutoencoder:
    torch.manual_seed(0)
    net = ComponentAutoencoder(ablations.SIDE, encoder=ablations.ENCODER, decoder=ablations.DECODER)
    ablations.VARIANTS[name][0](net)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    return net.eval()


def pictures(count: int = 3) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, ablations.SIDE, ablations.SIDE, generator=draw) * 2 - 1


def with_another_nose(image: Tensor) -> Tensor:
    x0, y0, x1, y1 = (round(v * ablations.SIDE) for v in BOXES[2])
    changed = image.clone()
    changed[:, :, y0 + 3 : y1 - 3, x0 + 3 : x1 - 3] *= -1
    return changed


@torch.inference_mode()
def test_only_an_open_content_sees_the_components() -> None:
    image = pictures()
    for name, sees in (("ours", False), ("content sees the face", True)):
        encoder = network(name).encoder
        before, after = encoder(image), encoder(with_another_nose(image))
        assert torch.allclose(before.content, after.content, atol=1e-5) != sees
        assert not torch.allclose(before.nodes[:, 2], after.nodes[:, 2], atol=1e-3)


@torch.inference_mode()
def test_only_bounded_embeddings_have_one_length() -> None:
    image = pictures()
    for name, bounded in (("ours", True), ("embeddings unbounded", False)):
        length = network(name).encoder(image).nodes.square().mean(2).sqrt()[:, 3]
        assert torch.allclose(length, length[:1].expand(3), rtol=1e-3) == bounded


@torch.inference_mode()
def test_an_ungated_picture_lets_a_component_change_all_of_it() -> None:
    image, far = pictures(), {}
    for name in ("ours", "ToRGB not gated"):
        net = network(name)
        for level in net.decoder.levels:  # the way into the picture alone: the features stay
            assert isinstance(level, Level)
            for gate in level.gates[:2]:
                for value in gate.parameters():
                    nn.init.zeros_(value)
        for seed in net.decoder.seeds.values():
            nn.init.zeros_(seed.end.weight)  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
        code = net.encode(image)
        nodes = code.nodes.clone()
        nodes[:, 3] = nodes[:, 3].roll(1, 0)
        change = net.decode(Code(code.content, nodes)) - net.decode(code)
        far[name] = float(change[:, :, : ablations.SIDE // 4].abs().max())
    assert far["ours"] == 0
    assert far["ToRGB not gated"] > 0


def test_hard_boxes_have_no_feather() -> None:
    net = network("hard boxes")
    assert (net.encoder.feather, net.decoder.feather) == (0, 0)
    assert network("ours").decoder.feather > 0


def test_a_part_is_like_the_one_it_is_a_copy_of() -> None:
    image = pictures(6)
    assert ablations.likeness(image + 0.3, image, 3) == pytest.approx(1, abs=1e-5)  # colour does not count
    assert abs(ablations.likeness(image, image.roll(1, 0), 3)) < 0.3


def test_variants_are_trained_measured_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faces.write(tmp_path, size=ablations.SIDE)
    monkeypatch.setattr(ablations, "DATA", DATA)
    monkeypatch.setattr(ablations.trained, "__defaults__", (DATA,))
    out = tmp_path / "runs" / "found.jsonl"
    words = ["--faces", str(tmp_path), "--steps", "2", "--count", "4", "--out", str(out), "--variants"]
    assert ablations.main([*words, "ours", "no exchanges in training"]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["variant"] for one in lines] == ["ours", "no exchanges in training"]
    assert lines[0]["psnr"] != lines[1]["psnr"]
    assert capsys.readouterr().out.count("\n| ours |") == 1
    before = out.read_text()
    assert ablations.main([*words, "ours"]) == 0
    assert out.read_text() == before
    with pytest.raises(BadRequest, match="no variant 'mine'"):
        ablations.main([*words, "mine"])
