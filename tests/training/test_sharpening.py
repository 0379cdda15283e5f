"""Going on from an earlier generator: more channels, random faces, patches, and a mean code that stays where it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data import container
from encoders.compact import CompactE4E
from stylegan2.generator import Generator
from tests.training import faces
from training import mapping, run
from training.autoencoder import Seen
from training.files import load_network
from training.patches import Patches, believed, feature_distance, slope, told_apart
from training.widen import start_wider
from workbench.errors import BadCheckpoint, FacetError

NARROW = {4: 8, 8: 8, 16: 6, 32: 4}
WIDE = {4: 8, 8: 8, 16: 8, 32: 8}


def generator(channels: dict[int, int], seed: int) -> Generator:
    torch.manual_seed(seed)
    made = Generator(32, 16, 2, channels=channels).eval()
    for name, parameter in made.named_parameters():
        if "noise" in name:
            nn.init.constant_(parameter, 0.3)
    return made


def test_a_wider_generator_draws_the_same_and_uses_its_channels_once_trained() -> None:
    narrow, wide = generator(NARROW, 0), generator(WIDE, 1)
    start_wider(wide, narrow.state_dict())
    codes = torch.randn(3, narrow.n_latent, 16)
    before = wide.synthesis(codes)
    torch.testing.assert_close(before, narrow.synthesis(codes), rtol=1e-4, atol=1e-5)
    before.square().mean().backward()
    heard = wide.to_rgbs[-1].get_submodule("conv").get_parameter("weight").grad
    assert heard is not None
    assert (heard[0, :, 4:] != 0).all()


@pytest.mark.parametrize("channels", [{4: 8, 8: 8, 16: 6, 32: 2}, {4: 8, 8: 8, 16: 8}])
def test_a_generator_cannot_be_made_narrower_or_of_another_size(channels: dict[int, int]) -> None:
    other = Generator(max(channels), 16, 2, channels=channels)
    with pytest.raises(BadCheckpoint, match="generator to start from"):
        start_wider(other, generator(NARROW, 0).state_dict())


def test_mixed_codes_have_the_mean_and_the_covariance_of_those_seen() -> None:
    torch.manual_seed(0)
    seen, codes = Seen(50, 1, 3), torch.randn(80, 3) @ torch.tensor([[2.0, 0, 0], [1, 0.5, 0], [0, 0, 0.1]]) + 4
    seen.add(codes[:50, None])
    seen.add(codes[50:, None])
    assert {tuple(row) for row in seen.codes[:, 0].tolist()} == {tuple(row) for row in codes[30:].tolist()}
    mixed = seen.mixed(torch.randn(40_000, 50))[:, 0]
    torch.testing.assert_close(mixed.mean(0), codes[30:].mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(mixed.t().cov(), codes[30:].t().cov(correction=0), atol=0.12, rtol=0)


def test_moving_the_rows_of_w_changes_no_picture() -> None:
    net, projector = generator(WIDE, 0), CompactE4E(32, style_dim=16, widths=[4, 8], thumbnail=8, bottleneck=16).eval()
    nn.init.normal_(projector.deltas.weight, std=0.1)
    photos, shift = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(net.n_latent, 16)
    before = projector(photos)
    picture = net.synthesis(before)
    mapping.move_latent(net, projector, shift)
    after = projector(photos)
    torch.testing.assert_close(after, before + shift)
    torch.testing.assert_close(net.synthesis(after), picture, rtol=1e-3, atol=1e-4)


def test_patches_learn_to_tell_smooth_pictures_from_rough_ones() -> None:
    torch.manual_seed(0)
    patches = Patches({"32": [8, 16], "16": [8]})
    optimizer = torch.optim.Adam(patches.parameters(), lr=3e-3)
    for _ in range(60):
        rough = torch.rand(8, 3, 32, 32) * 2 - 1
        smooth = torch.nn.functional.interpolate(torch.rand(8, 3, 8, 8) * 2 - 1, scale_factor=4.0, mode="bilinear")
        loss = told_apart(patches(rough), patches(smooth))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5
    assert believed(patches(smooth)) > believed(patches(rough))
    assert feature_distance(patches(rough), patches(rough)) == 0
    assert feature_distance(patches(rough), patches(smooth)) > 0.1


def test_the_slope_of_a_linear_score_is_its_weight() -> None:
    image, weight = torch.rand(5, 3, 4, 4).requires_grad_(), torch.randn(3, 4, 4)
    score = (image * weight).sum([1, 2, 3])[:, None, None, None].expand(-1, 1, 2, 2)
    torch.testing.assert_close(slope([[score]], image), weight.square().sum())


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("projector = 'mapped/projector.safetensors'\n", "", "names no 'projector'"),
        ("mapped/projector", "first/projector", "another generator"),
        ("widths = [4, 8]\nbottleneck", "widths = [4, 16]\nbottleneck", "no projector of the shape"),
        ("rate_patches = 1e-3\n", "", "needs"),
    ],
)
def test_a_start_that_does_not_fit_is_said_in_one_sentence(tmp_path: Path, was: str, now: str, message: str) -> None:
    faces.write(tmp_path)
    for name, seed in (("mapped", 0), ("first", 1)):
        folder = tmp_path / "runs" / name
        net = generator({4: 8, 8: 8, 16: 8, 32: 8}, seed)
        header = {"kind": "generator", "arch": {}}
        state = {**net.state_dict(), "latent_avg": torch.zeros(16)}
        made = container.save(folder / "generator.safetensors", state, header)
        projector = CompactE4E(32, style_dim=16, widths=[4, 8], thumbnail=8, bottleneck=16)
        header = {"kind": "projector", "arch": {}, "generator": made}
        container.save(folder / "projector.safetensors", projector.state_dict(), header)
    start = "[start]\ngenerator = 'mapped/generator.safetensors'\nprojector = 'mapped/projector.safetensors'\n[train]"
    text = faces.AUTOENCODER.replace("[train]", start, 1)
    assert was in text
    (tmp_path / "run.toml").write_text(text.replace(was, now))
    with pytest.raises(FacetError, match=message):
        run.main(tmp_path / "run.toml", faces=tmp_path, out=tmp_path / "runs/second", threads=1)


def test_a_run_goes_on_from_another_and_its_mean_code_can_stay(tmp_path: Path) -> None:
    faces.write(tmp_path)
    # The names that the data set's own files have, for what takes a folder.
    shutil.copy(tmp_path / "train.zip", tmp_path / "toy-train-00.zip")
    shutil.copy(tmp_path / "train.csv", tmp_path / "toy-train-attributes.csv")
    first = tmp_path / "first.toml"
    first.write_text(faces.AUTOENCODER)
    run.main(first, faces=tmp_path, out=tmp_path / "runs/first", threads=1)
    mapping.main(
        ["--run", str(tmp_path / "runs/first"), "--out", str(tmp_path / "runs/mapped"), "--faces", str(tmp_path)]
    )
    text = faces.AUTOENCODER.replace("32 = 8 }", "32 = 16 }").replace("until = 2\nside = 16", "until = 1\nside = 32")
    text = text.replace("steps = 6", "steps = 1").replace(
        "[train]",
        "[start]\ngenerator = 'mapped/generator.safetensors'\nprojector = 'mapped/projector.safetensors'\n[train]",
    )
    for rate in ("rate_generator", "rate_projector"):
        text = text.replace(f"{rate} = 1e-3", f"{rate} = 0.0")
    text = text.replace("rate_linear = 1e-4", "rate_linear = 0.0")
    second = tmp_path / "second.toml"
    second.write_text(text)
    run.main(second, faces=tmp_path, out=tmp_path / "runs/second", threads=1)
    like = tmp_path / "runs/mapped/generator.safetensors"
    mapping.main(
        [
            "--run",
            str(tmp_path / "runs/second"),
            "--out",
            str(tmp_path / "runs/third"),
            "--faces",
            str(tmp_path),
            "--like",
            str(like),
        ]
    )
    pictures, means = [], []
    photos = torch.from_numpy(np.random.default_rng(0).random((2, 3, 32, 32), np.float32)) * 2 - 1
    for name in ("mapped", "third"):
        folder = tmp_path / "runs" / name
        net, _ = load_network(Generator, folder / "generator.safetensors")
        projector, _ = load_network(CompactE4E, folder / "projector.safetensors")
        pictures.append(net.synthesis(projector(photos)))
        means.append(container.load(folder / "generator.safetensors")[0]["latent_avg"])
    torch.testing.assert_close(means[1], means[0])
    # Rates of zero: the second run draws what the first drew.
    torch.testing.assert_close(pictures[1], pictures[0], rtol=0.02, atol=0.02)
