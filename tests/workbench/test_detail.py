"""The photo's detail: kept under a change of colour, gone where something new is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tests.workbench.test_compose import face
from workbench.detail import detail_gain
from workbench.editor import EditRequest, EditResult
from workbench.engine import Engine

SIZE = 64


def stripes(period: int) -> Tensor:
    """A pattern (3,S,S) of vertical stripes."""
    line = torch.sin(torch.arange(SIZE) * 2 * torch.pi / period) * 0.5
    return line.expand(3, SIZE, SIZE).contiguous()


def test_an_edit_that_changes_nothing_keeps_all() -> None:
    assert bool((detail_gain(stripes(8), stripes(8)) == 1).all())


def test_brightness_colour_and_contrast_do_not_count_as_new() -> None:
    old = stripes(8)
    for new in (old + 0.3, old + torch.tensor([0.2, -0.1, 0.0])[:, None, None], 1.5 * old):
        assert float(detail_gain(new, old).min()) > 0.99


def test_what_is_covered_loses_its_detail_and_its_surroundings_do_not() -> None:
    old = stripes(8)
    new = old.clone()
    new[:, 16:48, 16:48] = -0.9
    gain = detail_gain(new, old)
    assert float(gain[24:40, 24:40].max()) < 0.05
    assert float(gain[:6].min()) > 0.95


def test_a_very_large_change_is_another_surface() -> None:
    old = 0.3 * stripes(8)
    assert float(detail_gain(old - 0.9, old).max()) < 0.01


def test_a_thing_of_its_own_pattern_hides_what_is_under_it_all_over() -> None:
    size = 128
    line = torch.sin(torch.arange(size) * 2 * torch.pi / 16) * 0.1
    old = line.expand(3, size, size).contiguous()
    new = old.clone()
    frame = torch.zeros(size, size, dtype=torch.bool)
    frame[44:84, 44:84] = True
    inside = torch.zeros_like(frame)
    inside[48:80, 48:80] = True
    new[:, frame & ~inside] = -0.9  # a dark frame; what is in it is only a little darker
    new[:, inside] = old[:, inside] - 0.2
    gain = detail_gain(new, old)
    assert float(gain[44:48, 44:84].max()) < 0.1
    assert float(gain[48:51, 56:72].max()) < 0.2
    assert float(gain[:24].min()) > 0.95
    assert float(gain[:, :24].min()) > 0.95
    # One point is chance: it takes nothing from around it.
    dotted = old.clone()
    dotted[:, 64, 64] += 0.3
    assert float(detail_gain(dotted, old).min()) > 0.8


def test_a_large_picture_is_weighed_as_a_small_one() -> None:
    old = stripes(16)
    new = old.clone()
    new[:, 16:48, 16:48] = -0.9
    large = [torch.nn.functional.interpolate(x[None], scale_factor=8, mode="bilinear")[0] for x in (new, old)]
    gain, small = detail_gain(*large), detail_gain(new, old)
    assert gain.shape == (8 * SIZE, 8 * SIZE)
    assert float(gain[192:320, 192:320].max()) < 0.1
    assert float(gain[:32].min()) > 0.95
    assert float(np.abs(gain[4::8, 4::8] - small).mean()) < 0.1


def test_a_plain_picture_has_no_pattern_to_lose() -> None:
    plain = torch.zeros(3, SIZE, SIZE)
    assert float(detail_gain(plain - 0.3, plain).min()) > 0.99


def test_a_covered_part_shows_the_rendering_in_photo_and_crop(tiny_manifest: Path, tmp_path: Path) -> None:
    engine = Engine(family_file=tiny_manifest)
    start = face(engine, tmp_path)
    size = start.image.shape[-1]
    checks = (torch.arange(size)[:, None] + torch.arange(size)[None]) % 4 < 2
    start = replace(start, image=(start.image * 0.2 + checks * 0.8 - 0.4).clamp(-1, 1))
    covered = start.image.clone()
    inner = slice(size // 4, 3 * size // 4)
    covered[:, inner, inner] = 0.5
    result = EditResult(covered, None, None, EditRequest("any", "1", {}))
    crop = engine.compose(start, result, crop=True).pixels
    middle = slice(7 * size // 16, 9 * size // 16)
    assert np.abs(crop[middle, middle].astype(int) - 191).max() <= 6
    whole = engine.compose(start, result).pixels
    middle = slice(15 * len(whole) // 32, 17 * len(whole) // 32)
    assert np.abs(whole[middle, middle].astype(int) - 191).max() <= 8
