"""Both trainings through ``training.run``: resume, what learns, what is left behind, ranks, published numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from data import container
from idswap.models import CodeMapper
from idswap.presets import (
    NITZAN_PRESETS,
    NITZAN_TF,
    NITZAN_TORCH,
    ZHOU_FAITHFUL,
    ZHOU_PLUS,
    ZHOU_PRESETS,
    configured,
)
from tests.idswap import settings
from tests.training.test_loop import launch, states
from training import run
from training.make_dataset import Job, make
from training.settings import read_settings
from workbench.errors import BadCheckpoint, BadImage, BadRequest, MissingWeights, WrongSpace
from workbench.networks import CLASSES, LATENT_BOUND, build

ROOT = Path(__file__).parents[2]
BODIES = {"nitzan": settings.NITZAN, "zhou": settings.ZHOU}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return settings.write(tmp_path_factory.mktemp("family"))


def train(body: str, family: Path, out: Path, minutes: float | None = None) -> int:
    out.parent.mkdir(parents=True, exist_ok=True)
    path = out.parent / f"{out.name}.toml"
    path.write_text(body)
    return run.main(path, faces=family, out=out, minutes=minutes, threads=1)


def log(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", BODIES)
def test_a_resumed_run_equals_the_uninterrupted_one(name: str, family: Path, tmp_path: Path):
    body = settings.text(BODIES[name], family)
    train(body, family, tmp_path / "whole")
    done = 0
    while done < 6:
        before, done = done, train(body, family, tmp_path / "parts", minutes=0.0)
        assert done == before + 1
    whole, parts = states(tmp_path / "whole"), states(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


@pytest.mark.parametrize("name", BODIES)
def test_a_run_leaves_usable_weights_and_a_sheet(name: str, family: Path, tmp_path: Path):
    train(settings.text(BODIES[name], family), family, tmp_path / "out")
    generator = container.read_header(family / "tiny" / "generator.safetensors")["id"]
    encoder_kind = {"nitzan": "nitzan_attributes", "zhou": "zhou_encoder"}[name]
    for kind in (encoder_kind, f"{name}_mapper"):
        state, header = container.load(tmp_path / "out" / f"{kind}.safetensors")
        assert header["kind"] == kind
        assert header["generator"] == generator
        assert kind in CLASSES
        build(kind, header["arch"]).load_state_dict(state)
    mapper = container.read_header(tmp_path / "out" / f"{name}_mapper.safetensors")
    assert mapper["encoder"] == container.read_header(tmp_path / "out" / f"{encoder_kind}.safetensors")["id"]
    assert f"{name}_mapper" in LATENT_BOUND
    assert (tmp_path / "out" / "grid-0000006.png").is_file()
    terms = set().union(*log(tmp_path / "out"))
    common = {"identity", "landmarks", "perceptual", "structure", "code", "offset", "loss"}
    own = {"nitzan": {"fool", "judge", "r1"}, "zhou": {"identity_high", "identity_mixed", "attributes", "l2", "distil"}}
    assert common | own[name] <= terms


@pytest.mark.parametrize(("name", "terms"), [("nitzan", ("code", "identity")), ("zhou", ("distil", "l2"))])
def test_losses_fall(name: str, terms: tuple[str, ...], family: Path, tmp_path: Path):
    body = settings.text(BODIES[name], family, steps=24, photos=0)
    for old, new in (
        ("codes_only = 2", "codes_only = 0"),
        ("freeze_norm_at = 2", "freeze_norm_at = 1000"),
        ("rate = 2e-3", "rate = 1e-2"),
        ("log_every = 5", "log_every = 2"),
        ("code = 0.1", "code = 1.0"),
    ):
        body = body.replace(old, new)
    train(body, family, tmp_path / "out")
    lines = log(tmp_path / "out")
    # Three lines are six steps, a whole period of the schedule.
    for term in terms:
        assert sum(x[term] for x in lines[-3:]) < 0.8 * sum(x[term] for x in lines[:3]), term


def test_only_the_methods_own_networks_move(family: Path, tmp_path: Path):
    before = {p.name: p.read_bytes() for p in (family / "tiny").glob("*.safetensors")}
    body = settings.text(settings.NITZAN, family, steps=4, generated='"fly"', photos=0)
    train(body, family, tmp_path / "out")
    checkpoint = torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)
    assert set(checkpoint["modules"]) == {"attributes", "mapper", "discriminator"}
    assert set(checkpoint["optimizers"]) == {"main", "adversarial", "discriminator"}
    assert before == {p.name: p.read_bytes() for p in (family / "tiny").glob("*.safetensors")}


def test_a_training_goes_on_from_files_and_keeps_its_gain(family: Path, tmp_path: Path):
    body = settings.text(settings.NITZAN, family, steps=2, generated='"fly"', photos=0)
    train(body, family, tmp_path / "first")
    files = {m: str(tmp_path / "first" / f"nitzan_{m}.safetensors") for m in ("attributes", "mapper")}
    start = "\n[start]\n" + "\n".join(f'{name} = "{path}"' for name, path in files.items())
    onward = body.replace("[mapper]", "[mapper]\nidentity_gain = 1.5", 1) + start
    # No rate at all: what comes out is what went in, but for the gain that the settings name.
    for rate in ("rate = 2e-3", "rate_adversarial = 2e-4"):
        assert rate in onward
        onward = onward.replace(rate, rate.split(" = ")[0] + " = 0.0")
    train(onward, family, tmp_path / "second")
    for name, path in files.items():
        old, new = (container.load(Path(p))[0] for p in (path, tmp_path / "second" / f"nitzan_{name}.safetensors"))
        for key in old:
            if key == "identity_gain":
                assert (float(old[key]), float(new[key])) == (1.0, 1.5)
            elif "running" not in key and "num_batches" not in key:
                torch.testing.assert_close(new[key], old[key], msg=key)
    with pytest.raises(BadRequest, match=r"\[start\] names 'encoder'"):
        train(body + f'\n[start]\nencoder = "{files["mapper"]}"', family, tmp_path / "third")
    with pytest.raises(BadCheckpoint, match="holds no 'mapper' of the shape"):
        train(body + f'\n[start]\nmapper = "{files["attributes"]}"', family, tmp_path / "fourth")


def test_stored_sets_train_too(family: Path, tmp_path: Path):
    manifest = str(family / "weights.toml")
    make(Job(tmp_path / "set", "nitzan", 4, manifest=manifest), say=lambda _: None)
    body = settings.text(settings.ZHOU, family, generated=f'"{tmp_path / "set"}"', photos=0)
    assert train(body, family, tmp_path / "out") == 6
    (tmp_path / "none").mkdir()
    body = settings.text(settings.ZHOU, family, generated=f'"{tmp_path / "none"}"', photos=0)
    with pytest.raises(BadImage, match="no generated faces"):
        train(body, family, tmp_path / "other")


def test_two_ranks_equal_one(family: Path, tmp_path: Path):
    # Statistics of batch norms are each rank's own, so they rest from the start; the large epsilon keeps Adam from turning rounding
    # into whole steps.
    body = settings.text(settings.NITZAN, family, steps=2).replace("codes_only = 2", "codes_only = 0")
    body = body.replace("freeze_norm_at = 2", "freeze_norm_at = 0").replace(
        'preset = "nitzan_tf"', 'preset = "nitzan_tf"\nsummed = false\nepsilon = 1.0'
    )
    body = body.replace("rate = 2e-3", "rate = 1.0")
    train(body, family, tmp_path / "one")
    config = tmp_path / "two.toml"
    config.write_text(body)
    launch(config, family, tmp_path / "two", 2)
    one, two = states(tmp_path / "one"), states(tmp_path / "two")
    ours = [k for k in one if k.startswith(("modules.attributes", "modules.mapper")) and one[k].is_floating_point()]
    start = states_at_start(body, family, tmp_path)
    moved = torch.cat([(one[k] - start[k]).flatten() for k in ours]).norm()
    apart = torch.cat([(one[k] - two[k]).flatten() for k in ours]).norm()
    assert moved > 1e-3
    assert apart < 5e-3 * moved


def states_at_start(body: str, family: Path, folder: Path) -> dict[str, torch.Tensor]:
    train(body.replace("rate = 1.0", "rate = 0.0").replace("steps = 2", "steps = 1"), family, folder / "start")
    return states(folder / "start")


def test_offsets_start_at_the_w_mapper():
    torch.manual_seed(0)
    plain = CodeMapper([8, 6, 6, 6, 512], rows=4)
    ours = CodeMapper([8, 6, 6, 6, 512], rows=4, rank=3)
    ours.mapper.load_state_dict(plain.mapper.state_dict())
    identity, attributes = torch.randn(2, 3), torch.randn(2, 5)
    assert torch.equal(plain(identity, attributes), ours(identity, attributes))
    rows = plain(identity, attributes)
    assert torch.equal(rows[:, 0], rows[:, 3])
    (ours(identity, attributes) * torch.randn(2, 4, 512)).sum().backward()
    assert ours.offsets is not None
    assert ours.offsets.heads.weight.grad is not None
    assert ours.offsets.heads.weight.grad.abs().sum() > 0


def test_the_published_schedule_over_six_steps():
    assert [NITZAN_TF.crosses(i, 0.0) for i in range(6)] == [True, False, False, True, False, False]
    assert [NITZAN_TF.fights(i) for i in range(6)] == [True, False, True, False, True, False]
    assert not any(NITZAN_TORCH.fights(i) for i in range(6))
    unified = configured({"preset": "nitzan_tf", "unified": True}, NITZAN_PRESETS)
    assert all(unified.fights(i) for i in range(6))
    assert unified.adversarial_weight == 0.5
    by_chance = configured({"preset": "nitzan_tf", "cross_every": 0, "cross_prob": 0.25}, NITZAN_PRESETS)
    assert [by_chance.crosses(0, u) for u in (0.1, 0.24, 0.25, 0.9)] == [True, True, False, False]


def test_published_numbers():
    tf = NITZAN_TF
    assert (tf.batch, tf.identity, tf.structure, tf.alpha, tf.r1) == (6, 1.0, 0.02, 0.84, 10.0)
    assert tf.landmarks == pytest.approx(0.001 * 160**2)
    assert (tf.rate, tf.rate_adversarial / tf.rate, tf.rate_discriminator / tf.rate) == pytest.approx((5e-5, 0.1, 0.4))
    port = NITZAN_TORCH
    assert (port.batch, port.landmarks, port.structure, port.l2, port.perceptual) == (8, 12_544, 0.01, 1.0, 1.0)
    assert (port.rate, port.r1, port.rate_discriminator, port.rate_adversarial) == (6e-5, 14.0, 2e-5, 7e-6)
    zhou = ZHOU_FAITHFUL
    weights = (zhou.l2, zhou.structure, zhou.perceptual, zhou.identity, zhou.identity_high, zhou.attributes)
    assert weights == (1.0,) * 6
    assert (zhou.alpha, zhou.crops, zhou.landmarks, zhou.rate, zhou.freeze_norm_at) == (0.9, 8, 0.0, 1e-5, 200)
    assert ZHOU_PLUS.freeze_norm_at is None
    assert ZHOU_PLUS.landmarks > 0


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*nitzan*.toml")) + sorted(ROOT.glob("configs/*zhou*.toml")))
def test_settings_files_are_understood(path: Path):
    body = read_settings(path)
    if body["task"] == "nitzan":
        c = configured(body["nitzan"], NITZAN_PRESETS)
        if c.landmarks:
            assert "landmarks" in body["networks"]
    else:
        c = configured(body["zhou"], ZHOU_PRESETS)
        assert "perceptual" in body["networks"]
    if c.perceptual:
        assert "perceptual" in body["networks"]
    name = path.stem
    if name in NITZAN_PRESETS:
        assert c == NITZAN_PRESETS[name]
        widths = {"nitzan_tf": (0.7, 8), "nitzan_torch": (0.5, None)}[name]
        assert (body["data"]["truncation"], body["data"].get("truncated_rows")) == widths


def test_wrong_settings_are_said_in_a_sentence(family: Path, tmp_path: Path):
    with pytest.raises(BadRequest, match="no preset 'magic'"):
        configured({"preset": "magic"}, NITZAN_PRESETS)
    with pytest.raises(BadRequest, match="no 'landmark'"):
        configured({"preset": "nitzan_tf", "landmark": 1}, NITZAN_PRESETS)
    body = settings.text(settings.NITZAN, family)
    with pytest.raises(MissingWeights, match=r"nothing\.safetensors"):
        train(body.replace("landmarks.safetensors", "nothing.safetensors"), family, tmp_path / "a")
    other = settings.write_family(tmp_path / "other", seed=5).parent
    mixed = body.replace(f'generator = "{family}', f'generator = "{other}')
    with pytest.raises(WrongSpace, match="made for the generator"):
        train(mixed, family, tmp_path / "b")
    with pytest.raises(BadRequest, match="no attribute encoder"):
        train(body.replace('form = "compact"', 'form = "mirror"'), family, tmp_path / "c")
