"""``evaluate idswap`` on tiny random networks: every number is there, pairs are fixed, and what swaps fully is seen to."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import cli
from data import container
from evaluation import idswap, swap_measure
from evaluation.swap_faces import generated_pairs, photo_pairs
from idswap.swap import Strengths
from tests.workbench.test_swapping import photo, write_swapping
from workbench.engine import Engine
from workbench.errors import BadImage, BadRequest
from workbench.export import read_provenance
from workbench.face import Face
from workbench.swapping import Base, Swapping


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swapping(tmp_path_factory.mktemp("swapping"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for at in range(9):
        photo(folder / f"{at}.png", at)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_the_command_prints_one_object_with_every_number(
    manifest: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["evaluate", "idswap", "--pairs", "4", "--faces", str(photos), "--manifest", str(manifest)]
    assert cli.main([*command, "--json", "--sheet", str(tmp_path / "sheet.png")]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["judge"]["independent"] is False
    assert body["peak_mib"] > 0
    assert set(body["sets"]) == {"photos", "generated"}
    one = body["sets"]["photos"]
    assert one["pairs"] == 4
    # All are opened for comparison, so the broken one is named.
    assert any("broken.png" in text for text in one["left_out"])
    assert set(one["results"]) == {"nitzan/w", "nitzan/photo", "zhou/w", "zhou/photo"}
    for label, found in one["results"].items():
        assert found["identity"]["similarity"]["n"] == 4
        low, value, high = (found["identity"]["similarity"][key] for key in ("low", "value", "high"))
        assert low <= value <= high
        assert found["seconds"]["encode"] > 0
        assert found["seconds"]["swap"] > 0
        assert found["quality"]["fd_own"]["value"] is not None
        # A swap of a face with itself that starts from the photo is the photo.
        assert (found["reconstruction"]["mse"]["value"] == 0) == label.endswith("photo")
        assert found["shape"]["yaw_correlation"]["n"] == 0  # the tiny family has no landmark network
    unchanged = one["references"]["attribute_picture"]["identity"]
    assert unchanged["leak"]["value"] == pytest.approx(1, abs=1e-5)
    assert unchanged["closer"]["value"] == 0
    for kind in body["sets"]:
        with Image.open(tmp_path / f"sheet-{kind}.png") as sheet:
            assert sheet.width == 7 * sheet.height // 4
    assert read_provenance((tmp_path / "sheet-photos.png").read_bytes()) is not None
    assert cli.main([*command, "--no-generated", "--methods", "zhou", "--bases", "w"]) == 0
    text = capsys.readouterr().out
    assert "zhou/w" in text
    assert "nitzan" not in text
    assert "flatters" in text


def result_of(monkeypatch: pytest.MonkeyPatch, manifest: Path, pick: str) -> dict[str, Any]:
    """The report's numbers when every result is one of its sources."""

    def fake(
        swapping: Swapping, method: str, base: Base, who: Sequence[Face], what: Sequence[Face], strengths: Strengths
    ) -> tuple[Tensor, dict[str, list[float]]]:
        faces = who if pick == "identity" else what
        return torch.stack([face.target for face in faces]), {"encode": [0.0], "swap": [0.0]}

    monkeypatch.setattr(swap_measure, "swapped", fake)
    plan = idswap.Plan(pairs=5, methods=("nitzan",), bases=("w",))
    body = idswap.measure(Engine(family_file=manifest), plan)
    return body["sets"]["generated"]["results"]["nitzan/w"]


def test_a_result_that_is_the_identity_picture_scores_fully_and_one_that_is_not_scores_nothing(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
):
    full = result_of(monkeypatch, manifest, "identity")
    for name in ("similarity", "closer", "top1"):
        assert full["identity"][name]["value"] == pytest.approx(1, abs=1e-4)
    none = result_of(monkeypatch, manifest, "attributes")
    assert none["identity"]["leak"]["value"] == pytest.approx(1, abs=1e-4)
    assert none["identity"]["closer"]["value"] == 0
    assert none["reconstruction"]["psnr"]["value"] > 50


def test_the_same_seed_gives_the_same_numbers_and_another_others(manifest: Path):
    def numbers(seed: int) -> dict[str, Any]:
        plan = idswap.Plan(pairs=3, seed=seed, methods=("zhou",), bases=("w",))
        found = idswap.measure(Engine(family_file=manifest), plan)["sets"]["generated"]["results"]["zhou/w"]
        return {**found, "seconds": None}

    assert numbers(1) == numbers(1)
    assert numbers(1)["identity"] != numbers(2)["identity"]


