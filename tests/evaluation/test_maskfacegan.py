"""Measuring masked edits: what counts as success, what is not done twice, and the bench's ratios."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from commands.evaluating import PROTOCOLS
from data import container
from encoders.compact_parser import CompactParser
from evaluation import bench_mask_edit, maskfacegan
from maskfacegan import presets
from maskfacegan.controls import value_of
from tests.tiny_family import SIZE, write_family
from workbench.engine import Engine
from workbench.errors import BadImage, BadRequest
from workbench.masking import Asked, masked_editor, psnr


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny family with a random parser whose classes come in patches."""
    folder = tmp_path_factory.mktemp("measured")
    path = write_family(folder)
    arch = {"widths": [4, 8], "neck": [8], "input_size": SIZE}
    torch.manual_seed(3)
    state = CompactParser(**arch).state_dict()
    state["place"] = 3 * torch.randn_like(state["place"])
    container.save(folder / "tiny" / "parser.safetensors", state, {"kind": "parser", "arch": arch, "licence": "none"})
    path.write_text(path.read_text() + '\n[starter.files.parser]\nfile = "parser.safetensors"\nsize = 0\nsha256 = ""\n')
    return path


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for seed in range(3):
        coarse = np.random.default_rng(seed).integers(60, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((SIZE, SIZE)).save(folder / f"{seed}.png")
    return folder


def test_success_is_the_judges_side_and_moving_counts_the_way_that_was_asked() -> None:
    assert Asked(0.2, 0.7, 1.0).success
    assert not Asked(0.2, 0.4, 1.0).success
    rare = Asked(0.1, 0.3, 1.0, threshold=0.25)
    assert rare.success
    assert not rare.over_half
    assert not Asked(0.1, 0.2, 1.0, threshold=0.25).success
    assert Asked(0.9, 0.3, 0.0).success
    assert Asked(0.9, 0.3, 0.0).moved == pytest.approx(0.6)
    assert Asked(0.2, 0.1, 1.0).moved == pytest.approx(-0.1)
    # A target between the reading and one half is a raise all the same, and has to cross the threshold if it lies beyond.
    brows = Asked(0.01, 0.02, 0.4, threshold=0.22)
    assert brows.towards
    assert not brows.success
    assert Asked(0.01, 0.3, 0.4, threshold=0.22).success
    # One that stays on its side counts from half the way on.
    young = Asked(0.3, 0.75, 0.8, threshold=0.85)
    assert not young.crosses
    assert young.success
    assert not Asked(0.3, 0.5, 0.8, threshold=0.85).success
    assert Asked(0.99, 0.98, 0.97).towards  # more of what is there already


def test_psnr_is_of_the_named_pixels_and_none_when_they_are_the_same() -> None:
    a = torch.zeros(3, 4, 4)
    b, where = a.clone(), torch.zeros(4, 4, dtype=torch.bool)
    where[0] = True
    b[:, 0] = 0.2
    assert psnr(b, a, where) == pytest.approx(20.0)
    assert psnr(b, a, ~where) is None


def test_each_edit_goes_to_the_other_side_and_none_is_made_twice(manifest: Path, faces: Path, tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    words = ["--faces", str(faces), "--count", "2", "--attributes", "smiling", "male", "--preset", "preview"]
    words += ["--out", str(out), "--manifest", str(manifest), "--json"]
    assert maskfacegan.command(words) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 4
    for one in lines:
        assert one["towards"] == (one["before"] <= 0.5)
        assert one["success"] == ((one["after"] > 0.5) == one["towards"])
        assert one["psnr_outside"] is None
        assert one["steps"] > 0
    out.write_text("\n".join([*out.read_text().splitlines()[:3], '{"cut']))
    assert maskfacegan.command(words) == 0
    again = [line for line in out.read_text().splitlines() if line.endswith("}")]
    assert len(again) >= 3
    assert len(maskfacegan.kept_lines(out, lines[0]["weights"])) == 4


def test_other_settings_are_another_measurement(manifest: Path, faces: Path, tmp_path: Path, monkeypatch) -> None:
    out, engine = tmp_path / "lines.jsonl", Engine("starter", "cpu", family_file=manifest)
    first = maskfacegan.measure(engine, faces, 1, ("Smiling",), "preview", out=out)
    monkeypatch.setitem(presets.PRESETS, "preview", replace(presets.PREVIEW, edit=5))  # type: ignore[arg-type]
    second = maskfacegan.measure(engine, faces, 1, ("Smiling",), "preview", out=out)
    assert first["weights"] != second["weights"]
    assert second["attributes"]["smiling (mouth)"]["steps"] < first["attributes"]["smiling (mouth)"]["steps"]
    assert len(out.read_text().splitlines()) == 2


def test_the_table_says_what_was_measured() -> None:
    one = {
        "success": True, "over_half": False, "moved": 0.5, "others": 0.02, "identity": 0.9, "psnr_inside": 24.0,
        "psnr_outside": None, "steps": 10,
        "seconds": 2.0, "processor_seconds": 1.0,
    }  # fmt: skip
    other = {**one, "success": False, "psnr_outside": 41.0, "psnr_inside": None}
    found = maskfacegan.summary([one, other])
    assert (found["n"], found["success"], found["psnr_outside"], found["psnr_inside"]) == (2, 0.5, 41.0, 24.0)
    text = maskfacegan.table({"smiling": found, "nose": maskfacegan.summary([one])})
    assert "| smiling | 2 | 0.50 | 0.00 | +0.50 | 0.020 | 0.90 | 24.0 | 41.0 | 10 | 1.0 |" in text
    assert "identical" in text


def test_a_sheet_shows_the_first_faces(manifest: Path, faces: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    engine = Engine("starter", "cpu", family_file=manifest)
    maskfacegan.measure(engine, faces, 2, ("Smiling",), "preview", sheet=sheet)
    assert Image.open(sheet).size == (2 * 256, 2 * 256)


def test_a_broken_face_is_named_and_left_out(manifest: Path, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    shutil.copytree(faces, folder)
    (folder / "0broken.png").write_bytes(b"no picture")
    engine = Engine("starter", "cpu", family_file=manifest)
    found = maskfacegan.measure(engine, folder, 9, ("Smiling",), "preview")
    assert list(found["left_out"]) == ["0broken.png"]
    assert found["faces"] == found["attributes"]["smiling (mouth)"]["n"] == len(list(faces.iterdir()))
    (tmp_path / "none").mkdir()
    with pytest.raises(BadImage, match="neither pictures nor"):
        bench_mask_edit.run(1, manifest=manifest, faces=tmp_path / "none")


def test_mistakes_are_sentences_and_the_method_is_in_the_list(faces: Path) -> None:
    assert "maskfacegan" in PROTOCOLS
    with pytest.raises(BadRequest, match="no attribute 'smile'"):
        maskfacegan.attributes_of(["smile"])
    with pytest.raises(BadRequest, match="at least 1"):
        maskfacegan.command(["--faces", str(faces), "--count", "0"])


def test_the_bench_compares_presets_and_a_second_attribute(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = replace(presets.PAPER, reconstruction=12, edit=6, noise=6, dynamic=2)
    monkeypatch.setitem(presets.PRESETS, "paper", few)  # type: ignore[arg-type]
    short = replace(presets.FAST, from_projection=4, edit=2)
    monkeypatch.setitem(presets.PRESETS, "fast", short)  # type: ignore[arg-type]
    found = bench_mask_edit.run(1, manifest=manifest)
    assert found["paper"]["n"] == found["fast"]["n"] == 2
    assert found["paper"]["steps"] == 18  # 24 and, once the photo is rebuilt, 12
    assert found["fast"]["steps"] == 4
    assert found["ratio"] == pytest.approx(found["fast"]["seconds"] / found["paper"]["seconds"])
    assert found["paper"]["outside_identical"]
    assert all(one["n"] == 2 and one["outside_identical"] for one in found["weaker"].values())
    with pytest.raises(BadRequest, match="name two"):
        bench_mask_edit.run(1, manifest=manifest, attributes=("Smiling",))


def test_presets_are_compared_where_they_succeed_alike() -> None:
    quick = {1.0: {"success": 0.9, "others": 0.3}, 0.8: {"success": 0.5, "others": 0.2}, 0.6: {"success": 0.1}}
    assert bench_mask_edit.matched(quick, 0.4) == {"intensity": 0.8, "success": 0.5, "others": 0.2}
    assert bench_mask_edit.matched(quick, 0.6) == {"intensity": 1.0, "success": 0.9, "others": 0.3}
    assert bench_mask_edit.matched(quick, 0.95) is None


def test_a_weaker_edit_aims_nearer_to_the_middle_on_either_side(manifest: Path) -> None:
    editor = masked_editor(Engine("starter", "cpu", family_file=manifest))
    for towards, intensity, target in ((True, 1.0, 1.0), (True, 0.7, 0.7), (False, 0.7, 0.3)):
        request = maskfacegan.ask(editor, "Smiling", towards, "fast", intensity=intensity)
        assert request.values["smiling"] == pytest.approx(value_of(target))
