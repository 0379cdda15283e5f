"""The shipped starter family, from a photo to an edited photo. The person in the photo is one of the generated sample faces."""

from __future__ import annotations

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import cli
from encoders.attributes import CELEBA_ATTRIBUTES
from workbench.editor import EditRequest
from workbench.engine import Engine
from workbench.export import read_request
from workbench.face import Photo, to_uint8
from workbench.images import load_image


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("starter", "cpu")


@pytest.fixture(scope="module")
def photo(engine: Engine) -> Photo:
    """A generated face, enlarged and turned by 12 degrees, somewhere in a 900 x 700 scene."""
    face = cv2.resize(to_uint8(engine.sample_faces()[0].image), (420, 420), interpolation=cv2.INTER_CUBIC)
    yy, xx = np.mgrid[:700, :900]
    scene = np.stack([90 + xx // 12, 110 + yy // 10, 120 + (xx + yy) // 24], 2).astype(np.uint8)
    turn = cv2.getRotationMatrix2D((210, 210), 12, 1.0)
    turn[:, 2] += (300, 120)
    warped = cv2.warpAffine(face, turn, (900, 700))
    inside = cv2.warpAffine(np.full((420, 420), 255, np.uint8), turn, (900, 700)) > 250
    scene[inside] = warped[inside]
    data = io.BytesIO()
    Image.fromarray(scene).save(data, "JPEG", quality=95)
    return load_image(data.getvalue(), name="scene.jpg")


def test_the_face_is_found_upright_and_projected(engine: Engine, photo: Photo) -> None:
    detection = engine.detect(photo)[0]
    left, right = detection.points5[0], detection.points5[1]
    angle = np.degrees(np.arctan2(-(right - left)[1], (right - left)[0]))
    assert angle == pytest.approx(12, abs=5)
    face = engine.project(engine.align(photo, detection))
    assert face.l2 < 0.06
    assert face.identity > 0.3


def test_an_edit_moves_its_attribute_and_leaves_the_rest_of_the_photo_alone(engine: Engine, photo: Photo) -> None:
    face = engine.project(engine.align(photo, engine.detect(photo)[0]))
    before = engine.readout(face.image).values["Smiling"]
    direction = 1.0 if before < 0.5 else -1.0
    request = EditRequest("sdflow", engine.spec("sdflow").version, {"smiling": direction})
    result = engine.edit(face, request)
    comparison = engine.compare(face, result.image, request)
    assert comparison.deltas["Smiling"] * direction > 0.2
    assert set(comparison.after.values) == set(CELEBA_ATTRIBUTES)
    whole = engine.compose(face, result)
    assert whole.pixels.shape == photo.pixels.shape
    changed = (whole.pixels != photo.pixels).any(2)
    assert changed.any()
    quad = face.aligned.transform.quad
    low, high = np.floor(quad.min(0)).astype(int) - 1, np.ceil(quad.max(0)).astype(int) + 1
    changed[max(0, low[1]) : high[1], max(0, low[0]) : high[0]] = False
    assert not changed.any()


def test_a_neutral_request_gives_the_photo_back_bit_for_bit(engine: Engine, photo: Photo) -> None:
    face = engine.project(engine.align(photo, engine.detect(photo)[0]))
    result = engine.edit(face, engine.spec("sdflow").neutral())
    assert np.array_equal(engine.compose(face, result).pixels, photo.pixels)


def test_refining_gets_closer_than_one_encoder_pass(engine: Engine, photo: Photo) -> None:
    aligned = engine.align(photo, engine.detect(photo)[0])
    assert engine.project(aligned, "refined", steps=15).l2 < engine.project(aligned).l2


def test_the_command_line_does_the_same(
    engine: Engine, photo: Photo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "scene.png", tmp_path / "edited.png"
    Image.fromarray(photo.pixels).save(source)
    status = cli.main(["edit", str(source), "--set", "smiling=1", "--set", "young=-0.5", "--out", str(out), "--json"])
    line = json.loads(capsys.readouterr().out)
    assert status == 0
    assert line["output"] == str(out)
    assert len(line["readout_after"]) == 40
    request = read_request(out.read_bytes())
    assert request is not None
    assert dict(request.values) == {"smiling": 1.0, "young": -0.5}
    assert Image.open(out).size == photo.size
    face = engine.project(engine.align(photo, engine.detect(photo)[0]))
    expected = engine.compose(face, engine.edit(face, request))
    assert np.array_equal(np.asarray(Image.open(out).convert("RGB")), expected.pixels)


def test_ten_random_faces_differ_and_read_as_faces(engine: Engine) -> None:
    faces = [engine.random_face(seed) for seed in range(10)]
    pictures = np.stack([to_uint8(f.image).astype(np.float32) for f in faces])
    distances = [np.abs(pictures[i] - pictures[j]).mean() for i in range(10) for j in range(i)]
    assert min(distances) > 5
    spread = [engine.readout(f.image).values["Male"] for f in faces]
    assert min(spread) < 0.3 < 0.7 < max(spread)
