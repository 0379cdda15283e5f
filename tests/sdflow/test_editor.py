"""The SDFlow editor's own promises; those of every editor are in tests/workbench/test_contract.py."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from sdflow.controls import NAME, VERSION
from sdflow.editor import SDFlowEditor
from tests.sdflow.tiny import ATTRIBUTES, WEIGHTS, editor, estimator, face, flow, generator
from workbench.editor import EditRequest
from workbench.errors import BadRequest, WrongSpace


def request(**values: float) -> EditRequest:
    return EditRequest(NAME, VERSION, values)


def test_code_and_picture_are_those_of_the_plain_recipe() -> None:
    start, result = face(), editor().edit(face(), request(smiling=0.6, male=-0.4))
    with torch.no_grad():
        source = estimator()(start.target[None])
        z = flow()(start.latent.code[None], source).x
        goal = source.clone()
        goal[0, 2] += 0.6 * (1.2 - source[0, 2])
        goal[0, 1] += 0.4 * (-0.2 - source[0, 1])
        code = flow()(z, goal, reverse=True).x
        image = generator().synthesis(code)
    assert result.code is not None
    torch.testing.assert_close(result.code, code[0])
    assert isinstance(image, torch.Tensor)
    torch.testing.assert_close(result.image, image[0].clamp(-1, 1), atol=1e-5, rtol=1e-5)
    assert result.stats["target_smiling"] == pytest.approx(float(goal[0, 2]))
    assert result.stats["estimate_smiling"] == pytest.approx(float(source[0, 2]))
    assert result.weights == WEIGHTS


def test_rows_outside_the_range_keep_the_code() -> None:
    result = editor().edit(face(), request(smiling=1, first_layer=1, last_layer=3))
    assert result.code is not None
    moved = (result.code != face().latent.code).any(1)
    assert moved.tolist() == [False, True, True, True, False, False]
    whole = editor().edit(face(), request(smiling=1)).code
    assert whole is not None
    torch.testing.assert_close(result.code[1:4], whole[1:4], atol=1e-5, rtol=1e-5)


def test_z_is_kept_per_photo() -> None:
    made = editor()
    first, second = made.edit(face(), request(smiling=1)), made.edit(face(), request(smiling=0.5))
    assert first.stats["nfe_forward"] > 0
    assert second.stats["nfe_forward"] == 0
    assert second.stats["nfe"] == second.stats["nfe_reverse"] > 0
    assert made.edit(face(1), request(smiling=1)).stats["nfe_forward"] > 0
    fresh = editor().edit(face(), request(smiling=0.5))
    assert torch.equal(second.image, fresh.image)


def test_strip_is_one_solve_with_the_bits_of_single_edits() -> None:
    made = editor()
    sheet = made.strip(face(), "smiling", [-1, 0, 0.5], base=request(male=0.3))
    assert sheet.images.shape == (3, 3, 16, 16)
    assert sheet.codes.shape == face().latent.code[None].expand(3, -1, -1).shape
    for n, strength in enumerate([-1, 0, 0.5]):
        single = editor().edit(face(), request(male=0.3, smiling=strength))
        assert torch.equal(sheet.images[n], single.image)
    plain = made.strip(face(), "smiling", [0.0, 1.0])
    assert torch.equal(plain.images[0], face().image)
    assert torch.equal(plain.codes[0], face().latent.code)


def test_grid_runs_row_by_row() -> None:
    made = editor()
    sheet = made.grid(face(), "male", "smiling", [-1, 1], [0, 0.5, 1])
    assert sheet.images.shape[0] == 6
    single = made.edit(face(), request(male=1, smiling=0.5))
    assert torch.equal(sheet.images[4], single.image)


def test_many_faces_and_requests_at_once_equal_each_alone() -> None:
    orders = [
        (face(0), request(smiling=1)),
        (face(1), request()),
        (face(1), request(male=-1, absolute=1)),
        (face(2), request(eyeglasses=0.2, first_layer=2)),
        (face(0), request(smiling=1, solver=1)),
    ]
    together = editor().edit_many(orders)
    for (start, order), result in zip(orders, together, strict=True):
        alone = editor().edit(start, order)
        assert torch.equal(alone.image, result.image)
        assert result.request is order


def test_likelihood_of_the_face_itself_is_the_flows() -> None:
    start, made = face(), editor()
    stats = made.edit(start, request(smiling=1e-6)).stats
    assert stats["log_likelihood_after"] == pytest.approx(stats["log_likelihood_before"], abs=1e-4)
    far = made.edit(start, request(smiling=1)).stats
    assert far["log_likelihood_before"] == stats["log_likelihood_before"]
    assert far["log_likelihood_after"] != far["log_likelihood_before"]
    assert {"nfe", "steps", "solver_error", "seconds", "seconds_reverse", "seconds_render"} <= set(far)


def test_the_official_solver_gives_nearly_the_same_code() -> None:
    checked, official = (editor().edit(face(), request(smiling=1, solver=s)) for s in (0, 1))
    assert checked.code is not None
    assert official.code is not None
    assert not torch.equal(checked.code, official.code)
    torch.testing.assert_close(checked.code, official.code, atol=2e-3, rtol=0)


def test_threads_can_share_an_editor() -> None:
    made, start = editor(), face()
    wanted = editor().edit(start, request(smiling=0.7)).image
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: made.edit(start, request(smiling=0.7)), range(8)))
    assert all(torch.equal(r.image, wanted) for r in results)


def test_codes_of_another_place_and_odd_orders_are_refused() -> None:
    made = editor()
    with pytest.raises(WrongSpace, match="generator-b"):
        made.edit(face(generator_id="generator-b"), request())
    with pytest.raises(BadRequest, match="choose one of: eyeglasses"):
        made.strip(face(), "first_layer", [1])
    with pytest.raises(BadRequest, match="different"):
        made.grid(face(), "male", "Male", [0], [1])
    with pytest.raises(BadRequest, match="at least one"):
        made.strip(face(), "male", [])
    with pytest.raises(ValueError, match="2 attributes"):
        SDFlowEditor(generator(), estimator(), flow(), ATTRIBUTES[:2], WEIGHTS)
