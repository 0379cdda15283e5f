"""The engine on the tiny family: every step of the way from photo to photo."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tiny_family import ATTRIBUTES, SIZE, write_family
from workbench.editor import EditRequest
from workbench.engine import Engine
from workbench.errors import BadRequest, Cancelled, MissingWeights, WrongSpace
from workbench.face import Detection, Face, Latent, Photo


@pytest.fixture(scope="module")
def engine(tiny_manifest: Path) -> Engine:
    return Engine(family_file=tiny_manifest)


def photo(side: int = 90, seed: int = 0) -> Photo:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Photo(np.ascontiguousarray(np.kron(coarse, np.ones((side // 6, side // 6, 1), np.uint8))), "pattern")


def detection() -> Detection:
    points = np.array([[35.0, 40], [55, 40], [45, 50], [38, 58], [52, 58]])
    return Detection((25, 25, 65, 65), points, None, 0.9)


@pytest.fixture(scope="module")
def face(engine: Engine) -> Face:
    return engine.project(engine.align(photo(), detection()))


def ask(**values: float) -> EditRequest:
    return EditRequest("sdflow", "1", values)


def test_the_engine_says_what_it_is(engine: Engine) -> None:
    assert (engine.family, engine.device.type, engine.size, engine.n_latent) == ("starter", "cpu", SIZE, 8)
    assert [spec.name for spec in engine.editors()] == ["sdflow"]
    assert [c.attribute for c in engine.spec("sdflow").controls][:5] == list(ATTRIBUTES)


def test_a_family_without_a_detector_says_so(engine: Engine) -> None:
    with pytest.raises(MissingWeights, match="detector"):
        engine.detect(photo())


def test_an_aligned_face_has_the_generators_size_and_is_kept(engine: Engine) -> None:
    aligned = engine.align(photo(), detection())
    assert aligned.image.shape == (SIZE, SIZE, 3)
    assert aligned.detection is not None
    assert engine.align(photo(), detection()) is aligned
    assert engine.use_aligned(photo()).image.shape == (SIZE, SIZE, 3)


def test_a_projection_carries_where_it_comes_from(engine: Engine, face: Face) -> None:
    assert face.latent.code.shape == (8, 512)
    assert (face.latent.generator, face.mode) == (engine.generator_id, "encoder")
    assert face.image.shape == face.target.shape == (3, SIZE, SIZE)
    assert float(face.image.abs().max()) <= 1
    assert -1 <= face.identity <= 1
    assert face.l2 == pytest.approx(float((face.image - face.target).square().mean()))
    assert face.seconds > 0
    assert engine.project(face.aligned) is face


def test_the_same_crop_in_another_photo_keeps_its_own_photo(engine: Engine, face: Face) -> None:
    other = photo().pixels.copy()
    other[0, 0] ^= 1
    again = engine.project(engine.align(Photo(other), detection()))
    assert np.array_equal(again.aligned.image, face.aligned.image)
    assert np.array_equal(again.aligned.photo.pixels, other)


def test_refining_comes_closer_and_is_the_same_every_time(engine: Engine, face: Face, tiny_manifest: Path) -> None:
    heard: list[float] = []
    refined = engine.project(face.aligned, "refined", steps=6, progress=lambda f, m: heard.append(f))
    assert refined.l2 < face.l2
    assert refined.mode == "refined"
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    again = Engine(family_file=tiny_manifest).project(face.aligned, "refined", steps=6)
    assert torch.equal(again.latent.code, refined.latent.code)


def test_refining_stops_within_one_step(engine: Engine, face: Face) -> None:
    done: list[str] = []
    with pytest.raises(Cancelled, match="encoder"):
        engine.project(
            face.aligned, "refined", steps=30, progress=lambda f, m: done.append(m), cancel=lambda: len(done) >= 3
        )
    assert len(done) == 3
    assert engine.project(face.aligned, "refined", steps=4).mode == "refined"


def test_unknown_modes_and_no_steps_are_refused(engine: Engine, face: Face) -> None:
    with pytest.raises(BadRequest, match="encoder, refined"):
        engine.project(face.aligned, "magic")  # type: ignore[arg-type]
    with pytest.raises(BadRequest, match="at least one step"):
        engine.project(face.aligned, "refined", steps=0)


def test_out_of_domain_faces_are_warned_about(tmp_path: Path) -> None:
    manifest = write_family(tmp_path)
    manifest.write_text(manifest.read_text().replace("low_identity = -1.0", "low_identity = 1.1").replace("9.0", "0.0"))
    strict = Engine(family_file=manifest)
    warnings = strict.project(strict.align(photo(), detection())).warnings
    assert len(warnings) == 2
    assert "does not look like" in warnings[0]
    assert "far from the photo" in warnings[1]


def test_random_faces_depend_on_the_seed_alone(engine: Engine, tiny_manifest: Path) -> None:
    one = engine.random_face(4)
    assert torch.equal(one.image, Engine(family_file=tiny_manifest).random_face(4).image)
    assert not torch.equal(one.image, engine.random_face(5).image)
    assert torch.equal(engine.random_face(4, 0.0).latent.code, engine.random_face(5, 0.0).latent.code)
    assert (one.identity, one.l2) == (1.0, 0.0)


def test_sample_faces_come_with_the_family(engine: Engine) -> None:
    faces = engine.sample_faces()
    assert len(faces) == 3
    assert len({f.hash for f in faces}) == 3


def test_codes_of_another_generator_are_refused(engine: Engine, face: Face, tmp_path: Path) -> None:
    other = Engine(family_file=write_family(tmp_path, seed=1))
    assert other.generator_id != engine.generator_id
    with pytest.raises(WrongSpace, match=engine.generator_id):
        other.face_from_code(face.latent)
    with pytest.raises(WrongSpace):
        other.edit(face, ask(smiling=1))
    with pytest.raises(WrongSpace):
        other.strip(face, "smiling", [0, 1])


def test_a_saved_code_renders_the_same_face(engine: Engine, face: Face) -> None:
    again = engine.face_from_code(Latent(face.latent.code.clone(), engine.generator_id))
    assert torch.equal(again.image, face.image)


def test_an_edit_is_kept_and_its_cost_is_told(engine: Engine, face: Face) -> None:
    heard: list[float] = []
    result = engine.edit(face, ask(smiling=1), progress=lambda f, m: heard.append(f))
    assert engine.edit(face, ask(smiling=1)) is result
    assert result.stats["seconds"] > 0
    assert heard == sorted(heard)
    assert heard[-1] == 1.0
    assert result.weights[0] == engine.generator_id
    assert not result.image.is_inference()


def test_bad_requests_are_refused_before_anything_runs(engine: Engine, face: Face) -> None:
    for request in (ask(smile=1), ask(smiling=2), EditRequest("nobody", "1"), ask(smiling=float("nan"))):
        with pytest.raises(BadRequest):
            engine.edit(face, request)


def test_an_edit_can_be_cancelled(engine: Engine, face: Face) -> None:
    with pytest.raises(Cancelled):
        engine.edit(face, ask(smiling=0.123), cancel=lambda: True)
    assert engine.edit(face, ask(smiling=0.123)).code is not None


def test_a_neutral_edit_gives_the_photo_back_bit_for_bit(engine: Engine, face: Face) -> None:
    neutral = engine.edit(face, engine.spec("sdflow").neutral())
    assert torch.equal(neutral.image, face.image)
    assert np.array_equal(engine.compose(face, neutral).pixels, face.aligned.photo.pixels)
    assert np.array_equal(engine.compose(face, neutral, crop=True).pixels, face.aligned.image)


def test_an_edit_changes_the_face_and_nothing_else(engine: Engine, face: Face) -> None:
    result = engine.edit(face, ask(smiling=1, young=-1))
    for keep_detail in (True, False):
        photo_out = engine.compose(face, result, keep_detail=keep_detail)
        before = face.aligned.photo.pixels
        assert photo_out.pixels.shape == before.shape
        x0, y0 = np.floor(face.aligned.transform.quad.min(0)).astype(int)
        assert np.array_equal(photo_out.pixels[: max(0, y0)], before[: max(0, y0)])
        assert np.array_equal(photo_out.pixels[:, : max(0, x0)], before[:, : max(0, x0)])
        crop = engine.compose(face, result, crop=True, keep_detail=keep_detail)
        assert crop.pixels.shape == (SIZE, SIZE, 3)
    assert not np.array_equal(engine.compose(face, result, keep_detail=False).pixels, before)


def test_keeping_a_result_starts_from_it(engine: Engine, face: Face) -> None:
    result = engine.edit(face, ask(smiling=1))
    start = engine.keep(face, result)
    assert result.code is not None
    assert torch.equal(start.latent.code, result.code)
    assert torch.equal(start.image, result.image)
    assert np.array_equal(start.aligned.photo.pixels, engine.compose(face, result).pixels)
    neutral = engine.edit(start, engine.spec("sdflow").neutral())
    assert np.array_equal(engine.compose(start, neutral).pixels, start.aligned.photo.pixels)


def test_strips_and_grids_equal_single_edits(engine: Engine, face: Face) -> None:
    strip = engine.strip(face, "smiling", [-1, 0, 1])
    assert strip.shape == (3, 3, SIZE, SIZE)
    assert torch.allclose(strip[0], engine.edit(face, ask(smiling=-1)).image, atol=1e-4)
    assert torch.equal(strip[1], face.image)
    grid = engine.grid(face, "smiling", "young", [-1, 1], strengths_b=[0, 0.5, 1])
    assert grid.shape == (6, 3, SIZE, SIZE)
    assert torch.allclose(grid[4], engine.edit(face, ask(smiling=1, young=0.5)).image, atol=1e-4)


def test_readouts_have_forty_names_and_say_what_moved(engine: Engine, face: Face) -> None:
    readout = engine.readout(face.image)
    assert len(readout.values) == 40
    assert all(0 <= value <= 1 for value in readout.values.values())
    same = engine.compare(face, face.image)
    assert set(same.deltas.values()) == {0.0}
    assert same.identity_kept == pytest.approx(1, abs=1e-5)
    assert same.identity == pytest.approx(face.identity, abs=1e-5)
    assert same.unintended == ()


def test_what_was_asked_for_is_never_unintended(engine: Engine, face: Face) -> None:
    other = engine.random_face(9).image * 3
    free = engine.compare(face, other).unintended
    assert free
    assert list(free) == sorted(free, key=lambda n: -abs(engine.compare(face, other).deltas[n]))
    asked = engine.compare(face, other, ask(smiling=1, young=-1, male=1, eyeglasses=1, wavy_hair=1)).unintended
    assert set(asked) == set(free) - set(ATTRIBUTES)


def test_threads_get_the_same_pixels(tiny_manifest: Path) -> None:
    shared, alone = Engine(family_file=tiny_manifest), Engine(family_file=tiny_manifest)
    results: dict[int, torch.Tensor] = {}

    def work(seed: int) -> None:
        results[seed] = shared.edit(shared.random_face(seed), ask(smiling=1)).image

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(4):
        assert torch.equal(results[seed], alone.edit(alone.random_face(seed), ask(smiling=1)).image)


def test_a_callback_may_call_the_engine_again(engine: Engine, face: Face) -> None:
    seen: list[int] = []

    def draw(fraction: float, message: str = "") -> None:
        seen.append(len(engine.readout(face.target).values))

    engine.edit(face, ask(smiling=-0.321), progress=draw)
    assert set(seen) == {40}


def test_bfloat16_draws_nearly_the_same_face(engine: Engine, tiny_manifest: Path) -> None:
    half = Engine(family_file=tiny_manifest, precision="bfloat16")
    plain, rough = engine.random_face(3).image, half.random_face(3).image
    apart = float((plain - rough).norm() / plain.norm())
    assert 1e-6 < apart < 0.05
    assert rough.dtype is torch.float32
    with pytest.raises(BadRequest, match="float32, bfloat16"):
        Engine(family_file=tiny_manifest, precision="half")
