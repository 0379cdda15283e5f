"""The training task in the shared loop, on tiny faces."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from data import container
from iafaces.losses import outside
from iafaces.model import ComponentAutoencoder
from tests.training import faces
from training import run
from training.components_paper import strokes
from training.files import ROOT, attribute_guide
from workbench.errors import BadCheckpoint, MissingWeights

CONFIG = (
    """
task = "components"
[schedule]
steps = 6
log_every = 2
save_every = 100
seed = 1
"""
    + faces.DATA
    + """
[network]
size = 32
encoder = { widths = [4, 8], content = 16, dim = 8, crop = 16, readers = [4, 8] }
decoder = { widths = [8, 8, 8], content = 16, dim = 8, seed = 8 }
[discriminator]
channels = { 16 = 4, 8 = 8, 4 = 8 }
[[stage]]
until = 2
side = 16
batch = 4
swap = 1
[[stage]]
until = 6
side = 32
batch = 4
swap = 2
adversarial = 0.2
[train]
rate = 2e-3
rate_discriminator = 1e-3
r1 = 1.0
r1_every = 2
[train.weights]
consistency = 0.1
"""
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faces")
    faces.write(folder)
    return folder


def test_a_resumed_run_equals_the_whole_one_and_leaves_a_usable_file(tmp_path: Path, data: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(CONFIG)
    assert run.main(config, faces=data, out=tmp_path / "whole", threads=1) == 6
    done = 0
    while done < 6:
        done = run.main(config, faces=data, out=tmp_path / "parts", minutes=0.0, threads=1)
    whole, header = container.load(tmp_path / "whole" / "components.safetensors")
    parts, _ = container.load(tmp_path / "parts" / "components.safetensors")
    assert all(torch.equal(value, parts[name]) for name, value in whole.items())
    assert header["kind"] == "components"
    assert header["psnr_val"] > 0
    net = ComponentAutoencoder(**header["arch"])
    net.load_state_dict(whole)
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    assert (tmp_path / "whole" / "grid-0000006.png").is_file()


PAPER = (
    """
task = "components_paper"
[schedule]
steps = 3
log_every = 1
save_every = 100
ema = 0.9
"""
    + faces.DATA
    + """
[network]
discriminator = [4, 4, 4, 4]
encoder = { size = 32, widths = [4, 8], content = 8, feats_dim = 4 }
decoder = { start = 8, widths = [8, 8, 4], content = 8, cam = true, style = "none", feats_dim = 4 }
[train]
batch = 4
rate = 2e-3
r1 = 10.0
r1_every = 2
erase = 0.5
thickest = 8
"""
)


def test_the_published_recipe_trains_and_averages_its_noise(tmp_path: Path, data: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text(PAPER)
    assert run.main(config, faces=data, out=tmp_path / "paper", threads=1) == 3
    body = torch.load(tmp_path / "paper" / "published.pt", weights_only=True)
    trained = torch.load(tmp_path / "paper" / "checkpoint.pt", weights_only=True)["modules"]
    assert torch.equal(body["g_ema"]["noises.noise_2"], trained["decoder"]["noises.noise_2"])
    assert not torch.equal(body["g_ema"]["conv1.conv.weight"], trained["decoder"]["conv1.conv.weight"])
    lines = [json.loads(line) for line in (tmp_path / "paper" / "log.jsonl").read_text().splitlines()]
    assert all(line["l1"] > 0 and line["fool"] > 0 for line in lines)


def test_strokes_erase_about_half() -> None:
    rng = np.random.default_rng(0)
    share = np.mean([1 - strokes(rng, 256, 16).mean() for _ in range(20)])
    assert 0.35 < share < 0.65


def test_change_inside_the_box_is_free_and_outside_it_is_not() -> None:
    rows = torch.tensor([[False, False, False, True]])
    image = torch.zeros(1, 3, 64, 64)
    inside, beyond = image.clone(), image.clone()
    inside[:, :, 48:50, 30:34] = 1
    beyond[:, :, 5, 5] = 1
    assert outside(inside, image, rows, 0.03) == 0
    assert outside(beyond, image, rows, 0.03) > 0


@pytest.mark.parametrize("name", ["starter_iafaces", "iafaces_paper"])
def test_the_guide_that_the_shipped_settings_name_is_found_from_any_folder_of_runs(name: str, tmp_path: Path) -> None:
    settings = tomllib.loads((ROOT / "configs" / f"{name}.toml").read_text())
    guide = attribute_guide(settings["train"]["perceptual"], tmp_path, "cpu")
    assert not any(p.requires_grad for p in guide.parameters())
    with pytest.raises(MissingWeights, match=r"nowhere\.safetensors"):
        attribute_guide("nowhere.safetensors", tmp_path, "cpu")
    with pytest.raises(BadCheckpoint):
        attribute_guide("data/starter/identity.safetensors", tmp_path, "cpu")
