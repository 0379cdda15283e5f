"""The training loop: resumed equals uninterrupted, two ranks equal one, what is left behind is usable."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from data import container
from stylegan2.generator import Generator
from tests.training import faces
from training import run
from training.autoencoder import AutoencoderTask
from training.distributed import Ranks
from training.settings import read_settings
from workbench.errors import BadCheckpoint, BadRequest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    faces.write(folder)
    return folder


def settings(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text)
    return path


def states(folder: Path) -> dict[str, torch.Tensor]:
    body = torch.load(folder / "checkpoint.pt", weights_only=True)
    flat = {}
    for group in ("modules", "ema"):
        for name, state in body[group].items():
            flat |= {f"{group}.{name}.{k}": v for k, v in state.items()}
    return flat


def test_a_run_stopped_and_resumed_equals_the_uninterrupted_one(tmp_path: Path, data: Path) -> None:
    config = settings(tmp_path, faces.AUTOENCODER)
    run.main(config, faces=data, out=tmp_path / "whole", threads=1)
    # Stopped by its clock after every step, as a killed run is resumed from its last checkpoint.
    done = 0
    while done < 6:
        before, done = done, run.main(config, faces=data, out=tmp_path / "parts", minutes=0.0, threads=1)
        assert done == before + 1
    whole, parts = states(tmp_path / "whole"), states(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_training_changes_the_weights_and_leaves_a_usable_generator(tmp_path: Path, data: Path) -> None:
    config = settings(tmp_path, faces.AUTOENCODER)
    run.main(config, faces=data, out=tmp_path / "out", threads=1)
    state, header = container.load(tmp_path / "out" / "generator.safetensors")
    projector = container.read_header(tmp_path / "out" / "projector.safetensors")
    assert projector["generator"] == header["id"]
    center = state.pop("latent_avg")
    generator = Generator(**header["arch"])
    generator.load_state_dict(state)
    image = generator.synthesis(center.expand(1, generator.n_latent, -1))
    assert image.shape == (1, 3, 32, 32)
    assert image.isfinite().all()
    assert (tmp_path / "out" / "grid-0000006.png").is_file()
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert "judge" in lines[-1]


def test_a_longer_schedule_may_add_a_discriminator(tmp_path: Path, data: Path) -> None:
    stage = "[[stage]]\nuntil = 6\nside = 32\nbatch = 4\nadversarial = 0.1\nrandom = 2\n"
    short = faces.AUTOENCODER.replace(stage, "").replace("until = 2", "until = 3").replace("steps = 6", "steps = 3")
    assert "adversarial" not in short
    run.main(settings(tmp_path, short), faces=data, out=tmp_path / "out", threads=1)
    run.main(settings(tmp_path, faces.AUTOENCODER), faces=data, out=tmp_path / "out", threads=1)
    last = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 6
    assert last["judge"] > 0


def test_the_classifier_learns(tmp_path: Path, data: Path) -> None:
    run.main(settings(tmp_path, faces.ATTRIBUTES), faces=data, out=tmp_path / "out", threads=1)
    assert container.read_header(tmp_path / "out" / "attributes.safetensors")["accuracy"] > 0.6


def launch(config: Path, data: Path, out: Path, ranks: int) -> None:
    """Start one process per rank with the environment torchrun gives them."""
    command = [
        sys.executable,
        "-m",
        "training.run",
        str(config),
        "--faces",
        str(data),
        "--out",
        str(out),
        "--threads",
        "1",
    ]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": str(ranks),
    }
    running = [subprocess.Popen(command, cwd=ROOT, env={**shared, "RANK": str(rank)}) for rank in range(ranks)]
    try:
        assert [process.wait(timeout=240) for process in running] == [0] * ranks
    finally:
        for process in running:
            process.kill()


def test_two_ranks_equal_one(tmp_path: Path, data: Path) -> None:
    # The projector's batch statistics stay out of it. A large epsilon makes Adam follow the gradient's size: as it stands it
    # turns a gradient near zero into a full step of either sign, and rounding would decide.
    text = faces.AUTOENCODER.replace("rate_projector = 1e-3", "rate_projector = 0.0")
    text = text.replace("adversarial = 0.1", "adversarial = 0.0").replace(
        "rate_generator = 1e-3", "rate_generator = 10.0\nepsilon = 1.0"
    )
    config = settings(tmp_path, text)
    run.main(config, faces=data, out=tmp_path / "one", threads=1)
    launch(config, data, tmp_path / "two", 2)
    torch.manual_seed(1)
    body = tomllib.loads(config.read_text())
    fresh = AutoencoderTask(body, data, tmp_path / "fresh", "cpu", Ranks()).generator.state_dict()
    one, two = (
        {
            k.removeprefix("modules.generator."): v
            for k, v in states(tmp_path / run).items()
            if k.startswith("modules.generator.")
        }
        for run in ("one", "two")
    )
    moved = torch.cat([(one[k] - fresh[k]).flatten() for k in one]).norm()
    apart = torch.cat([(one[k] - two[k]).flatten() for k in one]).norm()
    assert moved > 0.01
    assert apart < 2e-3 * moved


def test_two_ranks_sharpen_together(tmp_path: Path, data: Path) -> None:
    # Noise is drawn by each rank for itself, so they cannot equal one; but all hold the same networks and remembered codes.
    config = settings(tmp_path, faces.AUTOENCODER)
    launch(config, data, tmp_path / "two", 2)
    after = states(tmp_path / "two")
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())
    assert after["modules.seen.codes"].std() > 0
    assert json.loads((tmp_path / "two" / "log.jsonl").read_text().splitlines()[-1])["r1"] > 0


def test_beginning_afresh_does_not_trust_an_older_checkpoint(tmp_path: Path, data: Path) -> None:
    config = settings(tmp_path, faces.AUTOENCODER)
    run.main(config, faces=data, out=tmp_path / "a", threads=1)
    run.main(config, faces=data, out=tmp_path / "b", threads=1)
    run.main(config, faces=data, out=tmp_path / "b", threads=1, resume=False)
    first, again = states(tmp_path / "a"), states(tmp_path / "b")
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_a_checkpoint_of_other_settings_is_refused_in_one_sentence(tmp_path: Path, data: Path) -> None:
    run.main(settings(tmp_path, faces.AUTOENCODER), faces=data, out=tmp_path / "out", minutes=0.0, threads=1)
    wider = settings(tmp_path, faces.AUTOENCODER.replace("32 = 8 }", "32 = 16 }"))
    with pytest.raises(BadCheckpoint, match="made with other settings"):
        run.main(wider, faces=data, out=tmp_path / "out", threads=1)


def test_bad_settings_are_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be read"):
        run.main(tmp_path / "missing.toml")
    path = tmp_path / "bad.toml"
    path.write_text('task = "nothing"')
    with pytest.raises(BadRequest, match="there are: attributes"):
        run.main(path)


def test_settings_may_be_based_on_others(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('task = "x"\n[train]\nrate = 1.0\nsteps = [1, 2]\n')
    (tmp_path / "b.toml").write_text('based_on = "a.toml"\n[train]\nsteps = [3]\n[more]\nk = 1\n')
    assert read_settings(tmp_path / "b.toml") == {"task": "x", "train": {"rate": 1.0, "steps": [3]}, "more": {"k": 1}}
    (tmp_path / "a.toml").write_text('based_on = "b.toml"')
    for bad in ("a", "b"):
        with pytest.raises(BadRequest, match="must be another file"):
            read_settings(tmp_path / f"{bad}.toml")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda p: p.stem)
def test_every_file_of_settings_can_be_read(path: Path) -> None:
    assert read_settings(path)["task"] in {**run.TASKS, **run.TIMED}
