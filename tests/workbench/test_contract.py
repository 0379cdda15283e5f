"""What every editor promises, on tiny random networks. A new editor joins with one line in CASES."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch

from tests.iafaces import tiny as iafaces
from tests.maskfacegan import tiny as maskfacegan
from tests.sdflow import tiny as sdflow
from workbench import registry
from workbench.editor import Editor, EditRequest, EditResult
from workbench.errors import BadRequest, Cancelled, WrongSpace
from workbench.face import Face


@dataclass(frozen=True)
class Case:
    """How to make an editor, a face it can edit (by seed and generator id), and two requests that change something."""

    editor: Callable[[], Editor]
    face: Callable[..., Face]
    requests: tuple[Mapping[str, float], Mapping[str, float]]


CASES = {
    "maskfacegan": Case(
        maskfacegan.editor,
        maskfacegan.face,
        ({"smiling": 0.7, "big_nose": -0.5, "preset": 0}, {"male": 1.0, "size": 0.5, "preset": 0}),
    ),
    "sdflow": Case(sdflow.editor, sdflow.face, ({"smiling": 0.7, "male": -0.2}, {"eyeglasses": 1.0})),
    "iafaces": Case(iafaces.editor, iafaces.face, ({"mouth_open": 1.5, "bushy": -1.0}, {"mouth_open": 3.0})),
}


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def order(editor: Editor, values: Mapping[str, float]) -> EditRequest:
    return EditRequest(editor.spec.name, editor.spec.version, values)


def same(a: EditResult, b: EditResult) -> bool:
    codes = a.code is None if b.code is None else a.code is not None and torch.equal(a.code, b.code)
    return codes and torch.equal(a.image, b.image)


def test_every_registered_editor_is_here() -> None:
    assert set(CASES) == set(registry.names())


def test_the_spec_can_be_shown(case: Case) -> None:
    spec = case.editor().spec
    assert spec.name
    assert spec.title
    assert spec.paper
    assert len({c.name for c in spec.controls}) == len(spec.controls)
    for control in spec.controls:
        assert control.low <= control.neutral <= control.high
        assert control.label
        assert control.help
        if control.choices:
            assert (control.low, control.high) == (0, len(control.choices) - 1)


def test_a_neutral_request_returns_the_projection(case: Case) -> None:
    editor, face = case.editor(), case.face()
    named = {c.name: c.neutral for c in editor.spec.controls}
    for request in (editor.spec.neutral(), order(editor, named)):
        result = editor.edit(face, request)
        assert torch.equal(result.image, face.image)
        assert result.code is None or torch.equal(result.code, face.latent.code)


def test_shapes_dtype_and_device_are_those_of_the_face(case: Case) -> None:
    editor, face = case.editor(), case.face()
    result = editor.edit(face, order(editor, case.requests[0]))
    assert result.image.shape == face.image.shape
    assert (result.image.dtype, result.image.device) == (face.image.dtype, face.image.device)
    assert float(result.image.abs().max()) <= 1
    assert not result.image.requires_grad
    assert not torch.equal(result.image, face.image)
    if result.code is not None:
        assert result.code.shape == face.latent.code.shape
        assert (result.code.dtype, result.code.device) == (face.latent.code.dtype, face.latent.code.device)
    if result.mask is not None:
        assert result.mask.shape == (1, *face.image.shape[1:])
    assert result.request == order(editor, case.requests[0])
    assert result.weights
    assert "seconds" in result.stats
    assert all(isinstance(v, (int, float)) for v in result.stats.values())


def test_the_same_request_gives_the_same_pixels(case: Case) -> None:
    editor, face = case.editor(), case.face()
    first, other = (order(editor, values) for values in case.requests)
    once = editor.edit(face, first)
    assert not same(editor.edit(face, other), once)
    assert same(editor.edit(face, first), once)
    assert same(case.editor().edit(case.face(), first), once)


def test_other_faces_in_between_change_nothing(case: Case) -> None:
    editor, faces = case.editor(), [case.face(seed) for seed in range(3)]
    request = order(editor, case.requests[0])
    in_turn = [editor.edit(face, request) for face in faces]
    for face, result in zip(faces, in_turn, strict=True):
        assert same(case.editor().edit(face, request), result)
    assert not same(in_turn[0], in_turn[1])


def test_the_face_is_left_alone(case: Case) -> None:
    editor, face = case.editor(), case.face()
    image, code = face.image.clone(), face.latent.code.clone()
    editor.edit(face, order(editor, case.requests[0]))
    assert torch.equal(face.image, image)
    assert torch.equal(face.latent.code, code)


@pytest.mark.parametrize("after", [0, 1, 5])
def test_cancelling_stops_within_a_few_steps(case: Case, after: int) -> None:
    editor, asked = case.editor(), 0

    def cancel() -> bool:
        nonlocal asked
        asked += 1
        return asked > after

    with pytest.raises(Cancelled):
        editor.edit(case.face(), order(editor, case.requests[0]), cancel=cancel)
    assert asked == after + 1
    assert editor.edit(case.face(), order(editor, case.requests[0])).image is not None


@pytest.mark.parametrize("which", [0, 1])
def test_progress_rises_to_one(case: Case, which: int) -> None:
    editor, seen = case.editor(), list[float]()
    values = case.requests[which] if which else {}
    editor.edit(case.face(), order(editor, values), progress=lambda fraction, message: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] == 1.0


def test_a_request_survives_json(case: Case) -> None:
    editor = case.editor()
    request = order(editor, case.requests[0])
    back = EditRequest.from_json(request.to_json())
    assert back == request
    assert same(editor.edit(case.face(), back), editor.edit(case.face(), request))


def test_values_out_of_range_and_strangers_are_refused(case: Case) -> None:
    editor, face = case.editor(), case.face()
    for control in editor.spec.controls:
        for value in (control.low - 0.01, control.high + 0.01, float("nan"), float("inf")):
            with pytest.raises(BadRequest):
                editor.edit(face, order(editor, {control.name: value}))
    with pytest.raises(BadRequest):
        editor.edit(face, order(editor, {"no such control": 1.0}))
    with pytest.raises(BadRequest):
        editor.edit(face, EditRequest("another editor", "1", {}))


def test_a_code_of_another_generator_is_refused(case: Case) -> None:
    editor = case.editor()
    if "latent" not in editor.spec.needs:
        return
    stranger = case.face(generator_id="some other generator")
    for values in ({}, case.requests[0]):
        with pytest.raises(WrongSpace, match="some other generator"):
            editor.edit(stranger, order(editor, values))
