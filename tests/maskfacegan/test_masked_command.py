"""``cli.py mask-edit`` on the tiny family with a parser."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import cli
from data import container
from encoders.compact_parser import CompactParser
from tests.tiny_family import SIZE, write_family
from workbench.images import load_image


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny family with a random parser whose classes come in patches."""
    folder = tmp_path_factory.mktemp("masked")
    path = write_family(folder)
    arch = {"widths": [4, 8], "neck": [8], "input_size": SIZE}
    torch.manual_seed(3)
    parser = CompactParser(**arch)
    state = parser.state_dict()
    state["place"] = 3 * torch.randn_like(state["place"])
    state["head.0.weight"] = 6 * state["head.0.weight"]
    container.save(folder / "tiny" / "parser.safetensors", state, {"kind": "parser", "arch": arch, "licence": "none"})
    path.write_text(path.read_text() + '\n[starter.files.parser]\nfile = "parser.safetensors"\nsize = 0\nsha256 = ""\n')
    return path


@pytest.fixture
def shell(manifest: Path, capsys: pytest.CaptureFixture[str]):
    def call(*words: object) -> tuple[int, list[dict], str]:
        capsys.readouterr()
        status = cli.main(["mask-edit", *map(str, words), "--manifest", str(manifest), "--aligned", "--json"])
        out, err = capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err

    return call


def write_face(path: Path, seed: int = 0) -> Path:
    coarse = np.random.default_rng(seed).integers(60, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((SIZE, SIZE)).save(path)
    return path


def test_an_edit_reports_itself_and_leaves_the_rest_alone(shell, tmp_path: Path) -> None:
    photo = write_face(tmp_path / "a.png")
    out, mask, own = tmp_path / "out.png", tmp_path / "mask.png", tmp_path / "own.png"
    drawn = np.zeros((SIZE, SIZE), np.uint8)
    drawn[8:20, 6:18] = 255
    cv2.imwrite(str(own), drawn)
    status, (line,), err = shell(
        photo, "--attribute", "smiling", "--attribute", "big_nose", "--target", 1, "--target", 0.2, "--preset", "preview",
        "--out", out, "--save-mask", mask, "--mask", own,
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert line["steps"] == len(line["loss_trace"]) > 0
    assert set(line["judge"]) == {"smiling", "big_nose"}
    assert {"before", "after", "threshold", "success"} == set(line["judge"]["smiling"])
    assert line["stats"]["target_smiling"] == pytest.approx(0.95)
    assert line["stats"]["target_big_nose"] == pytest.approx(0.2)
    assert line["psnr_outside"] is None
    grey = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    before, after = load_image(photo).pixels, load_image(out).pixels
    assert (grey[drawn == 0] == 0).all()
    assert (grey > 0).any()
    assert np.array_equal(before[grey == 0], after[grey == 0])
    assert not np.array_equal(before, after)
    assert not list(tmp_path.glob("*.part*"))


def test_a_folder_goes_on_where_it_stopped(shell, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_face(folder / "a.png")
    write_face(folder / "b.png", 1)
    words = (folder, "--attribute", "smiling", "--preset", "preview", "--out", out)
    assert len(shell(*words)[1]) == 2
    (out / "b.png").unlink()
    status, lines, err = shell(*words)
    assert status == 0
    assert [Path(line["input"]).name for line in lines] == ["b.png"]
    assert "1 of 2 results are there already" in err
    # A result whose mask is asked for and missing is made again.
    assert len(shell(*words, "--save-mask", tmp_path / "masks")[1]) == 2
    assert len(list((tmp_path / "masks").glob("*.png"))) == 2
    assert shell(*words, "--save-mask", tmp_path / "masks")[1] == []
    assert len(shell(*words, "--again")[1]) == 2


def test_mistakes_are_sentences(shell, tmp_path: Path) -> None:
    photo = write_face(tmp_path / "a.png")
    for words, sentence in (
        (("--attribute", "smile"), "no control called 'smile'"),
        (("--attribute", "preset"), "is a setting"),
        (("--attribute", "smiling", "--size", 9), "between 0.5 and 2"),
        (("--attribute", "smiling", "--target", 2), "between 0 and 1"),
        (("--attribute", "smiling", "--target", 1, "--target", 0), "need one --target or one each"),
        (("--attribute", "male", "--mode", "local"), "no part of the face of its own"),
        (("--attribute", "smiling", "--mask", tmp_path / "none.png"), "no picture that can be read"),
    ):
        status, _, err = shell(photo, *words)
        assert status == 1
        assert sentence in err


def test_a_family_without_a_parser_says_so(tiny_manifest: Path, tmp_path: Path, capsys) -> None:
    photo = write_face(tmp_path / "a.png")
    words = ["mask-edit", str(photo), "--attribute", "smiling", "--manifest", str(tiny_manifest), "--aligned"]
    assert cli.main(words) == 1
    assert "has no 'parser' network" in capsys.readouterr().err
