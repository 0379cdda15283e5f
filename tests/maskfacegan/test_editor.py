"""The masked editor beyond the contract: the kept reconstruction, restarts, own masks, presets, what the terms do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from maskfacegan import editor as module
from maskfacegan import presets
from maskfacegan.editor import MaskedResult, MaskFaceGANEditor, Snapshot
from maskfacegan.presets import FAST, PAPER, PRESETS, PREVIEW
from tests.maskfacegan import tiny
from workbench.editor import EditResult
from workbench.errors import BadRequest, Cancelled


def run(made: MaskFaceGANEditor, *args: Any, **named: Any) -> MaskedResult:
    result = made.run(*args, **named)
    assert isinstance(result, MaskedResult)
    return result


def same(a: EditResult, b: EditResult) -> bool:
    return torch.equal(a.image, b.image) and a.code is not None and b.code is not None and torch.equal(a.code, b.code)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The paper preset with few steps of each stage."""
    few = replace(PAPER, reconstruction=4, from_projection=2, edit=6, edit_global=5, noise=4, dynamic=3)
    monkeypatch.setitem(presets.PRESETS, "paper", few)  # type: ignore[arg-type]


def own_mask() -> torch.Tensor:
    mask = torch.zeros(1, tiny.SIZE, tiny.SIZE)
    mask[:, 4:10, 5:12] = 1
    return mask


def test_the_paper_preset_has_the_releases_numbers() -> None:
    assert (PAPER.reconstruction, PAPER.edit, PAPER.noise, PAPER.dynamic) == (500, 500, 501, 200)
    assert (PAPER.rate, PAPER.rate_noise, PAPER.edit_global, PAPER.from_projection) == (1e-3, 0.1, 700, 200)
    w = PAPER.weights
    assert (w.mse, w.lpips, w.classifier, w.shape, w.size, w.noise) == (2.0, 0.03, 0.005, 0.5, 1.0, 1.0)
    assert (w.region, w.delta, w.others) == (0, 0, 0)
    paper, fast = PAPER.reconstruction + PAPER.edit + PAPER.noise, FAST.from_projection + FAST.edit + FAST.noise
    assert 8 * fast <= paper
    assert PREVIEW.from_projection + PREVIEW.edit < fast


def test_a_second_attribute_starts_where_the_reconstruction_ended() -> None:
    made, face = tiny.editor(), tiny.face()
    first = run(made, face, tiny.ask(smiling=1.0))
    assert first.stats["steps_reconstruction"] == PREVIEW.from_projection
    assert made.steps(face, tiny.ask(big_nose=1.0)) == PREVIEW.edit
    second = run(made, face, tiny.ask(big_nose=1.0))
    assert (second.stats["steps_reconstruction"], second.stats["reconstruction_kept"]) == (0, 1)
    assert same(second, tiny.editor().edit(face, tiny.ask(big_nose=1.0)))
    assert run(made, tiny.face(1), tiny.ask(big_nose=1.0)).stats["reconstruction_kept"] == 0


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("at", [1, 6, 11])
def test_a_restored_run_gives_the_same_pixels(at: int) -> None:
    """Stopped in the reconstruction, the edit and the noise stage of the paper preset."""
    face, request, states = tiny.face(), tiny.ask(tiny.PAPER, smiling=1.0), list[dict[str, Any]]()

    def watch(now: Snapshot) -> None:
        if now.point.step == at:
            states.append(now.state())

    whole = run(tiny.editor(), face, request, watch=watch)
    assert [p.stage for p in whole.trace] == ["reconstruction"] * 4 + ["edit"] * 6 + ["noise"] * 4
    again = run(tiny.editor(), face, request, resume=states[0])
    assert again.stats["steps"] == whole.stats["steps"] - at - 1
    assert same(again, whole)


@pytest.mark.usefixtures("short")
def test_the_seed_draws_the_noise() -> None:
    face, request = tiny.face(), tiny.ask(tiny.PAPER, smiling=1.0)
    one, two = run(tiny.editor(), face, request), run(tiny.editor(), face, replace(request, seed=1))
    assert one.trace[-1].terms["noise"] != two.trace[-1].terms["noise"]


