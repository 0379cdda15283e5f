from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iafaces import regions
from workbench.errors import BadRequest

TABLE = {
    8: ((2, 3, 4, 4), (4, 3, 6, 4), (3, 4, 5, 5), (3, 5, 5, 7)),
    16: ((4, 6, 8, 9), (8, 6, 12, 9), (6, 8, 10, 11), (5, 11, 11, 14)),
    64: ((17, 22, 30, 34), (34, 22, 47, 34), (23, 33, 41, 44), (22, 43, 42, 54)),
    256: ((68, 90, 121, 137), (134, 90, 187, 137), (92, 132, 163, 175), (87, 172, 168, 217)),
}


@pytest.mark.parametrize("side", sorted(TABLE))
def test_grid_boxes_are_the_published_ones(side: int) -> None:
    assert regions.grid_boxes(side) == TABLE[side]


def test_boxes_mirror_into_each_other() -> None:
    left, right, nose, mouth = regions.BOXES
    assert (1 - left[2], 1 - left[0]) == (right[0], right[2])
    for box in (nose, mouth):
        assert box[0] == 1 - box[2]


@given(st.sampled_from([16, 32, 50, 128]), st.sampled_from([0.0, 0.02, 0.06]), st.sampled_from([0.0, 0.03]))
def test_masks_and_background_are_a_partition_of_unity(side: int, feather: float, grow: float) -> None:
    masks = regions.soft_masks(side, feather, grow)
    background = 1 - masks.sum(0)
    assert masks.min() >= 0
    assert background.min() >= -1e-6
    assert background.max() <= 1
    mirrored = masks[[1, 0, 2, 3]].flip(2)
    assert torch.allclose(masks, mirrored, atol=1e-5)


def test_masks_are_one_inside_and_zero_far_away() -> None:
    masks = regions.soft_masks(128, 0.03)
    for index, (x0, y0, x1, y1) in enumerate(regions.BOXES):
        middle = masks[index, round((y0 + y1) * 64), round((x0 + x1) * 64)]
        assert middle == 1
        assert masks[index, 2, 2] == 0


def test_crop_reads_what_place_writes() -> None:
    patch = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    box = (0.25, 0.25, 0.75, 0.625)
    spread = regions.place(patch, box, 16)
    assert torch.allclose(regions.crop(spread, box, (6, 8)), patch, atol=1e-6)
    flat = regions.place(torch.full((1, 1, 4, 4), 0.5), box, 20)
    assert torch.allclose(flat, torch.full((1, 1, 20, 20), 0.5))


def test_surroundings_do_not_depend_on_the_components() -> None:
    masks = regions.soft_masks(64, 0.0)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    other = torch.where(masks.sum(0) > 0, torch.rand_like(image), image)
    assert torch.equal(regions.surroundings(image, masks), regions.surroundings(other, masks))
    assert torch.allclose(
        regions.surroundings(torch.full_like(image, 0.3), masks), torch.full_like(image, 0.3), atol=1e-5
    )


def test_component_names() -> None:
    assert regions.rows_of(["mouth", "eyes"]) == (0, 1, 3)
    with pytest.raises(BadRequest, match="ear"):
        regions.rows_of(["ear"])
