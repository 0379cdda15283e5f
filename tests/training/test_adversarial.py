"""The accelerator's rungs at toy size: they run, resume exactly, grow from a smaller run, and are bound to their generator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data import container
from data.datasets import load_faces
from encoders.compact import CompactE4E
from stylegan2.discriminator import Discriminator
from stylegan2.generator import Generator
from tests.tiny_family import write_family
from tests.training import faces
from training import run
from training.adversarial import grown_keys, start_generator, take_over
from training.held import HeldFaces
from workbench.errors import BadCheckpoint

CHANNELS = "{ 4 = 8, 8 = 8, 16 = 8, 32 = 4 }"


def adversarial(size: int, steps: int, more: str = "") -> str:
    return (
        f"""
task = "stylegan2"
[schedule]
steps = {steps}
log_every = 1
save_every = 100
seed = 1
"""
        + faces.DATA
        + f"""
[generator]
size = {size}
style_dim = 16
n_mlp = 2
channels = {CHANNELS}
[discriminator]
channels = {CHANNELS}
[augment]
images = 12
target = -2.0
[train]
batch = 4
rate_generator = 1e-3
rate_discriminator = 1e-3
r1 = 1.0
r1_every = 2
"""
        + more
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    faces.write(folder)
    write_family(folder)
    return folder


def config(folder: Path, text: str, name: str = "run.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def checkpoint(folder: Path) -> dict[str, torch.Tensor]:
    body = torch.load(folder / "checkpoint.pt", weights_only=True)
    return {
        f"{part}.{name}.{key}": value
        for part in ("modules", "ema")
        for name, state in body[part].items()
        for key, value in state.items()
    }


def test_a_stopped_run_equals_the_uninterrupted_one_and_grows(tmp_path: Path, data: Path) -> None:
    small = config(tmp_path, adversarial(16, 4))
    run.main(small, faces=data, out=tmp_path / "small", threads=1)
    for _ in range(4):
        run.main(small, faces=data, out=tmp_path / "parts", minutes=0.0, threads=1)
    whole, parts = checkpoint(tmp_path / "small"), checkpoint(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert float(whole["modules.augment.p"]) > 0
    lines = [json.loads(line) for line in (tmp_path / "small" / "log.jsonl").read_text().splitlines()]
    assert {"judge", "fool", "r1", "sign", "p"} <= lines[0].keys()
    header = container.read_header(tmp_path / "small" / "generator.safetensors")
    assert header["images"] == 16
    assert 0 < header["gigaflop"] < 0.1
    start = '[start]\ngenerator = "small/generator.safetensors"\ndiscriminator = "small/discriminator.safetensors"\n'
    judge = f'[judged]\nnetwork = "{data / "tiny" / "attributes.safetensors"}"\ncount = 8\n'
    grown = config(tmp_path, adversarial(32, 1, start + judge), "grown.toml")
    run.main(grown, faces=data, out=tmp_path / "grown", threads=1)
    assert container.read_header(tmp_path / "grown" / "generator.safetensors")["arch"]["size"] == 32
    found = json.loads((tmp_path / "grown" / "metrics.jsonl").read_text())
    assert found["fd_own"] > 0
    assert 0 <= found["precision_own"] <= 1
    assert np.isfinite(found["path_own"])


def test_a_larger_generator_begins_with_the_smaller_ones_picture() -> None:
    torch.manual_seed(0)
    table = {4: 8, 8: 8, 16: 8, 32: 4}
    small, large = (Generator(s, 16, 2, channels=table) for s in (16, 32))
    start_generator(large, small.state_dict())
    w = torch.randn(2, 16)
    with torch.inference_mode():
        a, b = small(w, latent=True), large(w, latent=True)
    assert (torch.nn.functional.avg_pool2d(b, 2) - a).abs().mean() < 0.1 * a.abs().mean()


def test_a_larger_discriminator_takes_the_smaller_ones_blocks() -> None:
    torch.manual_seed(0)
    table = {4: 8, 8: 8, 16: 8, 32: 4}
    small, large = (Discriminator(s, channels=table) for s in (16, 32))
    take_over(large, grown_keys(small.state_dict(), 1), "discriminator")
    assert torch.equal(large.convs[2].conv1[0].weight, small.convs[1].conv1[0].weight)  # pyright: ignore
    assert torch.equal(large.final_linear[1].weight, small.final_linear[1].weight)
    other = Discriminator(32, channels={4: 8, 8: 4, 16: 8, 32: 4})
    with pytest.raises(BadCheckpoint, match="other channels"):
        take_over(other, grown_keys(small.state_dict(), 1), "discriminator")


def test_held_faces_are_the_data_sets_own(data: Path) -> None:
    loaded = load_faces([data / "train.zip"], data / "train.csv", 32)
    held, index, flip = HeldFaces(loaded, "cpu"), np.array([3, 0]), np.array([True, False])
    assert torch.equal(held.batch(index, flip), loaded.batch(index, flip))


PROJECTOR = (
    """
task = "projector"
[schedule]
steps = 6
log_every = 2
save_every = 100
seed = 1
"""
    + faces.DATA
    + """
generated = 0.5
[networks]
generator = "FAMILY/generator.safetensors"
perceptual = "FAMILY/attributes.safetensors"
identity = "FAMILY/identity.safetensors"
[projector]
widths = [4, 8]
thumbnail = 8
bottleneck = 16
[train]
batch = 4
rate = 1e-3
unlock_every = 2
[train.weights]
perceptual = 0.1
identity = 0.1
delta = 0.01
code = 0.1
fool = 0.1
"""
)


def test_a_projector_learns_its_frozen_generator_row_by_row(tmp_path: Path, data: Path) -> None:
    text = PROJECTOR.replace("FAMILY", str(data / "tiny"))
    run.main(config(tmp_path, text), faces=data, out=tmp_path / "projector", threads=1)
    header = container.read_header(tmp_path / "projector" / "projector.safetensors")
    own = container.read_header(tmp_path / "projector" / "generator.safetensors")
    assert header["generator"] == own["id"]
    state, header = container.load(tmp_path / "projector" / "projector.safetensors")
    made = CompactE4E(**header["arch"]).eval()
    made.load_state_dict(state)
    codes = made(torch.rand(1, 3, 32, 32))[0]
    # Steps 0 to 5 let three rows go: those learned a delta, the others kept theirs at zero.
    apart = (codes - codes[0]).abs().amax(1)
    assert apart[1] > 0
    assert apart[2] > 0
    assert not apart[3:].any()
