"""Recognisers that verify: the family's own, one of another file, and MobileFaceNet, which cuts the face out itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import cli
from data import container
from encoders.mobilefacenet import MobileFaceNet
from tests.tiny_family import ARCH, network
from tests.workbench.test_swapping import photo, write_swapping
from workbench.engine import Engine
from workbench.errors import BadCheckpoint, BadRequest
from workbench.face import AlignedFace, CropTransform, Detection, Photo
from workbench.judges import MEAN_POINTS, five_points, judge_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swapping(tmp_path_factory.mktemp("swapping"))


@pytest.fixture(scope="module")
def mobile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("judge") / "mobile.ckpt"
    torch.save({"iter": 1, "net_state_dict": MobileFaceNet().state_dict()}, path)
    return path


def picture() -> torch.Tensor:
    return torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_mobilefacenet_looks_where_the_points_are(manifest: Path, mobile: Path):
    judge = judge_of(Engine(family_file=manifest), mobile)
    assert judge.independent
    assert judge.id.startswith("mobilefacenet ")
    image = picture()
    row = judge.embed(image, CPU)
    assert float(row.norm()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(row, judge.embed(image, CPU, MEAN_POINTS))
    moved = MEAN_POINTS + np.array([0.1, 0.0])
    assert not torch.allclose(row, judge.embed(image, CPU, moved), atol=1e-4)
    # The same face a tenth further to the right, looked at a tenth further to the right.
    shifted = torch.roll(image, 6, 2)
    there = judge.embed(shifted, CPU, MEAN_POINTS + np.array([6 / 64, 0.0]))
    assert float(there @ row) > 0.999


def test_the_family_s_own_is_not_independent_and_is_refused_as_a_file(manifest: Path, tmp_path: Path):
    engine = Engine(family_file=manifest)
    assert not judge_of(engine, None).independent
    with pytest.raises(BadRequest, match="trained with"):
        judge_of(engine, manifest.parent / "tiny" / "identity.safetensors")
    state = {name: value + 0.01 for name, value in network("identity").state_dict().items()}
    made = container.save(tmp_path / "other.safetensors", state, {"kind": "identity", "arch": ARCH["identity"]})
    judge = judge_of(engine, tmp_path / "other.safetensors")
    assert (judge.id, judge.independent) == (made, True)
    (tmp_path / "none.ckpt").write_bytes(b"nothing")
    with pytest.raises(BadCheckpoint):
        judge_of(engine, tmp_path / "none.ckpt")


def test_points_of_a_detection_are_parts_of_the_crop():
    quad = np.array([[10.0, 20], [10, 60], [50, 60], [50, 20]])
    five = np.array([[20.0, 40], [40, 40], [30, 50], [22, 55], [38, 55]])
    face = AlignedFace(
        Photo(np.zeros((80, 80, 3), np.uint8)),
        np.zeros((32, 32, 3), np.uint8),
        CropTransform(quad, 32),
        Detection((0, 0, 1, 1), five, None, 1.0),
    )
    found = five_points(face)
    assert found is not None
    assert np.allclose(found, (five - [10, 20]) / 40)


def test_de_identification_reports_the_judge_of_the_file(
    manifest: Path, mobile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "photos"
    folder.mkdir()
    photo(folder / "a.png", 1)
    words = ["deidentify", str(folder), "--key", str(tmp_path / "key"), "--out", str(tmp_path / "out"), "--aligned"]
    words += ["--manifest", str(manifest), "--mode", "rotate", "--judge", str(mobile), "--json"]
    assert cli.main(words) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])["report"]
    assert report["judge"].startswith("mobilefacenet ")
    assert report["judge_independent"]
    assert report["after"]["count"] == 1
