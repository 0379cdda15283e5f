"""Moving pictures say that they are AI-edited and carry their request, and stay files that other programs read."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.clips import gif_bytes, mp4, open_video, write_mp4
from workbench.editor import EditRequest
from workbench.export import SOURCE_TYPE, Provenance, read_provenance, read_request, request_in
from workbench.images import load_image
from workbench.marks import gif_packet, gif_with, mark_mp4, mp4_packet

REQUEST = EditRequest("interpolate-nitzan", "1", {"identity": 1.0, "attributes": 0.5})
MADE = Provenance(REQUEST, "tiny", ("abc", "déf"))


def frames(count: int = 3, side: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [
        np.kron(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8), np.ones((side // 5,) * 2 + (1,), np.uint8))
        for _ in range(count)
    ]


def test_a_gif_carries_mark_and_request_and_still_plays():
    data = gif_bytes(frames(), 0.1, MADE)
    packet = gif_packet(data)
    assert packet is not None
    assert SOURCE_TYPE.encode() in packet
    assert read_request(data) == REQUEST
    body = read_provenance(data)
    assert body is not None
    assert body["weights"] == ["abc", "déf"]
    photo = load_image(data, "a.gif")
    assert photo.request is not None
    assert EditRequest.from_json(photo.request) == REQUEST
    plain = gif_bytes(frames(), 0.1, Provenance(None, "tiny"))
    assert read_request(plain) is None
    assert SOURCE_TYPE.encode() in (gif_packet(plain) or b"")
    with Image.open(io.BytesIO(data)) as image, Image.open(io.BytesIO(plain)) as other:
        assert image.info["loop"] == 0
        assert getattr(image, "n_frames", 1) == 3
        for at in range(3):
            image.seek(at)
            other.seek(at)
            assert image.info["duration"] == 100
            assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(other.convert("RGB")))


def test_a_reader_that_does_not_know_the_block_falls_through_the_ramp():
    # Such a reader hops from length to length, from wherever the packet's bytes throw it.
    for filler in range(256):
        data = gif_with(gif_bytes(frames(1), 0.1, MADE), b"<x>" + b"y" * filler)
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.size == (40, 40)


def test_other_gifs_and_damaged_ones_have_no_packet():
    buffer = io.BytesIO()
    Image.fromarray(frames(1)[0]).save(buffer, "GIF")
    assert gif_packet(buffer.getvalue()) is None
    data = gif_bytes(frames(), 0.1, MADE)
    assert gif_packet(b"PNG") is None
    for cut in (5, 20, 60, 300, 700):
        assert gif_packet(data[:cut]) is None
    with pytest.raises(ValueError, match="no GIF"):
        gif_with(b"\x89PNG", b"")


def test_a_gif_without_a_loop_is_marked_too():
    buffer = io.BytesIO()
    Image.fromarray(frames(1)[0]).save(buffer, "GIF")
    assert gif_packet(gif_with(buffer.getvalue(), b"packet")) == b"packet"


def test_an_mp4_carries_mark_and_request(tmp_path: Path):
    path = tmp_path / "a.mp4"
    write_mp4(path, frames(5), 10, MADE)
    packet = mp4_packet(path)
    assert packet is not None
    assert SOURCE_TYPE.encode() in packet
    video = open_video(path)
    assert video.request is not None
    assert EditRequest.from_json(video.request) == REQUEST
    assert sum(1 for _ in video.frames()) == 5


def test_other_files_have_no_packet_and_open_boxes_are_closed(tmp_path: Path):
    path = tmp_path / "a.mp4"
    write_mp4(path, frames(2), 10, MADE)
    whole = path.read_bytes()
    head = struct.pack(">I", 16) + b"ftypisom" + b"\0\0\0\0"
    path.write_bytes(head + struct.pack(">I", 0) + b"mdat" + b"x" * 40)
    mark_mp4(path, b"packet")
    assert mp4_packet(path) == b"packet"
    path.write_bytes(head + struct.pack(">I4sQ", 1, b"mdat", 24) + b"x" * 8 + head)
    mark_mp4(path, b"packet")
    assert mp4_packet(path) == b"packet"
    path.write_bytes(whole[:-10])
    with pytest.raises(ValueError, match="cut off"):
        mark_mp4(path, b"packet")
    for other in (b"", b"RIFF....", b"\0" * 64):
        path.write_bytes(other)
        assert mp4_packet(path) is None
        with pytest.raises(ValueError, match="no MP4"):
            mark_mp4(path, b"packet")
    assert mp4_packet(tmp_path / "none.mp4") is None


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_sound_and_mark_are_in_one_file(tmp_path: Path):
    source, out = tmp_path / "tone.mp4", tmp_path / "out.mp4"
    tone = ["-f", "lavfi", "-i", "sine=duration=1", "-f", "lavfi", "-i", "color=s=40x40:d=1:r=10"]
    subprocess.run(["ffmpeg", "-loglevel", "error", *tone, str(source)], check=True, stdin=subprocess.DEVNULL)
    with mp4(out, (40, 40), 10, MADE, sound=source) as writer:
        for frame in frames(10):
            writer.add(frame)
    assert writer.silent is None
    assert request_in(mp4_packet(out)) is not None
    told = subprocess.run(["ffmpeg", "-i", str(out)], capture_output=True, text=True, check=False).stderr
    assert "Audio:" in told
    assert sum(1 for _ in open_video(out).frames()) == 10
