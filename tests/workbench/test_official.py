"""Published checkpoints as a family's networks: sizes inferred, means completed, misfits told in the user's words."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from sdflow.model import ConditionalFlow
from stylegan2.generator import Generator
from tests.encoders.keys import published
from workbench.errors import BadCheckpoint
from workbench.manifest import open_family
from workbench.official import read
from workbench.weights import Store

SMALL = "arch = { size = 16, n_mlp = 1 }"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An official family of small networks; the files are looked for beside the manifest and in ``ckpt``."""
    (tmp_path / "ckpt").mkdir()
    lines = ["[official]", 'folders = [".", "ckpt"]']
    files = (
        ("generator", "g.pt", SMALL),
        ("sdflow_flow", "prior-0010000", 'attributes = ["Young"]'),
        ("projector", "e.pt", "arch = {}"),
    )
    for kind, file, arch in files:
        lines += [f"[official.files.{kind}]", f'file = "{file}"', 'format = "torch"', arch]
    (tmp_path / "weights.toml").write_text("\n".join(lines))
    return Store(open_family("official", tmp_path / "weights.toml"), torch.device("cpu"))


def small(size: int = 16) -> Generator:
    torch.manual_seed(0)
    return Generator(size, n_mlp=1, channels={4 << i: 4 for i in range(5)})


def save(body: Any, path: Path) -> None:
    torch.save(body, path)


def test_a_generator_loads_with_its_mean(store: Store, tmp_path: Path) -> None:
    body = {"g_ema": small().state_dict(), "latent_avg": torch.ones(512), "opts": argparse.Namespace(size=16)}
    save(body, tmp_path / "ckpt" / "g.pt")
    codes = torch.randn(1, 6, 512)
    assert torch.equal(store.generator().synthesis(codes), small().eval().synthesis(codes))
    assert torch.equal(store.latent_avg(), torch.ones(6, 512))
    assert len(store.generator_id) == 12


@pytest.mark.parametrize("shape", [(512,), (1, 512), (6, 512), (1, 6, 512)])
def test_a_mean_latent_may_have_any_published_shape(store: Store, tmp_path: Path, shape: tuple[int, ...]) -> None:
    mean = torch.randn(shape)
    save({"g_ema": small().state_dict(), "latent_avg": mean}, tmp_path / "g.pt")
    assert torch.equal(store.latent_avg(), mean.reshape(-1, 512).expand(6, 512))


def test_a_mean_latent_of_another_network_is_refused(store: Store, tmp_path: Path) -> None:
    save({"g_ema": small().state_dict(), "latent_avg": torch.zeros(18, 512)}, tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match=r"mean latent of the shape \(18, 512\)"):
        store.generator()


def test_a_missing_mean_is_computed_and_the_same_each_time(store: Store, tmp_path: Path) -> None:
    generator = small()
    save({"g_ema": generator.state_dict(), "g_optim": {"lr": 0.1}}, tmp_path / "g.pt")
    mean = store.latent_avg()
    other = Store(store.family, torch.device("cpu"))
    assert torch.equal(mean, other.latent_avg())
    many = generator.mean_latent(40_000, torch.Generator().manual_seed(1)).detach()
    scale = generator.map(torch.randn(1000, 512)).std(0)
    # The mean of 10,000 samples is off by a hundredth of their spread.
    assert ((mean[0] - many).abs() / scale).mean() < 0.02


def test_a_flow_tells_its_own_size(store: Store, tmp_path: Path) -> None:
    flow = ConditionalFlow(1, hidden=(4, 4))
    save(flow.state_dict(), tmp_path / "ckpt" / "prior-0010000")
    network = store.network("sdflow_flow")
    assert isinstance(network.module, ConditionalFlow)
    assert network.header["attributes"] == ["Young"]
    assert torch.equal(network.module.state_dict()["chain.0.weight"], flow.state_dict()["chain.0.weight"])


def test_a_flow_of_other_attributes_is_refused(store: Store, tmp_path: Path) -> None:
    save(ConditionalFlow(3, hidden=(4, 4)).state_dict(), tmp_path / "prior-0010000")
    with pytest.raises(BadCheckpoint, match="trained for 3 attributes and the list of weights names 1"):
        store.network("sdflow_flow")


def test_a_generator_of_another_size_is_named(store: Store, tmp_path: Path) -> None:
    save({"g_ema": small(32).state_dict()}, tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match="a generator of 32 px, and a 16 px one is needed"):
        store.generator()


def test_an_encoder_of_another_generator_is_explained(store: Store, tmp_path: Path) -> None:
    save({"g_ema": small().state_dict()}, tmp_path / "g.pt")
    # No side above 2: how many heads there are is told by the names.
    state = {f"encoder.{k}": torch.zeros([min(n, 2) for n in s]) for k, s in published("e4e_encoder_14").items()}
    save({"state_dict": state, "latent_avg": torch.zeros(14, 512)}, tmp_path / "e.pt")
    with pytest.raises(BadCheckpoint, match="14 style heads: this e4e belongs to a 256 px generator") as told:
        store.network("projector")
    assert "16 px (6 style rows)" in str(told.value)


class Stranger:
    """A class that no weights file of ours may bring in."""


@pytest.mark.parametrize("body", [{"g_ema": Stranger()}, Stranger()])
def test_a_pickle_that_needs_code_is_refused(store: Store, tmp_path: Path, body: Any) -> None:
    save(body, tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match=r"the class '.*Stranger'"):
        store.generator()


@pytest.mark.parametrize("data", [b"", b"<html>Quota exceeded</html>", b"PK\x03\x04 cut off"])
def test_a_download_gone_wrong_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "g.pt").write_bytes(data)
    with pytest.raises(BadCheckpoint, match=r"g\.pt"):
        read(tmp_path / "g.pt")


def test_another_network_is_refused_with_a_reason(store: Store, tmp_path: Path) -> None:
    save({"g_ema": {"conv.weight": torch.zeros(1)}, "latent_avg": torch.zeros(512)}, tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match="of no network that is known here"):
        store.generator()
    save(ConditionalFlow(1, hidden=(4, 4)).state_dict(), tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match=r"g\.pt' is no generator: it is a flow of SDFlow"):
        store.generator()
    save([1, 2], tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match="table of tensors"):
        read(tmp_path / "g.pt")


def test_a_tensor_that_is_missing_or_too_many_is_named(store: Store, tmp_path: Path) -> None:
    state = small().state_dict()
    save({"g_ema": {k: v for k, v in state.items() if k != "convs.0.noise.weight"}}, tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match=r"are missing, 'convs\.0\.noise\.weight'"):
        store.generator()
    save({"g_ema": state | {"more": torch.zeros(1)}}, tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match="1 tensors too many, 'more'"):
        store.generator()


def test_half_precision_is_widened(store: Store, tmp_path: Path) -> None:
    save({"g_ema": {k: v.half() for k, v in small().state_dict().items()}}, tmp_path / "g.pt")
    assert {p.dtype for p in store.generator().parameters()} == {torch.float32}
