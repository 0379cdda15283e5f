"""Every published key list is told for what it is, and its network has exactly these keys and shapes."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from encoders.lpips import LPIPS, AlexNetTrunk, Heads, VGG16Trunk
from sdflow.estimator import SemanticEstimator
from sdflow.model import ConditionalFlow
from stylegan2.discriminator import Discriminator
from stylegan2.generator import Generator
from tests.encoders.keys import published
from workbench.official import assemble, building, read
from workbench.official.kinds import Shapes, heads, recognise, role_of

EXPECTED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "arcface_ir_se50": ("arcface", {"num_layers": 50, "mode": "ir_se", "input_size": 112}),
    "e4e_encoder_14": ("e4e", {"size": 256}),
    "e4e_encoder_18": ("e4e", {"size": 1024}),
    "idswap_irse50": ("arcface", {"num_layers": 50}),
    "idswap_mapper": ("idswap_mapper", {"widths": [2560, 2048, 1024, 512, 512]}),
    "idswap_mobilefacenet": ("landmarks112", {"points": 68}),
    "idswap_wdisc": ("w_discriminator", {"widths": [512, 256, 128, 64, 1]}),
    "lpips_alex": ("lpips", {"trunk": "alex"}),
    "maskfacegan_classifier": ("maskfacegan_classifier", {"width": 64, "dense": 128, "input_size": 224}),
    "maskfacegan_lpips_given_heads": ("lpips", {"trunk": "vgg"}),
    "maskfacegan_parser": ("maskfacegan_parser", {"width": 64, "head": 256}),
    "nitzan_attr_inception": ("attribute_encoder", {"convention": "keras"}),
    "roich_inception": ("attribute_encoder", {"convention": "torch"}),
    "sdflow_classifier_r34": ("attribute_age", {"depth": 34}),
    "sdflow_estimator_r34": ("sdflow_estimator", {"attributes": 3, "depth": 34, "width": 64}),
    "sdflow_estimator_r50": ("sdflow_estimator", {"attributes": 3, "depth": 50, "width": 64}),
    "sdflow_flow3": ("sdflow_flow", {"attributes": 3, "width": 512, "hidden": [512] * 5, "blocks": 1}),
    "sdflow_flow5": ("sdflow_flow", {"attributes": 5}),
    "stylegan2_discriminator_256": ("discriminator", {"size": 256}),
    "stylegan2_discriminator_64": ("discriminator", {"size": 64}),
    "stylegan2_generator_1024": ("generator", {"size": 1024, "style_dim": 512, "n_mlp": 8, "channel_multiplier": 2}),
    "stylegan2_generator_256": ("generator", {"size": 256, "n_mlp": 8, "channel_multiplier": 2}),
    "stylegan2_generator_64": ("generator", {"size": 64, "n_mlp": 8}),
    "yugong_swap_encoder": ("swap_encoder", {}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_published_key_list_is_told(name: str) -> None:
    shapes = published(name)
    told = recognise(shapes)
    assert told is not None
    kind, prefix, arch = told
    expected, arguments = EXPECTED[name]
    assert (kind.name, prefix) == (expected, "")
    assert {key: arch[key] for key in arguments} == dict(arguments)
    assert building.misfit(kind, arch, shapes) == ""


def iafaces(encoder: str, decoder: str) -> dict[str, tuple[int, ...]]:
    pair = (("e_ema", encoder), ("g_ema", decoder))
    return {f"{side}.{k}": v for side, name in pair for k, v in published(f"iafaces_{name}").items()}


@pytest.mark.parametrize(
    ("encoder", "decoder", "role"),
    [
        ("encoder_plain_256", "decoder_plain_256", "iafaces_celebahq256"),
        ("encoder_cam_256", "decoder_cam_256_released", "iafaces_cam_celebahq256"),
        ("encoder_1024", "decoder_cam_1024", "iafaces_cam_ffhq1024"),
    ],
)
def test_an_iafaces_pair_names_its_variant(encoder: str, decoder: str, role: str) -> None:
    told = recognise(iafaces(encoder, decoder))
    assert told is not None
    assert role_of(told[0], told[2], "zip") == (role,)


def cut(shapes: Shapes) -> dict[str, Tensor]:
    """Tensors of these names and ranks with no side above 2."""
    return {key: torch.zeros([min(side, 2) for side in shape]) for key, shape in shapes.items()}


def test_an_iafaces_training_file_is_read(tmp_path: Path) -> None:
    body: dict[str, Any] = {"epoch": 3, "e_ema": {}, "g_ema": {}, "avg_mse": 0.1}
    for key, value in cut(iafaces("encoder_cam_256", "decoder_cam_256_released")).items():
        side, _, rest = key.partition(".")
        body[side][rest] = value
    torch.save(body, tmp_path / "best.pth")
    found = read(tmp_path / "best.pth")
    assert (found.kind.name, found.arch) == ("iafaces", {"size": 256, "cam": True})
    assert found.under == "e_ema and g_ema"


@pytest.mark.parametrize("saved", ["layers", "layers2"])
def test_the_heads_of_the_1024_encoder_may_have_either_name(saved: str, tmp_path: Path) -> None:
    shapes = iafaces("encoder_1024", "decoder_cam_1024")
    body: dict[str, Any] = {"e_ema": {}, "g_ema": {}}
    for key, value in cut(shapes).items():
        side, _, rest = key.partition(".")
        body[side][rest.replace("layers2.", f"{saved}.", 1) if side == "e_ema" else rest] = value
    torch.save(body, tmp_path / "1024.pth")
    found = read(tmp_path / "1024.pth")
    assert found.roles == ("iafaces_cam_ffhq1024",)
    assert found.views.keys() == shapes.keys()
    assert building.misfit(found.kind, found.arch, shapes) == ""


@pytest.mark.parametrize(("trunk", "kind"), [("vgg", "vgg16"), ("alex", "alexnet")])
def test_lpips_is_made_of_its_two_published_files(trunk: Literal["vgg", "alex"], kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    whole = LPIPS(trunk)
    parts = {key.split(".", 2)[2]: value for key, value in whole.net.state_dict(prefix="net.").items()}
    dense = {"classifier.6.weight": torch.zeros(2, 2)}
    torch.save({f"features.{key}": value for key, value in parts.items()} | dense, tmp_path / "trunk")
    heads = {key: value for key, value in whole.state_dict().items() if key.startswith("lin") and key[3].isdigit()}
    torch.save(heads, tmp_path / "heads")
    found = read(tmp_path / "trunk")
    assert (found.kind.name, found.problem, found.aside) == (kind, "", 1)
    body, linear = assemble(found)[0], assemble(read(tmp_path / "heads"))[0]
    assert isinstance(body, VGG16Trunk | AlexNetTrunk)
    assert isinstance(linear, Heads)
    made = LPIPS.of_parts(body, linear).state_dict()
    assert made.keys() == whole.state_dict().keys()
    assert all(torch.equal(made[key], value) for key, value in whole.state_dict().items())


def test_the_networks_of_face_alignment_are_told_by_the_packages_own_classes() -> None:
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    with torch.device("meta"):
        tables = {"s3fd": building.shapes_of(s3fd()), "fan2d": building.shapes_of(FAN(4))}
    for name, shapes in tables.items():
        told = recognise(shapes)
        assert told is not None
        assert (told[0].name, building.misfit(told[0], told[2], shapes)) == (name, "")


def test_an_encoder_without_its_generators_prefix_is_the_same() -> None:
    shapes = published("e4e_encoder_18")
    both = {f"encoder.{k}": v for k, v in shapes.items()} | {
        f"decoder.{k}": v for k, v in published("stylegan2_generator_1024").items()
    }
    told = recognise(both)
    assert told is not None
    assert (told[0].name, told[1]) == ("e4e", "encoder.")


@pytest.mark.parametrize(("size", "rows"), [(1024, 18), (512, 16), (256, 14), (64, 10)])
def test_style_heads_follow_the_size(size: int, rows: int) -> None:
    assert heads({"size": size}) == rows
    with torch.device("meta"):
        shapes: Shapes = building.shapes_of(Generator(size))
    told = recognise(shapes)
    assert told is not None
    assert told[2]["size"] == size


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize("mapping", [2, 8])
def test_multiplier_and_depth_of_the_mapping_are_read_off(multiplier: int, mapping: int) -> None:
    with torch.device("meta"):
        shapes = building.shapes_of(Generator(256, n_mlp=mapping, channel_multiplier=multiplier))
    told = recognise(shapes)
    assert told is not None
    assert told[2] == {"size": 256, "style_dim": 512, "n_mlp": mapping, "channel_multiplier": multiplier}


def networks() -> dict[str, torch.nn.Module]:
    torch.manual_seed(0)
    return {
        "g": Generator(64, n_mlp=2, channels={4: 8, 8: 8, 16: 8, 32: 4, 64: 4}),
        "d": Discriminator(32, channels={4: 8, 8: 8, 16: 4, 32: 4}),
        "flow": ConditionalFlow(5, hidden=(16, 8)),
        "estimator": SemanticEstimator(3, depth=50, width=4),
    }


WRAPPED = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "ordered": lambda s: OrderedDict(s),
    "module.": lambda s: {"model": {f"module.{k}": v for k, v in s.items()}},
    "namespace": lambda s: {"g_ema": s, "args": argparse.Namespace(size=64, path=None)},
}


@pytest.mark.parametrize("wrapping", WRAPPED)
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before 1.6"])
def test_official_layout_to_our_module_and_back_is_identical(wrapping: str, legacy: bool, tmp_path: Path) -> None:
    for name, network in networks().items():
        state: dict[str, Tensor] = network.state_dict()
        path = tmp_path / name
        torch.save(WRAPPED[wrapping](state), path, _use_new_zipfile_serialization=not legacy)
        module, _, _ = assemble(read(path))
        back = module.state_dict()
        assert back.keys() == state.keys()
        assert all(torch.equal(back[key], state[key]) and back[key].dtype == state[key].dtype for key in state), name


def test_a_network_that_was_pickled_whole_is_read_without_its_class(tmp_path: Path) -> None:
    network = torch.nn.DataParallel(torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.BatchNorm1d(4)))
    torch.save({"net": network}, tmp_path / "file.pt")
    from workbench.official.files import open_file
    from workbench.official.states import plain, tables

    (table,) = tables(open_file(tmp_path / "file.pt"))
    *_, state = plain(table.state)
    assert set(state) == {"0.weight", "0.bias", *(f"1.{k}" for k in torch.nn.BatchNorm1d(4).state_dict())}


def test_pixel2style2pixel_is_not_taken_for_e4e(tmp_path: Path) -> None:
    state = {f"encoder.{key}": value for key, value in cut(published("e4e_encoder_14")).items()}
    torch.save({"state_dict": state, "opts": {"encoder_type": "GradualStyleEncoder"}}, tmp_path / "psp.pt")
    assert "GradualStyleEncoder" in read(tmp_path / "psp.pt").problem
