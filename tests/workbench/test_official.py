"""Published checkpoints: read by their own keys, and nothing in them is ever run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch

from sdflow.model import ConditionalFlow
from stylegan2.generator import Generator
from workbench.errors import BadCheckpoint
from workbench.manifest import open_family
from workbench.official import unpickle
from workbench.weights import Store

SMALL = "arch = { size = 16, n_mlp = 1, channels = { 4 = 4, 8 = 4, 16 = 4 } }"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An official family of small networks; the files are looked for beside the manifest and in ``ckpt``."""
    (tmp_path / "ckpt").mkdir()
    lines = ["[official]", 'folders = [".", "ckpt"]']
    for kind, file, arch in (("generator", "g.pt", SMALL), ("sdflow_flow", "prior-0010000", 'attributes = ["Young"]')):
        lines += [f"[official.files.{kind}]", f'file = "{file}"', 'format = "torch"', arch]
    (tmp_path / "weights.toml").write_text("\n".join(lines))
    return Store(open_family("official", tmp_path / "weights.toml"), torch.device("cpu"))


def small() -> Generator:
    torch.manual_seed(0)
    return Generator(16, n_mlp=1, channels={4: 4, 8: 4, 16: 4})


def test_a_generator_loads_with_its_mean(store: Store, tmp_path: Path) -> None:
    body = {"g_ema": small().state_dict(), "latent_avg": torch.ones(512), "opts": argparse.Namespace(size=16)}
    torch.save(body, tmp_path / "ckpt" / "g.pt")
    codes = torch.randn(1, 6, 512)
    assert torch.equal(store.generator().synthesis(codes), small().eval().synthesis(codes))
    assert torch.equal(store.latent_avg(), torch.ones(6, 512))
    assert len(store.generator_id) == 12


def test_a_flow_tells_its_own_size(store: Store, tmp_path: Path) -> None:
    flow = ConditionalFlow(1, hidden=(4, 4))
    torch.save(flow.state_dict(), tmp_path / "ckpt" / "prior-0010000")
    network = store.network("sdflow_flow")
    assert isinstance(network.module, ConditionalFlow)
    assert network.header["attributes"] == ["Young"]
    assert torch.equal(network.module.state_dict()["chain.0.weight"], flow.state_dict()["chain.0.weight"])


class Stranger:
    """A class that no weights file of ours may bring in."""


@pytest.mark.parametrize("body", [{"g_ema": Stranger()}, Stranger()])
def test_a_pickle_that_needs_code_is_refused(store: Store, tmp_path: Path, body: Any) -> None:
    torch.save(body, tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match="cannot be read"):
        store.generator()


@pytest.mark.parametrize("data", [b"", b"<html>Quota exceeded</html>", b"PK\x03\x04 cut off"])
def test_a_download_gone_wrong_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "g.pt").write_bytes(data)
    with pytest.raises(BadCheckpoint, match=r"g\.pt"):
        unpickle(tmp_path / "g.pt")


def test_another_network_is_refused_with_a_reason(store: Store, tmp_path: Path) -> None:
    torch.save({"g_ema": {"conv.weight": torch.zeros(1)}, "latent_avg": torch.zeros(512)}, tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match=r"not the published 'g\.pt'"):
        store.generator()
    torch.save([1, 2], tmp_path / "g.pt")
    with pytest.raises(BadCheckpoint, match="table of tensors"):
        unpickle(tmp_path / "g.pt")