def test_outside_the_mask_every_bit_is_the_photos() -> None:
    face = tiny.face()
    for seam in (0.0, 1.0):
        result = run(tiny.editor(), face, tiny.ask(smiling=1.0, seam=seam), mask=own_mask())
        assert result.mask is not None
        outside = (result.mask == 0).expand(3, -1, -1)
        assert bool((outside[0] >= (own_mask()[0] == 0)).all())
        assert torch.equal(result.image[outside], face.target[outside])
        assert not torch.equal(result.image, face.target)


def test_an_own_mask_must_be_one_layer_with_something_in_it() -> None:
    made, face = tiny.editor(), tiny.face()
    for mask, words in ((torch.zeros(1, 16, 16), "empty"), (torch.ones(3, 16, 16), "one layer")):
        with pytest.raises(BadRequest, match=words):
            made.run(face, tiny.ask(smiling=1.0), mask=mask)


def test_the_guide_moves_towards_each_target_and_the_trace_tells_it() -> None:
    face = tiny.face()
    made = tiny.editor()
    for name in ("smiling", "male"):
        ends = [
            run(made, face, tiny.ask(likeness=0.0, **{name: value})).stats[f"after_{name}"] for value in (1.0, -1.0)
        ]
        assert ends[0] > ends[1] + 0.001
    up = run(made, face, tiny.ask(smiling=1.0, male=-1.0, likeness=0.0))
    assert up.stats["target_smiling"] == pytest.approx(0.95)
    kl = [p.terms["classifier"] for p in up.trace if p.stage == "edit"]
    assert kl[-1] < kl[0]
    assert len(up.trace) == up.stats["steps"]


def test_likeness_keeps_the_region_nearer_to_the_photo() -> None:
    face, mask = tiny.face(), own_mask()

    def change(likeness: float) -> float:
        result = run(tiny.editor(), face, tiny.ask(smiling=1.0, likeness=likeness), mask=mask)
        return float((result.image - face.target).square().mean())

    assert change(4.0) < change(0.0)


def test_size_pulls_the_area_its_way() -> None:
    face = tiny.face()

    def pull(size: float) -> list[float]:
        return [
            p.terms["size"]
            for p in run(tiny.editor(), face, tiny.ask(big_nose=0.5, size=size)).trace
            if "size" in p.terms
        ]

    assert pull(1.0)
    assert pull(0.0) == []
    assert pull(-1.0) != pull(1.0)


def test_watchers_see_a_picture_and_cancelling_stops_at_once() -> None:
    face, seen = tiny.face(), list[int]()

    def watch(now: Snapshot) -> None:
        seen.append(now.point.step)
        picture = now.picture()
        assert picture.shape == face.image.shape
        assert float(picture.abs().max()) <= 1

    with pytest.raises(Cancelled):
        tiny.editor().run(face, tiny.ask(smiling=1.0), watch=watch, cancel=lambda: len(seen) >= 3)
    assert seen == [0, 1, 2]


def test_a_smaller_run_is_possible_and_says_so() -> None:
    result = run(tiny.editor(), tiny.face(), tiny.ask(smiling=1.0), reduced=True)
    assert result.stats["reduced"] == 1
    assert result.image.shape == (3, tiny.SIZE, tiny.SIZE)


def test_the_region_can_be_shown_before() -> None:
    made, face = tiny.editor(), tiny.face()
    region = made.region(face, tiny.ask(smiling=1.0), own_mask())
    assert region.shape == (1, tiny.SIZE, tiny.SIZE)
    assert bool((region[own_mask() == 0] == 0).all())
    assert not made.region(face, tiny.ask()).any()
    assert module.KEPT > 0
    assert set(PRESETS) == {"preview", "fast", "paper"}


def test_the_guide_is_shown_the_edit_in_the_photo() -> None:
    """What the last step read is what the finished picture reads: the edit is judged where it will be seen."""
    face = tiny.face()
    plain = replace(PREVIEW, views=1, patience=0.0)
    readings: list[float] = []
    for composed in (True, False):
        job, _ = with_preset(replace(plain, composed=composed), face)
        while not job.finished:
            job.step()
        shown = job.composed(job.render())
        guide = job.networks.guide(shown).sigmoid()[0, tiny.column("Smiling")]
        readings.append(abs(float(guide.detach()) - 0.95))
    assert readings[0] < readings[1]


def with_preset(preset: presets.Preset, face: Any) -> Any:
    made = tiny.editor()
    wanted = replace(module.plan(made.spec.validate(tiny.ask(smiling=1.0))), preset=preset)
    return made._begin(face, wanted, 0, None, False)
