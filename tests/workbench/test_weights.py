"""The manifest of weights, and networks that are checked before they are used."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from data import container
from tests.tiny_family import SIZE, write_family
from workbench.errors import BadCheckpoint, BadRequest, MissingWeights, WrongSpace
from workbench.manifest import check, families, open_family, record_starter
from workbench.weights import Store


@pytest.fixture
def manifest(tiny_manifest: Path, tmp_path: Path) -> Path:
    """A copy of the tiny family that a test may damage."""
    shutil.copytree(tiny_manifest.parent, tmp_path / "family")
    return tmp_path / "family" / "weights.toml"


def store(manifest: Path) -> Store:
    return Store(open_family("starter", manifest), torch.device("cpu"))


def test_the_shipped_manifest_names_both_families_and_their_licences() -> None:
    known = families()
    assert {"starter", "official"} <= set(known)
    for family in known.values():
        assert all(r.licence and r.origin and r.file for r in family.records.values())
    assert known["official"].records["generator"].file == "stylegan2-ffhq-config-f.pt"


def test_networks_are_loaded_once_in_eval_mode_without_gradients(manifest: Path) -> None:
    opened = store(manifest)
    network = opened.network("projector")
    assert opened.network("projector") is network
    assert not network.module.training
    assert not any(p.requires_grad for p in network.module.parameters())
    assert opened.generator().size == SIZE
    assert opened.latent_avg().shape == (8, 512)
    assert opened.samples().shape == (3, 8, 512)


def test_an_unknown_family_is_refused_with_the_names(manifest: Path) -> None:
    with pytest.raises(BadRequest, match="starter"):
        open_family("stater", manifest)


def test_a_missing_file_says_its_name_and_place(manifest: Path) -> None:
    (manifest.parent / "tiny" / "projector.safetensors").unlink()
    with pytest.raises(MissingWeights, match=r"projector\.safetensors.*tiny"):
        store(manifest).module("projector")
    assert check(open_family("starter", manifest), "projector").state == "missing"


def test_a_network_of_another_generator_is_refused(manifest: Path, tmp_path: Path) -> None:
    other = write_family(tmp_path / "other", seed=1)
    for name in ("projector", "samples", "sdflow_flow"):
        shutil.copy(other.parent / "tiny" / f"{name}.safetensors", manifest.parent / "tiny" / f"{name}.safetensors")
    opened = store(manifest)
    with pytest.raises(WrongSpace, match="made for the generator"):
        opened.module("projector")
    with pytest.raises(WrongSpace):
        opened.samples()
    with pytest.raises(WrongSpace):
        opened.module("sdflow_flow")


def test_a_file_of_another_kind_is_refused(manifest: Path) -> None:
    folder = manifest.parent / "tiny"
    shutil.copy(folder / "identity.safetensors", folder / "attributes.safetensors")
    with pytest.raises(BadCheckpoint, match=r"'identity'.*'attributes'"):
        store(manifest).module("attributes")
    assert check(open_family("starter", manifest), "attributes").state == "broken"


def test_a_damaged_file_is_refused(manifest: Path) -> None:
    path = manifest.parent / "tiny" / "identity.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadCheckpoint, match=r"identity\.safetensors"):
        store(manifest).module("identity")


def test_keys_that_do_not_fit_are_named(manifest: Path) -> None:
    path = manifest.parent / "tiny" / "identity.safetensors"
    state, header = container.load(path)
    state.pop("head.1.bias")
    container.save(path, state, header)
    with pytest.raises(BadCheckpoint, match=r"head\.1\.bias"):
        store(manifest).module("identity")


def test_recording_and_verifying(manifest: Path) -> None:
    assert check(open_family("starter", manifest), "judge").state == "present"
    assert "generator" in record_starter(manifest)
    family = open_family("starter", manifest)
    assert {check(family, kind).state for kind in family.records} == {"verified"}
    path = manifest.parent / "tiny" / "judge.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    state = check(family, "judge")
    assert (state.state, "SHA-256" in state.message) == ("broken", True)
    path.write_bytes(data[:-1])
    assert "bytes" in check(family, "judge").message


def test_a_damaged_manifest_is_a_sentence(tmp_path: Path) -> None:
    for text in ("[starter", "[starter]\ntitle = 1", "starter = 3"):
        (tmp_path / "weights.toml").write_text(text)
        with pytest.raises(BadCheckpoint, match="damaged"):
            families(tmp_path / "weights.toml")
    with pytest.raises(MissingWeights):
        families(tmp_path / "none.toml")
