"""The FFHQ square against the reference's numbers, the crop, the backends and what they warn of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.alignment import starter_backend
from evaluation.bench_align import drawn_face
from workbench.align import (
    FaceAlignmentBackend,
    StarterBackend,
    align,
    already_aligned,
    detection_from_points,
    find_faces,
    seed_hub,
)
from workbench.crop import crop, ffhq_quad, plan_crop, quad_side
from workbench.errors import BadRequest, MissingWeights, NoFace
from workbench.face import Detection, Photo

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "data" / "alignment.npz"
LEVEL = np.array([[70.0, 100.0], [130.0, 100.0], [100.0, 135.0], [75.0, 165.0], [125.0, 165.0]])


class Fixed:
    """A backend that finds what it is told."""

    def __init__(self, *found: Detection) -> None:
        self.found = found

    def detect(self, pixels: np.ndarray) -> tuple[Detection, ...]:
        return self.found


def detection(points: np.ndarray, scale: float = 1.0, shift: float = 0.0) -> Detection:
    moved = points * scale + shift
    low, high = moved.min(0) - 20 * scale, moved.max(0) + 20 * scale
    return Detection((low[0], low[1], high[0], high[1]), moved, None, 0.9)


def golden_picture(numbers: np.ndarray) -> np.ndarray:
    """The synthetic picture of the golden item."""
    w, h, cell, flip = (int(v) for v in numbers)
    y, x = np.mgrid[:h, :w]
    xx, yy = (w - 1 - x, h - 1 - y) if flip else (x, y)
    return np.stack([255 * xx // (w - 1), 255 * yy // (h - 1), 40 + 175 * ((x // cell + y // cell) % 2)], -1).astype(
        np.uint8
    )


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.mark.parametrize("case", range(5))
def test_quad_and_plan_are_the_references(golden: dict[str, np.ndarray], case: int) -> None:
    quad = ffhq_quad(golden["landmarks"][case])
    w, h, *_ = (int(v) for v in golden["picture"])
    plan = plan_crop(quad, (w, h), 256)
    np.testing.assert_allclose(quad, golden["quad"][case], rtol=1e-9)
    assert quad_side(quad) == pytest.approx(golden["side"][case], rel=1e-9)
    assert plan.shrink == golden["shrink"][case]
    assert plan.border == golden["border"][case]
    assert plan.box == tuple(golden["crop"][case])
    assert plan.cropped == bool(golden["cropped"][case])
    assert plan.pad_needed == tuple(golden["pad_needed"][case])
    assert plan.padded == bool(golden["padded"][case])
    assert plan.pad == tuple(golden["pad"][case])
    np.testing.assert_allclose(plan.quad, golden["quad_in_cropped"][case], rtol=1e-9)


@pytest.mark.parametrize("case", range(5))
def test_crop_is_the_references(golden: dict[str, np.ndarray], case: int) -> None:
    photo = Photo(golden_picture(golden["picture"]))
    # The reference's points are pixel indices; ours are edges.
    image = crop(photo, ffhq_quad(golden["landmarks"][case]) + 0.5, 256, antialias=False).image
    blocks = image.reshape(64, 4, 64, 4, 3).astype(np.float64).mean((1, 3))
    np.testing.assert_allclose(blocks, golden["aligned_64"][case], atol=1.0)
    np.testing.assert_allclose(image.mean((0, 1)), golden["mean"][case], atol=0.5)
    np.testing.assert_allclose(image.std((0, 1)), golden["std"][case], atol=0.1)


def test_level_face_has_the_published_places() -> None:
    points = LEVEL - [100, 100]
    quad = ffhq_quad(points)
    assert quad_side(quad) == pytest.approx(240)
    relative = (points - quad[0]) / 240
    np.testing.assert_allclose(relative[:2], [[0.375, 0.473], [0.625, 0.473]], atol=5e-4)
    np.testing.assert_allclose(relative[3:, 1], 0.744, atol=5e-4)


@settings(max_examples=40, deadline=None)
@given(st.floats(-180, 180), st.floats(0.3, 30), st.floats(-500, 5000), st.floats(-500, 5000))
def test_quad_follows_the_face(angle: float, scale: float, x: float, y: float) -> None:
    turn = np.deg2rad(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    moved = ffhq_quad(LEVEL @ matrix.T + [x, y])
    np.testing.assert_allclose(moved, ffhq_quad(LEVEL) @ matrix.T + [x, y], atol=1e-6 * scale + 1e-6)
    edges = np.roll(moved, -1, 0) - moved
    np.testing.assert_allclose(np.hypot(*edges.T), quad_side(moved), rtol=1e-9)
    assert abs(edges[0] @ edges[1]) < 1e-6 * quad_side(moved) ** 2


def test_five_points_and_sixty_eight_agree() -> None:
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[48], points[54] = LEVEL[0], LEVEL[1], LEVEL[3], LEVEL[4]
    np.testing.assert_allclose(ffhq_quad(points), ffhq_quad(LEVEL))


def test_matrix_takes_the_crop_to_the_photo() -> None:
    y, x = np.mgrid[:400, :500].astype(np.float64)
    photo = Photo(np.stack([x / 2, y / 2, 0 * x], -1).astype(np.uint8))
    turned = (LEVEL - 100) @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + [240, 200]
    face = crop(photo, ffhq_quad(turned), 128)
    matrix = face.transform.matrix()
    for cx, cy in ((30, 40), (64, 64), (100, 20)):
        place = matrix @ [cx + 0.5, cy + 0.5, 1]
        np.testing.assert_allclose(face.image[cy, cx, :2], (place - 0.5) / 2, atol=1.5)


def test_fine_stripes_become_grey_not_moire() -> None:
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    quad = np.array([[101, 101], [101, 1099], [1099, 1099], [1099, 101]], float)
    smooth = crop(Photo(stripes), quad, 128).image[8:-8, 8:-8]
    assert smooth.std() < 16
    assert abs(float(smooth.mean()) - 127.5) < 4


@pytest.mark.parametrize("size", [32, 100, 256, 1024])
def test_any_size(size: int) -> None:
    photo = Photo(np.full((200, 240, 3), 90, np.uint8))
    assert (crop(photo, ffhq_quad(LEVEL), size).image == 90).all()


def test_face_at_the_border_is_continued_not_black() -> None:
    photo = Photo(np.full((150, 160, 3), 200, np.uint8))
    assert crop(photo, ffhq_quad(LEVEL - [60, 80]), 128).image.min() >= 199


@pytest.mark.parametrize("quad", [np.zeros((4, 2)), np.full((4, 2), np.nan), ffhq_quad(LEVEL) + 5000])
def test_impossible_squares_are_refused(quad: np.ndarray) -> None:
    with pytest.raises(BadRequest):
        crop(Photo(np.zeros((200, 200, 3), np.uint8)), quad, 64)


def test_impossible_points_are_refused() -> None:
    for points in (np.zeros((5, 2)), np.zeros((4, 2)), np.full((68, 2), np.nan)):
        with pytest.raises(BadRequest):
            ffhq_quad(points)


def test_largest_face_first_and_choice() -> None:
    photo = Photo(np.zeros((600, 600, 3), np.uint8), "group.jpg")
    backend = Fixed(detection(LEVEL), detection(LEVEL, 2.0, 100), detection(LEVEL, 0.5))
    found = find_faces(photo, backend)
    assert [d.points5[1, 0] for d in found] == [360, 130, 65]
    np.testing.assert_allclose(align(photo, backend, 64).transform.quad, ffhq_quad(found[0].points5))
    assert align(photo, backend, 64, 2).detection is found[2]
    assert align(photo, backend, 64, found[1]).detection is found[1]
    with pytest.raises(BadRequest, match="3 face"):
        align(photo, backend, 64, 3)


def test_no_face_is_a_sentence_with_the_name() -> None:
    with pytest.raises(NoFace, match=r"wall\.png"):
        find_faces(Photo(np.zeros((64, 64, 3), np.uint8), "wall.png"), Fixed())


def test_points_by_hand() -> None:
    photo = Photo(np.zeros((300, 300, 3), np.uint8))
    found = detection_from_points(LEVEL, photo)
    assert found.points68 is None
    assert found.score == 1
    assert found.warnings == ()
    assert align(photo, Fixed(), 64, found).image.shape == (64, 64, 3)
    for wrong in (LEVEL[[1, 0, 2, 4, 3]] + 500, LEVEL / 100):
        with pytest.raises(BadRequest):
            detection_from_points(wrong, photo)


@pytest.mark.parametrize(
    ("points", "score", "words"),
    [
        (LEVEL * 0.3, 0.9, "pixels"),
        (np.array([[90.0, 100], [110, 100], [118, 130], [88, 165], [106, 165]]), 0.9, "side"),
        ((LEVEL - 100) @ np.array([[0.7, 0.7], [-0.7, 0.7]]) + 140, 0.9, "tilted"),
        (LEVEL, 0.8, "may not be a face"),
        (LEVEL - [60, 0], 0.9, "outside"),
    ],
)
def test_warnings(points: np.ndarray, score: float, words: str) -> None:
    from workbench.align import describe

    low, high = points.min(0) - 15, points.max(0) + 15
    plain = Detection((low[0], low[1], high[0], high[1]), points, None, score)
    assert any(words in note for note in describe(plain, (300, 300)).warnings)


def test_already_aligned_keeps_the_way_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    face = already_aligned(Photo(pixels), 60)
    assert (face.image == pixels[:, 10:70]).all()
    assert face.transform.quad.tolist() == [[10, 0], [10, 60], [70, 60], [70, 0]]


def test_missing_weights_of_the_other_backend(tmp_path: Path) -> None:
    there = tmp_path / FaceAlignmentBackend.FILES[0]
    there.touch()
    with pytest.raises(MissingWeights, match="needs 2DFAN4-11f355bf06"):
        FaceAlignmentBackend([there, tmp_path / FaceAlignmentBackend.FILES[1]])


def test_the_hub_has_the_files_wherever_they_are(tmp_path: Path) -> None:
    files = [tmp_path / "a" / "one.pth", tmp_path / "b" / "two.pth"]
    for path in files:
        path.parent.mkdir()
        path.write_text(path.name)
    for _ in range(2):
        hub = seed_hub(files)
        assert {p.name: p.read_text() for p in (hub / "checkpoints").iterdir()} == {p.name: p.name for p in files}


@pytest.fixture(scope="module")
def starter() -> StarterBackend:
    return starter_backend()


def test_nothing_in_clutter(starter: StarterBackend) -> None:
    rng = np.random.default_rng(3)
    noise = rng.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    stripes = np.zeros((480, 640, 3), np.uint8)
    stripes[::16, :, 0] = 255
    for pixels in (noise, stripes, np.full((50, 70, 3), 128, np.uint8), np.zeros((9, 2000, 3), np.uint8)):
        assert starter.detect(pixels) == ()


def group(count: int, side: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Drawn faces in two rows on a plain wall, and their top left corners."""
    wall = np.full((2 * side + 60, (count + 1) // 2 * (side + 20) + 20, 3), 105, np.uint8)
    corners = [(20 + i // 2 * (side + 20), 20 + i % 2 * (side + 20)) for i in range(count)]
    for x, y in corners:
        wall[y : y + side, x : x + side] = drawn_face(side)
    return wall, corners


@pytest.mark.parametrize(("count", "side"), [(1, 300), (10, 160)])
def test_drawn_faces_are_all_found(starter: StarterBackend, count: int, side: int) -> None:
    wall, corners = group(count, side)
    found = find_faces(Photo(wall), starter)
    assert len(found) == count
    for x, y in corners:
        eye = np.array([x + 0.4 * side, y + 0.46 * side])
        assert min(float(np.hypot(*(d.points5[0] - eye))) for d in found) < 0.08 * side


def test_a_large_photo_gives_the_same_face(starter: StarterBackend) -> None:
    face = drawn_face(360)
    small = np.full((480, 640, 3), 105, np.uint8)
    small[60:420, 140:500] = face
    large = small.repeat(4, 0).repeat(4, 1)
    one, other = starter.detect(small), starter.detect(large)
    assert len(one) == len(other) == 1
    eyes = float(np.hypot(*(one[0].points5[1] - one[0].points5[0])))
    assert np.abs(other[0].points5 / 4 - one[0].points5).max() < 0.06 * eyes
