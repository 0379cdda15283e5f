"""Putting a face back: nothing changes outside the seam, and nothing at all when nothing was edited."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.crop import crop, ffhq_quad
from workbench.errors import BadRequest
from workbench.face import AlignedFace, Photo, to_tensor
from workbench.paste import paste_back

FACE = np.array([[-30.0, 0], [30, 0], [0, 35], [-25, 65], [25, 65]])


def smooth_photo(width: int = 420, height: int = 340) -> Photo:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [120 + 60 * np.sin(x / 31 + k) + 50 * np.cos(y / 27 - k) for k in range(3)]
    return Photo(np.stack(waves, -1).clip(0, 255).astype(np.uint8), "waves.png", ("note",))


def cut(
    photo: Photo, angle: float = 0.0, scale: float = 1.0, centre: tuple[float, float] = (210, 150), size: int = 128
) -> AlignedFace:
    turn = np.deg2rad(angle)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return crop(photo, ffhq_quad(FACE @ matrix.T + centre), size)


def outside(aligned: AlignedFace) -> np.ndarray:
    """(H,W) True where the centre of a pixel lies outside the square."""
    height, width = aligned.photo.pixels.shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    tl, bl, _, tr = aligned.transform.quad
    across, down = tr - tl, bl - tl
    u = ((x - tl[0]) * across[0] + (y - tl[1]) * across[1]) / (across @ across)
    v = ((x - tl[0]) * down[0] + (y - tl[1]) * down[1]) / (down @ down)
    return (u < 0) | (u > 1) | (v < 0) | (v > 1)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-180, 180),
    st.floats(0.15, 2.5),
    st.floats(0, 420),
    st.floats(0, 340),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.booleans(),
    st.booleans(),
)
def test_outside_the_seam_every_bit_stays(
    angle: float, scale: float, x: float, y: float, feather: float, match: bool, based: bool
) -> None:
    photo = smooth_photo()
    aligned = cut(photo, angle, scale, (x, y), 64)
    white = np.full((64, 64, 3), 255, np.uint8)
    base = aligned.image if based else None
    result = paste_back(aligned, white, base=base, feather=feather, colour_match=match)
    away = outside(aligned)
    assert (result.pixels[away] == photo.pixels[away]).all()
    assert result.pixels.shape == photo.pixels.shape
    if not match and not away.all() and (~away).sum() > 200:
        assert (result.pixels != photo.pixels).any()


@pytest.mark.parametrize("angle", [0, 17, -90])
@pytest.mark.parametrize("match", [False, True])
def test_an_edit_that_changes_nothing_gives_the_photo_back(angle: float, match: bool) -> None:
    photo = smooth_photo()
    aligned = cut(photo, angle)
    rendering = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    result = paste_back(aligned, rendering, base=rendering, colour_match=match)
    assert (result.pixels == photo.pixels).all()


@pytest.mark.parametrize(("angle", "scale"), [(0, 0.5), (25, 1.0), (-40, 0.8)])
def test_the_crop_itself_goes_back_to_where_it_was(angle: float, scale: float) -> None:
    photo = smooth_photo()
    result = paste_back(cut(photo, angle, scale, size=256), cut(photo, angle, scale, size=256).image)
    assert np.abs(result.pixels.astype(int) - photo.pixels).max() <= 3


def test_detail_of_the_photo_stays_with_a_base() -> None:
    rng = np.random.default_rng(1)
    photo = Photo(rng.integers(60, 180, (340, 420, 3), dtype=np.uint8))
    aligned = cut(photo)
    base = torch.zeros(3, 64, 64)
    result = paste_back(aligned, base + 20 / 127.5, base=base, feather=0.1)
    change = result.pixels.astype(int) - photo.pixels
    assert (change[140:170, 180:240] == 20).all()
    assert change.min() >= 0
    assert change.max() == 20


def test_the_seam_rises_from_nothing() -> None:
    photo = Photo(np.zeros((340, 420, 3), np.uint8))
    aligned = cut(photo)
    row = paste_back(aligned, np.full((64, 64, 3), 255, np.uint8), feather=0.2).pixels[150, :, 0].astype(int)
    left = int(np.ceil(aligned.transform.quad[:, 0].min()))
    rise = row[left : left + 40]
    assert (np.diff(rise) >= 0).all()
    assert rise[0] < 8
    assert np.diff(rise).max() < 20
    assert row[210] == 255


def test_a_mask_limits_the_change() -> None:
    photo = Photo(np.zeros((340, 420, 3), np.uint8))
    aligned = cut(photo, size=64)
    mask = torch.zeros(1, 64, 64)
    mask[:, :, 32:] = 1
    result = paste_back(aligned, np.full((64, 64, 3), 255, np.uint8), mask=mask, feather=0.05)
    assert (result.pixels[:, :195] == 0).all()
    assert (result.pixels[150, 225:250] == 255).all()


def test_colours_are_fitted_at_the_seam() -> None:
    photo = smooth_photo()
    aligned = cut(photo, size=128)
    tinted = np.clip(aligned.image.astype(int) + np.array([40, -25, 10]), 0, 255).astype(np.uint8)
    plain = np.abs(paste_back(aligned, tinted).pixels.astype(int) - photo.pixels).mean()
    matched = np.abs(paste_back(aligned, tinted, colour_match=True).pixels.astype(int) - photo.pixels).mean()
    assert matched < 0.3 * plain


def test_tensor_and_picture_are_one() -> None:
    photo = smooth_photo()
    aligned = cut(photo, 12)
    edited = 255 - aligned.image
    as_tensor = paste_back(aligned, to_tensor(edited))
    assert np.abs(as_tensor.pixels.astype(int) - paste_back(aligned, edited).pixels).max() <= 1
    assert as_tensor.name == "waves.png"
    assert as_tensor.notes == ("note",)


@pytest.mark.parametrize(
    "call",
    [
        lambda a: paste_back(a, np.zeros((10, 12, 3), np.uint8)),
        lambda a: paste_back(a, np.zeros((10, 10, 3), np.float32)),
        lambda a: paste_back(a, torch.zeros(1, 8, 8)),
        lambda a: paste_back(a, torch.zeros(3, 8, 8), base=torch.zeros(3, 16, 16)),
        lambda a: paste_back(a, torch.zeros(3, 8, 8), feather=0.7),
        lambda a: paste_back(a, torch.zeros(3, 8, 8), mask=torch.zeros(5)),
    ],
)
def test_wrong_pictures_are_refused(call) -> None:
    with pytest.raises(BadRequest):
        call(cut(smooth_photo()))
