"""Putting results back: renderings are compared with the projection, results that are on the photo already are taken whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.workbench.test_swapping import photo
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine
from workbench.face import Face, to_uint8
from workbench.images import load_image

REQUEST = EditRequest("any", "1", {})


@pytest.fixture(scope="module")
def engine(tiny_manifest: Path) -> Engine:
    return Engine(family_file=tiny_manifest)


def face(engine: Engine, folder: Path) -> Face:
    return engine.project(engine.use_aligned(load_image(photo(folder / "a.png", 1))), "encoder")


def soft(size: int) -> Tensor:
    """A mask (1,S,S) that is 0 outside the middle and rises slowly inside it."""
    line = (torch.arange(size) - size / 4).clamp(0, size / 4) / (size / 4)
    bump = torch.minimum(line, line.flip(0)).clamp(0, 1)
    return (bump[:, None] * bump)[None]


def painted(face: Face, start: Tensor) -> tuple[Tensor, Tensor]:
    """``start`` turned green in the middle, as an editor with a mask would, and the mask."""
    mask = soft(start.shape[-1])
    green = torch.tensor([-1.0, 1.0, -1.0])[:, None, None]
    return start * (1 - mask) + green * mask, mask


@pytest.mark.parametrize("keep", [True, False])
def test_an_edit_on_the_photo_goes_back_as_it_is(keep: bool, engine: Engine, tmp_path: Path):
    start = face(engine, tmp_path)
    assert not torch.allclose(start.image, start.target, atol=0.1)  # the projection is another picture than the photo
    image, mask = painted(start, start.target)
    result = EditResult(image, None, mask, REQUEST, on_photo=True)
    cut = engine.compose(start, result, crop=True, keep_detail=keep)
    assert np.array_equal(cut.pixels, to_uint8(image))
    whole = engine.compose(start, result, keep_detail=keep)
    before = start.aligned.photo.pixels
    size = before.shape[0]
    assert np.array_equal(whole.pixels[: size // 8], before[: size // 8])
    middle = whole.pixels[size // 2, size // 2].astype(int)
    wanted = to_uint8(image)[image.shape[1] // 2, image.shape[2] // 2].astype(int)
    assert np.abs(middle - wanted).max() < 25
    assert middle[1] > 200


def test_a_rendering_within_a_mask_is_not_weighed_twice(engine: Engine, tmp_path: Path):
    start = face(engine, tmp_path)
    image, mask = painted(start, start.image)
    result = EditResult(image, None, mask, REQUEST)
    added = engine.compose(start, result, keep_detail=True).pixels.astype(int) - start.aligned.photo.pixels
    free = engine.compose(start, replace(result, mask=None), keep_detail=True).pixels.astype(int)
    free = free - start.aligned.photo.pixels
    size = len(added)
    inner = slice(3 * size // 8, 5 * size // 8)
    assert np.abs(free[inner, inner]).mean() > 10
    assert np.abs(added[inner, inner] - free[inner, inner]).max() <= 1
    assert not added[: size // 8].any()


def test_what_changes_nothing_gives_the_photo_back(engine: Engine, tmp_path: Path):
    start = face(engine, tmp_path)
    result = EditResult(start.image, start.latent.code, None, REQUEST)
    assert np.array_equal(engine.compose(start, result).pixels, start.aligned.photo.pixels)
    assert np.array_equal(engine.compose(start, result, crop=True).pixels, start.aligned.image)