def test_weights_of_a_run_go_before_the_family(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tiny, run = manifest.parent / "tiny", tmp_path / "run"
    run.mkdir()
    shutil.copy(tiny / "nitzan_attributes.safetensors", run)
    state, header = container.load(tiny / "nitzan_mapper.safetensors")
    state = {name: value + 0.05 * torch.ones_like(value) for name, value in state.items()}
    changed = container.save(run / "nitzan_mapper.safetensors", state, {k: v for k, v in header.items() if k != "id"})
    command = ["evaluate", "idswap", "--pairs", "3", "--manifest", str(manifest), "--bases", "w", "--json"]
    assert cli.main(command) == 0
    plain = json.loads(capsys.readouterr().out)["sets"]["generated"]["results"]
    assert cli.main([*command, "--weights", str(run)]) == 0
    body = json.loads(capsys.readouterr().out)
    found = body["sets"]["generated"]["results"]
    assert set(found) == {"nitzan/w"}
    assert changed in found["nitzan/w"]["weights"]
    assert changed not in plain["nitzan/w"]["weights"]
    assert found["nitzan/w"]["reconstruction"] != plain["nitzan/w"]["reconstruction"]
    assert cli.main([*command, "--weights", str(tmp_path)]) == 1
    assert "holds no" in capsys.readouterr().err


def test_no_photo_is_in_two_pairs_while_there_are_enough(manifest: Path, photos: Path):
    engine = Engine(family_file=manifest)
    pairs = photo_pairs(engine, photos, 4, 0, 10)
    names = [face.photo.name for face in pairs.identities + pairs.attributes]  # pyright: ignore[reportAttributeAccessIssue]
    assert len(set(names)) == 8
    assert len(pairs.others) == 9  # one is left over, too few to compare with
    assert len(photo_pairs(engine, photos, 3, 0, 10).others) == 3
    again = photo_pairs(engine, photos, 4, 0, 10)
    assert [f.photo.name for f in again.identities] == names[:4]  # pyright: ignore[reportAttributeAccessIssue]
    few = photo_pairs(engine, photos, 9, 0, 10)
    assert len(few.identities) == 9
    for a, b in zip(few.identities, few.attributes, strict=True):
        assert a is not b
    assert len({id(face) for face in few.attributes}) == 9


def test_photos_come_from_folders_and_zips(manifest: Path, photos: Path, tmp_path: Path):
    engine = Engine(family_file=manifest)
    folder = tmp_path / "set"
    folder.mkdir()
    for name in ("faces-val-00.zip", "faces-train-00.zip"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            for path in sorted(photos.iterdir())[: 4 if "val" in name else 9]:
                archive.write(path, f"{name[6:9]}/{path.name}")
    for place, count in ((folder, 4), (folder / "faces-train-00.zip", 9), (photos, 9)):
        pairs = photo_pairs(engine, place, 9, 0, 0)
        assert len(pairs.identities) == count
    for wrong in (tmp_path / "none", photos / "broken.png", tmp_path):
        with pytest.raises(BadImage):
            photo_pairs(engine, wrong, 2, 0, 0)


def test_generated_faces_are_fixed_and_distinct(manifest: Path):
    first, again, other = (generated_pairs(Engine(family_file=manifest), 3, seed, 2) for seed in (0, 0, 1))
    pictures = [face.image for face in first.identities + first.attributes]
    assert len({image.tobytes() if isinstance(image, np.ndarray) else id(image) for image in pictures}) == 6
    for a, b in zip(first.identities, again.identities, strict=True):
        assert isinstance(a, Face)
        assert isinstance(b, Face)
        assert torch.equal(a.image, b.image)
    assert not torch.equal(first.others, other.others)


def test_a_family_without_a_projector_is_measured_in_w(manifest: Path, photos: Path, tmp_path: Path):
    family = tomllib.loads(manifest.read_text())
    assert "projector" in family["starter"]["files"]
    text = re.sub(r"\[starter\.files\.projector\]\n(?:[^\[\n].*\n|\n)*", "", manifest.read_text())
    shutil.copytree(manifest.parent / "tiny", tmp_path / "tiny")
    (tmp_path / manifest.name).write_text(text)
    engine = Engine(family_file=tmp_path / manifest.name)
    sheet = tmp_path / "sheet.png"
    plan = idswap.Plan(pairs=3, methods=("zhou",), bases=("w",), faces=photos, generated=False, sheet=sheet)
    found = idswap.measure(engine, plan)["sets"]["photos"]
    assert set(found["references"]) == {"attribute_picture"}
    assert found["results"]["zhou/w"]["identity"]["similarity"]["n"] >= 2
    assert (tmp_path / "sheet-photos.png").is_file()


def test_no_identity_at_all_leaves_the_attribute_pictures(manifest: Path):
    plan = idswap.Plan(pairs=3, methods=("zhou",), bases=("photo",), strengths=Strengths(0.0))
    found = idswap.measure(Engine(family_file=manifest), plan)["sets"]["generated"]["results"]["zhou/photo"]
    assert found["identity"]["leak"]["value"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "plan",
    [
        idswap.Plan(pairs=1),
        idswap.Plan(seed=-1),
        idswap.Plan(generated=False),
        idswap.Plan(strengths=Strengths(9.0)),
    ],
)
def test_what_cannot_be_measured_is_said(plan: idswap.Plan, manifest: Path):
    with pytest.raises(BadRequest):
        idswap.measure(Engine(family_file=manifest), plan)


def test_a_family_without_weights_and_an_unknown_method_are_said(
    tiny_manifest: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["evaluate", "idswap", "--manifest", str(tiny_manifest)]) == 1
    assert "--weights" in capsys.readouterr().err
    assert cli.main(["evaluate", "nothing"]) == 1
    assert "idswap" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", "idswap", "--help"])
    assert stop.value.code == 0
    assert "--judge" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        cli.main(["evaluate", "--help"])
    assert stop.value.code == 0
    assert "identity and attribute swapping" in capsys.readouterr().out
