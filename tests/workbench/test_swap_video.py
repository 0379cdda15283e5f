"""``swap-video`` on tiny random networks: steadiness, coherence, streaming, lost faces, sound, the command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import cli
from idswap.codes import slerp
from idswap.swap import Strengths
from tests.workbench.test_swapping import photo, write_swapping
from workbench.clips import keep_sound, open_video, write_mp4
from workbench.crop import quad_side
from workbench.editor import EditRequest
from workbench.engine import Engine
from workbench.errors import BadImage, CannotWrite, NoFace
from workbench.export import SOURCE_TYPE, Provenance
from workbench.face import Detection, Photo, to_tensor, to_uint8
from workbench.images import load_image
from workbench.marks import mp4_packet
from workbench.steady import Coherence, Jitter, Smoothing, SteadyQuad, followed
from workbench.swap_video import VideoSwap
from workbench.swapping import Swapping, request_of

FIVE = np.array([[18.0, 20], [30, 20], [24, 26], [19, 31], [29, 31]])


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swapping(tmp_path_factory.mktemp("swapping"))


def square(x: float, y: float, half: float = 10.0) -> np.ndarray:
    return np.array([[x - half, y - half], [x - half, y + half], [x + half, y + half], [x + half, y - half]])


def clip(count: int, size: tuple[int, int] = (48, 48)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    large = cv2.resize(coarse, (size[0] + count, size[1]), interpolation=cv2.INTER_CUBIC)
    return [np.ascontiguousarray(large[:, i : i + size[0]]) for i in range(count)]


def test_a_trembling_square_comes_to_rest_and_a_moving_one_is_followed():
    rng = np.random.default_rng(1)
    noisy = [square(50 + dx, 50 + dy) for dx, dy in rng.normal(0, 0.2, (120, 2))]
    steady = SteadyQuad(25)
    held = np.stack([steady(q).mean(0) for q in noisy])[20:]
    raw = np.stack([q.mean(0) for q in noisy])[20:]
    assert held.std(0).max() < 0.6 * raw.std(0).min()
    steady.reset()
    moved = [steady(square(50 + 4 * i, 50)) for i in range(40)]
    assert abs(moved[-1].mean(0)[0] - (50 + 4 * 39)) < 8
    assert quad_side(moved[-1]) == pytest.approx(20, rel=0.02)
    off = SteadyQuad(25, Smoothing(0))
    assert np.allclose(off(noisy[0]), noisy[0])
    assert np.allclose(off(noisy[1]), noisy[1])


def test_the_same_face_is_followed():
    left, right = (Detection((x, 10, x + 10, 20), FIVE, None, 1.0) for x in (0.0, 60.0))
    assert followed((left, right), None) is left
    assert followed((left, right), square(63, 15)) is right
    assert followed((left,), square(163, 15)) is None
    assert followed((), None) is None


def test_coherence_is_that_of_all_pairs():
    rows = [F.normalize(torch.randn(8, generator=torch.Generator().manual_seed(i)), dim=0) for i in range(5)]
    gauge = Coherence(rows[0])
    for row in rows:
        gauge.add(row)
    told = gauge.told()
    to_identity = torch.stack([row @ rows[0] for row in rows])
    table = torch.stack(rows) @ torch.stack(rows).t()
    off = table[~torch.eye(5, dtype=torch.bool)]
    assert told["to_identity"] == pytest.approx(float(to_identity.mean()), abs=1e-3)
    assert told["least"] == pytest.approx(float(to_identity.min()), abs=1e-3)
    assert told["spread"] == pytest.approx(float(to_identity.std(correction=0)), abs=1e-3)
    assert told["between_frames"] == pytest.approx(float(off.mean()), abs=1e-3)
    assert Coherence(rows[0]).told()["to_identity"] is None


def test_jitter_ignores_steady_motion_and_gaps():
    gauge = Jitter()
    for i in range(5):
        gauge.add(np.full((3, 2), 2.0 * i), 10)
    assert gauge.told() == 0
    gauge.reset()
    for x in (0.0, 1.0, 0.0):
        gauge.add(np.array([[x, 0.0]]), 10)
    assert gauge.told() == pytest.approx(0.2 / 4)
    assert Jitter().told() is None


def test_frames_stream_and_a_lost_face_leaves_the_frame_alone(
    manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    engine = Engine(family_file=manifest)
    swapping = Swapping(engine)
    who = engine.use_aligned(load_image(photo(tmp_path / "who.png", 3)))
    job = VideoSwap(
        engine, swapping, "zhou", swapping.codes("zhou", who), to_tensor(who.image), 25.0, smoothing=Smoothing(1.0)
    )
    looked = 0

    def detect(picture: Photo) -> tuple[Detection, ...]:
        nonlocal looked
        looked += 1
        if looked == 3:
            raise NoFace("none")
        points = FIVE + 0.1 * looked
        return (Detection((14, 14, 34, 36), points, None, 1.0),)

    monkeypatch.setattr(engine, "detect", detect)
    taken = 0

    def source() -> Iterator[np.ndarray]:
        nonlocal taken
        for frame in clip(5):
            taken += 1
            yield frame

    whole = clip(5)
    for at, frame in enumerate(job.frames(source(), lambda _: None)):
        assert taken == at + 1  # no frame is read ahead, none is kept
        assert frame.shape == (48, 48, 3)
        assert np.array_equal(frame, whole[at]) == (at == 2)
    report = job.report()
    assert (report["frames"], report["frames_without_face"]) == (5, 1)
    assert report["identity_coherence"]["to_identity"] is not None
    assert report["landmark_jitter"] is None  # the tiny family has no landmark network


def test_the_own_identity_of_the_first_frame_serves_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = Engine(family_file=write_swapping(tmp_path, gain=1.25))
    swapping = Swapping(engine)
    who = engine.use_aligned(load_image(photo(tmp_path / "who.png", 3)))
    codes = swapping.codes("zhou", who)
    job = VideoSwap(
        engine, swapping, "zhou", codes, to_tensor(who.image), 25.0, strengths=Strengths(0.6), aligned=True, crop=True
    )
    whole = clip(3)
    shown = list(job.frames(iter(whole), lambda _: None))
    frames = [engine.use_aligned(Photo(pixels, "frame")) for pixels in whole]
    first = swapping.swap("zhou", who, frames[0], Strengths(0.6))
    assert np.array_equal(shown[0], to_uint8(first.image))
    held = slerp(swapping.codes("zhou", frames[0]).identity, codes.identity, 0.75)
    for face, pixels in zip(frames[1:], shown[1:], strict=True):
        code = swapping.method("zhou").map(held, swapping.codes("zhou", face).attributes)
        assert np.array_equal(pixels, to_uint8(swapping.render("zhou", code[0])))
        assert not np.array_equal(pixels, to_uint8(swapping.swap("zhou", who, face, Strengths(0.6)).image))


def test_the_command_writes_a_clip_of_the_same_length(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    who, source, out = photo(tmp_path / "who.png", 3), tmp_path / "clip.mp4", tmp_path / "out" / "new.mp4"
    write_mp4(source, clip(6, (47, 48)), 12, Provenance(request_of("zhou", Strengths()), "tiny"))
    monkeypatch.setenv("PATH", str(tmp_path))
    command = ["swap-video", "--identity", str(who), "--video", str(source), "--out", str(out), "--aligned", "--json"]
    command += ["--manifest", str(manifest)]
    assert cli.main(command) == 0
    captured = capsys.readouterr()
    body = json.loads(captured.out)
    assert (body["frames"], body["rate"], body["sound"], body["kept"]) == (6, 12, False, False)
    assert "ffmpeg is not installed" in captured.err
    assert body["request"]["editor"] == "swap-nitzan"
    assert body["identity"] == str(who)
    assert body["identity_coherence"]["to_identity"] is not None
    # The source says that it is a swap itself, and the result says what it is.
    assert "clip.mp4: This picture is a swap" in captured.err
    packet = mp4_packet(out)
    assert packet is not None
    assert SOURCE_TYPE.encode() in packet
    made = open_video(out)
    assert made.request is not None
    assert EditRequest.from_json(made.request) == request_of("nitzan", Strengths())
    assert made.size == (48, 48)
    assert sum(1 for _ in made.frames()) == 6
    assert (out.parent / "new.manifest.json").is_file()
    assert [p.name for p in out.parent.iterdir() if ".part" in p.name] == []
    assert cli.main(command) == 0
    assert json.loads(capsys.readouterr().out)["kept"]
    assert cli.main([*command, "--crop"]) == 0
    capsys.readouterr()
    assert open_video(out).size == (32, 32)


def test_what_is_no_video_is_said(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    who = photo(tmp_path / "who.png", 3)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    command = ["swap-video", "--identity", str(who), "--aligned", "--manifest", str(manifest)]
    command += ["--video", str(tmp_path / "broken.mp4")]
    assert cli.main([*command, "--out", str(tmp_path / "new.mp4")]) == 1
    assert "broken.mp4" in capsys.readouterr().err
    assert not (tmp_path / "new.mp4").exists()
    assert cli.main([*command, "--out", str(tmp_path / "new.avi")]) == 1
    assert ".mp4" in capsys.readouterr().err
    # OpenCV reads a still picture as a clip of one frame.
    still = [*command[:-1], str(who)]
    assert cli.main([*still, "--out", str(tmp_path / "new.mp4")]) == 1
    assert "no video" in capsys.readouterr().err
    for wrong in ("nan", "-1", "inf"):
        assert cli.main([*command, "--smooth", wrong, "--out", str(tmp_path / "new.mp4")]) == 1
        assert "--smooth" in capsys.readouterr().err
    with pytest.raises(BadImage):
        open_video(tmp_path / "none.mp4")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CannotWrite):
        write_mp4(tmp_path / "file" / "x.mp4", clip(1), 10, Provenance(None, "tiny"))


def test_sound_is_kept_where_ffmpeg_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    silent, source = tmp_path / "silent.mp4", tmp_path / "source.mp4"
    silent.write_bytes(b"pictures")
    source.write_bytes(b"sound")
    tool = tmp_path / "bin" / "ffmpeg"
    tool.parent.mkdir()
    # Stands in for the program: joins its two inputs into the last word, and refuses to copy the sound.
    tool.write_text(
        '#!/bin/sh\ncase "$*" in *"-c:a copy"*) echo "cannot copy" >&2; exit 1;; esac\n'
        'for last in "$@"; do :; done\n/bin/cat "$5" "$7" > "$last"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    assert keep_sound(silent, source) is None
    assert silent.read_bytes() == b"picturessound"
    tool.write_text('#!/bin/sh\necho "no such codec" >&2\nexit 1\n')
    reason = keep_sound(silent, source)
    assert reason is not None
    assert "no such codec" in reason
    assert silent.read_bytes() == b"picturessound"
    tool.write_text("#!/bin/sh\necho \"Stream map '1:a' matches no streams.\" >&2\nexit 1\n")
    assert keep_sound(silent, source) == "The clip has no sound."
    assert sorted(os.listdir(tmp_path)) == ["bin", "silent.mp4", "source.mp4"]
