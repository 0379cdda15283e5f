"""The command line: every command, its JSON, and what it says when something cannot be done."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cli
from tests.tiny_family import SIZE
from workbench.engine import Engine
from workbench.errors import NoFace
from workbench.export import load_code, read_request
from workbench.face import Detection, Photo
from workbench.images import load_image

ROOT = Path(__file__).resolve().parents[1]
EDIT_FIELDS = {"faces", "identity", "readout_before", "readout_after", "seconds", "request", "output"}


class Shell:
    """Runs commands on the tiny family. Its detector is played: dark photos have no face, all others have two."""

    def __init__(self, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.manifest, self.capsys = manifest, capsys

    def __call__(self, *words: object) -> tuple[int, list[dict[str, Any]], str]:
        """Exit status, the JSON objects on stdout and the text on stderr of ``cli.py WORDS --json``."""
        self.capsys.readouterr()
        status = cli.main([*map(str, words), "--manifest", str(self.manifest), "--json"])
        out, err = self.capsys.readouterr()
        return status, [json.loads(line) for line in out.splitlines()], err


def played(engine: Engine, photo: Photo) -> tuple[Detection, ...]:
    if photo.pixels.mean() < 20:
        raise NoFace(f"No face was found in '{photo.name}'.")
    points = np.array([[35.0, 40], [55, 40], [45, 50], [38, 58], [52, 58]])
    large = Detection((25, 25, 65, 65), points, None, 0.9)
    return large, Detection((5, 5, 25, 25), points / 2, None, 0.8)


@pytest.fixture
def shell(tiny_manifest: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.setattr(Engine, "detect", played)
    return Shell(tiny_manifest, capsys)


def write_photo(path: Path, seed: int = 0, brightness: float = 1.0, size: tuple[int, int] = (100, 90)) -> Path:
    coarse = np.random.default_rng(seed).integers(60, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray((coarse * brightness).astype(np.uint8)).resize(size).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good photos, one that is no picture, one without a face, and a file that is not meant to be a photo."""
    made = tmp_path / "photos"
    made.mkdir()
    write_photo(made / "a.jpg")
    write_photo(made / "b.png", 1)
    write_photo(made / "night.png", 2, 0.01)
    (made / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    (made / "notes.txt").write_text("not a photo")
    return made


def test_align_gives_faces_quad_and_crop(shell: Shell, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png")
    status, (line,), err = shell("align", photo, "--out", tmp_path / "face.png")
    assert (status, err) == (0, "")
    assert line["input"] == str(photo)
    assert line["output"] == str(tmp_path / "face.png")
    assert len(line["faces"]) == 2
    assert {"box", "points5", "points68", "score"} <= set(line["faces"][0])
    assert np.shape(line["quad"]) == (4, 2)
    assert load_image(tmp_path / "face.png").size == (SIZE, SIZE)
    _, (other,), _ = shell("align", photo, "--face", 1)
    assert other["quad"] != line["quad"]
    assert other["output"] is None


def test_project_writes_picture_and_code(shell: Shell, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "a.png")
    out, code = tmp_path / "p.png", tmp_path / "p.safetensors"
    status, (line,), err = shell("project", photo, "--out", out, "--code", code)
    assert (status, err) == (0, "")
    assert -1 <= line["identity"] <= 1
    assert line["l2"] > 0
    assert line["seconds"] > 0
    assert line["output"] == str(out)
    assert load_code(code, Engine(family_file=shell.manifest).generator_id).code.shape == (8, 512)
    _, (refined,), _ = shell("project", photo, "--mode", "refined", "--steps", 4)
    assert refined["mode"] == "refined"
    assert refined["l2"] < line["l2"]


def test_edit_gives_the_whole_photo_back(shell: Shell, tmp_path: Path) -> None:
    photo, out = write_photo(tmp_path / "a.jpg"), tmp_path / "out.png"
    status, (line,), err = shell("edit", photo, "--set", "smiling=1", "--set", "Young=-0.5", "--out", out)
    assert (status, err) == (0, "")
    assert set(line) >= EDIT_FIELDS
    assert len(line["readout_before"]) == len(line["readout_after"]) == 40
    assert line["request"]["values"] == {"smiling": 1.0, "young": -0.5}
    assert {"load", "align", "project", "edit", "readout", "compose", "total"} <= set(line["seconds"])
    written = load_image(out)
    assert written.size == (100, 90)
    request = read_request(out.read_bytes())
    assert request is not None
    assert request.values == line["request"]["values"]


def test_edit_without_a_change_gives_the_photo_back_bit_for_bit(shell: Shell, tmp_path: Path) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / "out.png"
    _, (line,), _ = shell("edit", photo, "--out", out)
    assert np.array_equal(load_image(out).pixels, load_image(photo).pixels)
    assert line["readout_before"] == line["readout_after"]
    assert line["identity"] == pytest.approx(1, abs=1e-3)


def test_edit_crop_and_replace_and_aligned(shell: Shell, tmp_path: Path) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / "out.png"
    shell("edit", photo, "--set", "male=1", "--crop", "--replace", "--out", out)
    assert load_image(out).size == (SIZE, SIZE)
    status, (line,), _ = shell("edit", photo, "--aligned", "--set", "male=1", "--out", out)
    assert status == 0
    assert line["faces"] == []
    assert load_image(out).size == (100, 90)


def test_an_export_hands_its_request_on(shell: Shell, tmp_path: Path) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / "out.png"
    shell("edit", photo, "--set", "smiling=0.5", "--out", out)
    _, (line,), _ = shell("edit", photo, "--request", out, "--set", "young=1")
    assert line["request"]["values"] == {"smiling": 0.5, "young": 1.0}
    status, lines, err = shell("edit", photo, "--request", photo)
    assert (status, lines) == (1, [])
    assert "carries no request" in err


@pytest.mark.parametrize("command", ["align", "project", "edit"])
def test_in_a_folder_the_good_ones_are_still_done(shell: Shell, folder: Path, tmp_path: Path, command: str) -> None:
    out = tmp_path / "out"
    status, lines, err = shell(command, folder, "--out", out)
    assert status == 1
    assert [Path(line["input"]).name for line in lines] == ["a.jpg", "b.png"]
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "b.png"]
    assert len(err.splitlines()) == 2
    assert "broken.jpg" in err
    assert "night.png" in err
    assert "Traceback" not in err


def test_photos_with_one_stem_do_not_overwrite_each_other(shell: Shell, tmp_path: Path) -> None:
    first, second = write_photo(tmp_path / "a.jpg"), write_photo(tmp_path / "a.png", 1)
    _, lines, _ = shell("align", first, second, "--out", tmp_path / "out")
    assert [Path(line["output"]).name for line in lines] == ["a.png", "a-2.png"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["edit", "PHOTO", "--set", "smile=1"], "smiling"),
        (["edit", "PHOTO", "--set", "smiling=5"], "between -1 and 1"),
        (["edit", "PHOTO", "--set", "smiling"], "name=number"),
        (["edit", "PHOTO", "--set", "smiling=much"], "name=number"),
        (["edit", "PHOTO", "--editor", "magic"], "sdflow"),
        (["edit", "PHOTO", "--out", "PHOTO"], "overwrite"),
        (["edit", "PHOTO", "--out", "OUT.tga"], "suffix"),
        (["align", "PHOTO", "--face", "7"], "no face number 7"),
        (["align", "NOTHING.jpg"], "NOTHING.jpg"),
        (["align", "EMPTY"], "no pictures"),
        (["align", "PHOTO", "--device", "toaster"], "toaster"),
        (["align", "PHOTO", "--family", "nobodys"], "starter"),
        (["project", "PHOTO", "--mode", "refined", "--steps", "0"], "at least one step"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(shell: Shell, tmp_path: Path, words: list[str], sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    places = {"PHOTO": write_photo(tmp_path / "a.png"), "EMPTY": tmp_path / "empty", "OUT.tga": tmp_path / "o.tga"}
    status, lines, err = shell(*(str(places.get(word, word)) for word in words))
    assert (status, lines) == (1, [])
    assert sentence in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("name", ["a-file/new.png", "sealed/new.png", "new.docx"])
@pytest.mark.parametrize("command", ["align", "project", "edit", "swap-dirs"])
def test_a_place_that_cannot_be_written_is_told_before_any_work(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    photo = write_photo(tmp_path / "photo.png")
    (tmp_path / "a-file").write_text("no folder")
    sealed = tmp_path / "sealed"
    sealed.mkdir()
    # Whoever may write everywhere runs these tests too, so the answer of the system is played.
    temporary = tempfile.TemporaryFile

    def played(dir: Path) -> Any:
        if Path(dir) == sealed:
            raise PermissionError(13, "Permission denied")
        return temporary(dir=dir)

    monkeypatch.setattr(tempfile, "TemporaryFile", played)
    monkeypatch.setattr(Engine, "detect", lambda *_: pytest.fail("work began"))
    sources = ["--identities", photo, "--attributes", photo] if command == "swap-dirs" else [photo]
    if command == "swap-dirs":
        name = name.replace("new.docx", "a-file")
        sources += ["--method", "zhou"]
    status, lines, err = shell(command, *sources, "--out", tmp_path / name)
    assert status != 0
    assert not lines
    assert name.split("/")[0] in err
    assert err.count("\n") == 1


def test_weights_are_listed_verified_and_recorded(shell: Shell, tmp_path: Path) -> None:
    shutil.copytree(shell.manifest.parent, tmp_path / "family")
    shell.manifest = tmp_path / "family" / "weights.toml"
    status, lines, _ = shell("weights", "list")
    assert status == 0
    assert {"family", "kind", "file", "state", "licence", "origin", "size"} <= set(lines[0])
    shell("weights", "record")
    status, lines, _ = shell("weights", "verify")
    assert (status, {line["state"] for line in lines}) == (0, {"verified"})
    (tmp_path / "family" / "tiny" / "judge.safetensors").unlink()
    (tmp_path / "family" / "tiny" / "identity.safetensors").write_bytes(b"x")
    status, _, err = shell("weights", "verify")
    assert status == 1
    assert [("missing" in line, "broken" in line) for line in err.splitlines()] == [(True, False), (False, True)]


@pytest.mark.parametrize("name", ["detector", "landmarks"])
def test_trainings_of_the_alignment_say_what_they_lack(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", name, "--faces", str(tmp_path), "--out", str(tmp_path / "run")]
    assert cli.main(words) == 1
    assert "lfw-original250.zip' is not there" in capsys.readouterr().err
    for archive in ("lfw-original250.zip", "celebahq256-train-00.zip"):
        (tmp_path / archive).touch()
    assert cli.main(words) == 1
    assert "python -m training.teachers" in capsys.readouterr().err
    assert cli.main([*words, "--device", "cuda"]) == 1
    assert "CPU only" in capsys.readouterr().err


def test_another_detector_is_asked_for_by_name(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = write_photo(tmp_path / "a.png")
    status, _, err = shell("align", photo, "--detector", "haar")
    assert status == 1
    assert "there are: starter, face-alignment" in err
    monkeypatch.undo()
    status, found, err = shell("align", photo, "--detector", "face-alignment")
    assert (status, found) == (1, [])
    assert "helpers" in err


def test_unknown_trainings_and_measurements_name_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "nothing"]) == 1
    assert "no training called 'nothing'" in capsys.readouterr().err
    assert cli.main(["bench", "nothing"]) == 1
    assert "slider" in capsys.readouterr().err


def test_a_bench_of_no_repeats_is_refused_and_names_are_said_as_they_are_typed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["bench", "slider", "--repeats", "0"]) == 1
    assert "at least once" in capsys.readouterr().err
    assert cli.main(["bench", "nothing"]) == 1
    assert "mask-edit" in capsys.readouterr().err


def test_bench_prints_one_object(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from evaluation import bench_slider

    monkeypatch.setattr(bench_slider, "run", lambda repeats: {"repeats": repeats, "ratio": 1.5, "parts": {"a": 1.0}})
    assert cli.main(["bench", "slider", "--repeats", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"repeats": 3, "ratio": 1.5, "parts": {"a": 1.0}}
    assert cli.main(["bench", "slider", "--repeats", "3"]) == 0
    assert "ratio" in capsys.readouterr().out


def test_slider_and_load_measure_the_tiny_family(tiny_manifest: Path) -> None:
    from evaluation import bench_load, bench_slider

    slider = bench_slider.run(2, manifest=tiny_manifest)
    assert slider["repeats"] == 2
    parts = slider["milliseconds"]
    assert slider["ratio"] == pytest.approx(parts["slider"] / (parts["generator"] + parts["readout"]), abs=0.01)
    load = bench_load.run(1, manifest=tiny_manifest, official=())
    assert set(load["milliseconds"]) >= {"generator", "projector", "sdflow_flow"}


def test_a_crash_of_ours_does_not_stop_the_folder(
    shell: Shell, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Engine.project

    def fragile(engine: Engine, aligned: Any, *args: Any, **named: Any) -> Any:
        if aligned.photo.name == "a.jpg":
            raise RuntimeError("a defect")
        return original(engine, aligned, *args, **named)

    monkeypatch.setattr(Engine, "project", fragile)
    status, lines, err = shell("project", folder, "--out", tmp_path / "out")
    assert status == 1
    assert [Path(line["input"]).name for line in lines] == ["b.png"]
    assert "unexpected error" in err


def test_the_program_starts_from_another_folder_and_explains_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "--help"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0
    for command in ("align", "project", "edit", "weights", "train", "bench"):
        assert command in done.stdout
    wrong = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "weights", "list", "--manifest", "none.toml"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert len(wrong.stderr.splitlines()) == 1
