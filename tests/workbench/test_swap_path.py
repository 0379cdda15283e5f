"""``interpolate`` on tiny random networks: roles by name, both ends, files, a broken set, a second call."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import cli
from tests.workbench.test_swapping import photo, write_swapping
from workbench.engine import Engine
from workbench.errors import BadImage, BadRequest
from workbench.images import load_image
from workbench.swap_path import along, positions, triple
from workbench.swapping import Swapping


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swapping(tmp_path_factory.mktemp("swapping"))


def test_roles_are_read_off_words_not_letters():
    way = triple([Path("s/video_attr.png"), Path("s/id1.png"), Path("s/attr_2.png")])
    assert (way.moves, way.kept, way.start, way.end) == (
        "attributes",
        Path("s/id1.png"),
        Path("s/attr_2.png"),
        Path("s/video_attr.png"),
    )
    assert triple([Path("a_id.png"), Path("b_id.png"), Path("attr.png")]).moves == "identity"
    for names in (("id.png", "attr.png"), ("id.png", "attr.png", "other.png"), ("id1.png", "id2.png", "id3.png")):
        with pytest.raises(BadImage):
            triple([Path(name) for name in names])


def test_both_ends_are_included():
    assert positions(5) == [0.0, 0.25, 0.5, 0.75, 1.0]
    with pytest.raises(BadRequest):
        positions(1)


@pytest.mark.parametrize("name", ["nitzan", "zhou"])
@pytest.mark.parametrize("space", ["z", "w"])
def test_the_ends_are_the_plain_swaps(name: str, space, tmp_path: Path):
    engine = Engine(family_file=write_swapping(tmp_path / "family", gain=1.25))
    swapping = Swapping(engine)
    faces = {
        role: engine.use_aligned(load_image(photo(tmp_path / f"{role}.png", i)))
        for i, role in enumerate(("attr", "id_1", "id_2"))
    }
    way = triple([tmp_path / f"{role}.png" for role in faces])
    codes = [swapping.codes(name, faces[role]) for role in ("attr", "id_1", "id_2")]
    path = along(swapping, name, way.moves, *codes, 3, space)
    for code, role in ((path[0], "id_1"), (path[2], "id_2")):
        plain = swapping.swap(name, faces[role], faces["attr"])
        assert plain.code is not None
        assert torch.allclose(code, plain.code, atol=1e-5)
        assert torch.allclose(swapping.render(name, code), plain.image, atol=1e-4)
    straight = (path[0] + path[2]) / 2
    assert torch.allclose(path[1], straight, atol=1e-6) == (space == "w")


def test_the_command_goes_on_after_a_bad_set(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root, out = tmp_path / "sets", tmp_path / "out"
    for name, files in (("good", ("id", "attr_1", "attr_2")), ("faces", ("id_1", "id_2", "attr"))):
        (root / name).mkdir(parents=True)
        for i, file in enumerate(files):
            photo(root / name / f"{file}.png", i)
    (root / "broken").mkdir()
    (root / "broken" / "id.png").write_bytes(b"no picture")
    command = ["interpolate", str(root), "--out", str(out), "--frames", "3", "--aligned", "--json"]
    command += ["--manifest", str(manifest)]
    assert cli.main(command) == 1
    captured = capsys.readouterr()
    assert "broken" in captured.err
    told = {Path(line["input"]).name: line for line in map(json.loads, captured.out.splitlines())}
    assert (told["good"]["moves"], told["faces"]["moves"]) == ("attributes", "identity")
    names = {p.name for p in (out / "good").iterdir()}
    assert names == {
        *("const_id.png", "start.png", "end.png", "sheet.png", "animation.gif", "animation.mp4"),
        *(f"frame_{i:03d}.png" for i in range(3)),
    }
    assert Image.open(out / "good" / "frame_000.png").size == (32, 32)
    assert Image.open(out / "faces" / "frame_000.png").size == (48, 48)  # in the one attribute photo
    with Image.open(out / "good" / "animation.gif") as gif:
        assert getattr(gif, "n_frames", 1) == 3
    video = cv2.VideoCapture(str(out / "faces" / "animation.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    _, first = video.read()
    still = np.asarray(Image.open(out / "faces" / "frame_000.png")).astype(float)
    assert np.abs(first[..., ::-1] - still).mean() < 20
    assert cli.main(command) == 1
    assert all(json.loads(line)["kept"] for line in capsys.readouterr().out.splitlines())


def test_a_second_call_makes_what_is_missing_and_leaves_nothing_over(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root = tmp_path / "sets"
    (root / "faces").mkdir(parents=True)
    for i, file in enumerate(("id_1", "id_2", "attr")):
        photo(root / "faces" / f"{file}.png", i)
    out = root / "out"  # beside the sets: it is not one of them

    def call(frames: int) -> bool:
        command = ["interpolate", str(root), "--out", str(out), "--frames", str(frames), "--aligned", "--json"]
        assert cli.main([*command, "--manifest", str(manifest)]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        return json.loads(line)["kept"]

    assert [call(4), call(4)] == [False, True]
    (out / "faces" / "frame_001.png").unlink()
    assert not call(4)
    assert (out / "faces" / "frame_001.png").is_file()
    assert not call(3)
    assert sorted(p.name for p in (out / "faces").glob("frame_*")) == [f"frame_00{i}.png" for i in range(3)]


def test_frames_of_others_are_left_alone(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for i, file in enumerate(("id_1", "id_2", "attr")):
        photo(tmp_path / f"{file}.png", i)
    out = tmp_path / "out"
    out.mkdir()
    (out / "frame_007.png").write_bytes(b"of a film")
    command = ["interpolate", str(tmp_path), "--out", str(out), "--aligned", "--manifest", str(manifest), "--frames"]
    for frames in (5, 3):
        assert cli.main([*command, str(frames)]) == 0
        assert (out / "frame_007.png").read_bytes() == b"of a film"
        assert len(list(out.glob("frame_00[0-6].png"))) == frames
    capsys.readouterr()
