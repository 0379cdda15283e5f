"""The commands on face parts, on a tiny family: a broken file is reported, finished results are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cli
from tests import tiny_family
from tests.iafaces import tiny
from workbench.engine import Engine
from workbench.errors import BadRequest
from workbench.export import read_request
from workbench.face import to_uint8


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.add_to_family(tiny_family.write_family(tmp_path_factory.mktemp("family")))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in (0, 1):
        Image.fromarray(to_uint8(tiny.picture(seed))).save(folder / f"{seed}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict], str]:
    out = capsys.readouterr()
    return [json.loads(line) for line in out.out.splitlines()], out.err


def test_attr_on_a_folder_with_a_broken_file(
    manifest: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    call = [
        "attr",
        str(photos),
        "--aligned",
        "--attribute",
        "mouth_open",
        "--out",
        str(out),
        "--manifest",
        str(manifest),
    ]
    assert cli.main([*call, "--strength", "3", "--json"]) == 1
    bodies, error = lines(capsys)
    assert [Path(b["input"]).name for b in bodies] == ["0.png", "1.png"]
    assert "broken.png" in error
    before = np.asarray(Image.open(photos / "0.png"))
    after = np.asarray(Image.open(out / "0.png"))
    assert (before[:12] == after[:12]).all()
    assert (before != after).any()
    assert cli.main([*call, "--strength", "3", "--json"]) == 1
    assert all(b["skipped"] for b in lines(capsys)[0])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--attribute", "output"], "no attribute 'output'"),
        (["--attribute", "edit_mouth"], "no attribute"),
        (["--attribute", "borrow_nose"], "no attribute"),
        (["--attribute", "mouth_open", "--component", "nose"], "shows in mouth and not in nose"),
    ],
)
def test_what_is_no_attribute_or_shows_elsewhere_is_refused(
    words: list[str], sentence: str, manifest: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.png"
    call = ["attr", str(photos / "0.png"), "--aligned", "--strength", "2", "--out", str(out), *words]
    assert cli.main([*call, "--manifest", str(manifest)]) == 1
    assert sentence in capsys.readouterr().err
    assert not out.exists()


def test_transfer_writes_each_output_mode(
    manifest: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = []
    for mode in ("residual", "decoded", "difference"):
        out = tmp_path / f"{mode}.png"
        call = [
            "transfer",
            "--target",
            str(photos / "0.png"),
            "--reference",
            str(photos / "1.png"),
            "--component",
            "eyes",
        ]
        more = ["--aligned", "--output-mode", mode, "--out", str(out), "--manifest", str(manifest), "--json"]
        assert cli.main([*call, *more]) == 0
        pictures.append(np.asarray(Image.open(out)))
    assert not (pictures[0] == pictures[1]).all()
    assert pictures[2].min() == 0
    assert lines(capsys)[0][0]["values"]["borrow_l_eye"] == 1


def test_reconstruct_and_directions_list(
    manifest: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.png"
    common = ["--aligned", "--out", str(out), "--manifest", str(manifest)]
    assert cli.main(["reconstruct", str(photos / "0.png"), *common]) == 0
    assert Image.open(out).size == (tiny.SIZE, tiny.SIZE)
    capsys.readouterr()
    assert cli.main(["directions", "list", "--manifest", str(manifest), "--json"]) == 0
    assert {b["attribute"] for b in lines(capsys)[0]} == {"mouth_open", "bushy"}


@pytest.mark.parametrize("command", ["reconstruct", "transfer", "transfer from a folder"])
def test_a_broken_file_in_a_folder_is_reported_and_skipped(
    command: str, manifest: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    call = ["reconstruct", str(photos)]
    if command != "reconstruct":
        reference = str(photos / "1.png") if command == "transfer" else str(photos)
        call = [
            "transfer",
            "--target",
            str(photos),
            "--reference",
            reference,
            "--component",
            "mouth",
            "--component",
            "nose",
        ]
    assert cli.main([*call, "--aligned", "--out", str(out), "--manifest", str(manifest), "--json"]) == 1
    bodies, error = lines(capsys)
    assert [Path(b["input"]).name for b in bodies] == ["0.png", "1.png"]
    assert "broken.png" in error
    assert {p.name for p in out.iterdir()} == {"0.png", "1.png"}


def test_a_transferred_picture_says_which_reference_it_needs(manifest: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    call = ["transfer", "--target", str(photos / "0.png"), "--reference", str(photos / "1.png"), "--component", "l_eye"]
    assert cli.main([*call, "--aligned", "--out", str(out), "--manifest", str(manifest)]) == 0
    request = read_request(out.read_bytes())
    assert request is not None
    assert request.reference.startswith("photo:")
    with pytest.raises(BadRequest, match="choose the reference again"):
        Engine("starter", "cpu", family_file=manifest).references.find(request.reference)


def test_one_part_of_an_attribute_by_its_own_control(manifest: Path, photos: Path, tmp_path: Path) -> None:
    pictures = []
    for extra in (["--attribute", "bushy@l_eye"], ["--attribute", "bushy", "--component", "l_eye"]):
        out = tmp_path / f"{len(pictures)}.png"
        call = [
            "attr",
            str(photos / "0.png"),
            "--aligned",
            "--strength",
            "3",
            "--manifest",
            str(manifest),
            "--out",
            str(out),
        ]
        assert cli.main([*call, *extra]) == 0
        pictures.append(np.asarray(Image.open(out)))
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] != np.asarray(Image.open(photos / "0.png"))).any()


def test_a_list_of_names_is_taken_like_a_folder(
    manifest: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = photos / "faces.txt"
    names.write_text("1\n0.png\n\nmissing\n")
    out = tmp_path / "out"
    call = ["attr", str(names), "--aligned", "--attribute", "mouth_open", "--strength", "1", "--out", str(out)]
    assert cli.main([*call, "--manifest", str(manifest), "--json"]) == 1
    bodies, error = lines(capsys)
    assert [Path(b["input"]).name for b in bodies] == ["1.png", "0.png"]
    assert "missing" in error
    names.write_text("\n")
    assert cli.main([*call, "--manifest", str(manifest)]) == 1
