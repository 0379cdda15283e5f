"""Faces by name, where a picture changed, and which editors take a reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests import tiny_family
from tests.iafaces import tiny
from workbench import change, references
from workbench.editor import EditRequest
from workbench.engine import Engine
from workbench.errors import BadRequest
from workbench.face import to_tensor


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    manifest: Path = tiny.add_to_family(tiny_family.write_family(tmp_path_factory.mktemp("family")))
    return Engine("starter", "cpu", family_file=manifest)


def test_generated_faces_are_found_by_name_and_photos_until_they_are_forgotten(engine: Engine) -> None:
    samples = engine.sample_faces()
    assert torch.equal(engine.references.find(references.sample(2)), samples[1].target)
    assert torch.equal(engine.references.find(references.random(5)), engine.random_face(5).target)
    name = engine.references.lend(samples[0].aligned)
    assert engine.references.lend(samples[0].aligned) == name
    assert torch.equal(engine.references.find(name), to_tensor(samples[0].aligned.image))
    engine.forget()
    with pytest.raises(BadRequest, match="no longer in memory"):
        engine.references.find(name)
    for wrong in ("sample:0", "sample:99", "sample:x", "random:x", "somebody", ""):
        with pytest.raises(BadRequest, match="reference"):
            engine.references.find(wrong)


def test_a_request_brings_its_reference_and_stays_the_same_through_json(engine: Engine) -> None:
    face = engine.sample_faces()[0]
    request = EditRequest("iafaces", "1", {"borrow_nose": 1.0}, reference="sample:2")
    again = EditRequest.from_json(request.to_json())
    assert again == request
    assert "reference" not in EditRequest("iafaces", "1", {"bushy": 1.0}).to_json()
    borrowed = engine.edit(face, request).image
    other = engine.edit(face, EditRequest("iafaces", "1", {"borrow_nose": 1.0}, reference="sample:3")).image
    assert not torch.equal(borrowed, other)
    assert torch.equal(engine.edit(face, again).image, borrowed)
    with pytest.raises(BadRequest, match="borrows nothing"):
        engine.edit(face, EditRequest("sdflow", "1", {"smiling": 0.5}, reference="sample:2"))
    with pytest.raises(BadRequest, match="needs a reference"):
        engine.edit(face, EditRequest("iafaces", "1", {"borrow_nose": 1.0}))


def test_change_is_told_inside_and_outside_of_what_was_meant() -> None:
    before = torch.zeros(3, 8, 8)
    after = before.clone()
    after[:, 2:4, 2:4] = 0.5
    mask = torch.zeros(1, 8, 8)
    mask[:, 2:4, 2:4] = 0.3
    found = change.measure(before, after, mask)
    assert (found.inside, found.outside, found.share) == pytest.approx((0.25, 0.0, 4 / 64))
    after[:, 0, 0] = 1.0
    assert change.measure(before, after, mask).outside == pytest.approx(1 / 60)
    picture = change.picture(before, after)
    assert picture.shape == (8, 8, 3)
    assert np.ptp(picture[5, 5]) == 0
    assert np.ptp(picture[2, 2].astype(int)) > 60
