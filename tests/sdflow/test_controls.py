"""What strengths mean: the way to the goal, and the authors' slider."""

from __future__ import annotations

import pytest
import torch

from sdflow.controls import NAME, VERSION, order, spec
from sdflow.solver import CHECKED, OFFICIAL
from workbench.editor import EditRequest
from workbench.errors import BadRequest

ATTRIBUTES = ("Eyeglasses", "Wavy_Hair")
SPEC = spec(ATTRIBUTES, 14)
SOURCE = torch.tensor([0.3, 0.9])


def targets(**values: float) -> list[float]:
    request = EditRequest(NAME, VERSION, values)
    return order(ATTRIBUTES, SPEC.validate(request)).targets(SOURCE).tolist()


def test_controls_are_named_after_the_attributes() -> None:
    names = [c.name for c in SPEC.controls]
    assert names == ["eyeglasses", "wavy_hair", "absolute", "first_layer", "last_layer", "solver"]
    assert [c.attribute for c in SPEC.controls if not c.advanced] == list(ATTRIBUTES)
    assert SPEC.control("wavy_hair").label == "Wavy hair"
    assert SPEC.control("last_layer").neutral == 13
    assert all(c.help for c in SPEC.controls)


def test_strength_goes_from_the_face_to_beyond_the_end() -> None:
    assert targets() == SOURCE.tolist()
    assert targets(eyeglasses=1.0) == pytest.approx([1.2, 0.9])
    assert targets(eyeglasses=0.5) == pytest.approx([0.75, 0.9])
    assert targets(eyeglasses=-1.0) == pytest.approx([-0.2, 0.9])
    assert targets(eyeglasses=-0.5, wavy_hair=0.1) == pytest.approx([0.05, 0.93])


@pytest.mark.parametrize(
    ("slider", "source_one", "source_zero"),
    [(0.157, 0.98, 0.02), (0.5, 0.5, 0.5), (0.7, 0.22, 0.78), (0.857, 0.0, 1.0), (1.0, -0.2, 1.2)],
)
def test_fixed_targets_are_those_of_the_official_slider(slider: float, source_one: float, source_zero: float) -> None:
    assert targets(absolute=1, eyeglasses=slider)[0] == pytest.approx(source_zero, abs=5e-4)
    assert targets(absolute=1, eyeglasses=-slider)[0] == pytest.approx(source_one, abs=5e-4)
    assert targets(absolute=1, eyeglasses=slider)[1] == SOURCE.tolist()[1]


def test_an_untouched_attribute_is_neutral_in_both_meanings() -> None:
    for absolute in (0.0, 1.0):
        found = order(ATTRIBUTES, SPEC.validate(EditRequest(NAME, VERSION, {"absolute": absolute, "solver": 1})))
        assert found.neutral
        assert found.targets(SOURCE).tolist() == SOURCE.tolist()


def test_layers_and_solver_are_read() -> None:
    found = order(
        ATTRIBUTES, SPEC.validate(EditRequest(NAME, VERSION, {"first_layer": 2, "last_layer": 2, "solver": 1}))
    )
    assert (found.first, found.last, found.solver) == (2, 2, OFFICIAL)
    assert order(ATTRIBUTES, SPEC.validate(SPEC.neutral())).solver == CHECKED


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"first_layer": 5, "last_layer": 4}, "behind"),
        ({"first_layer": 1.5}, "whole"),
        ({"solver": 0.5}, "whole"),
        ({"eyeglasses": 1.01}, "between"),
        ({"hats": 1}, "no control"),
    ],
)
def test_requests_that_make_no_sense_are_refused(values: dict[str, float], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        order(ATTRIBUTES, SPEC.validate(EditRequest(NAME, VERSION, values)))
