"""Swapping through the engine and ``cli.py swap`` on tiny random networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cli
from data import container
from idswap.compact import CompactAttributes, CompactSwapEncoder
from idswap.models import CodeMapper
from idswap.swap import Strengths
from tests.tiny_family import write_family
from workbench.engine import Engine
from workbench.errors import BadCheckpoint, BadRequest, WrongSpace
from workbench.face import AlignedFace, Face
from workbench.images import load_image
from workbench.swapping import METHODS, Base, Swapping

ENCODERS = {
    "nitzan_attributes": (CompactAttributes, {"widths": [4, 8], "input_size": 16, "dim": 12}),
    "zhou_encoder": (CompactSwapEncoder, {"widths": [4, 8], "input_size": 16, "identity": 16, "attributes": 12}),
}
MAPPER = {"widths": [28, 24, 24, 24, 512], "rows": 8, "rank": 3}


def write_swapping(folder: Path, seed: int = 0, gain: float = 1.0, **other: Any) -> Path:
    """A tiny family with both methods.

    ``seed`` makes other generators, ``gain`` goes into the mappers, ``other`` puts false ids into the mappers' headers.
    """
    path = write_family(folder, seed)
    tiny = folder / "tiny"
    bound = {
        "generator": container.read_header(tiny / "generator.safetensors")["id"],
        "identity": container.read_header(tiny / "identity.safetensors")["id"],
    }
    manifest = path.read_text()
    for kind, (made, arch) in ENCODERS.items():
        torch.manual_seed(1)
        header = {"kind": kind, "arch": arch}
        encoder = container.save(tiny / f"{kind}.safetensors", made(**arch).state_dict(), header)
        mapper = CodeMapper(**MAPPER)
        assert mapper.offsets is not None
        nn.init.normal_(mapper.offsets.heads.weight, std=0.1)
        mapper.identity_gain.fill_(gain)
        name = f"{kind.split('_')[0]}_mapper"
        header = {"kind": name, "arch": MAPPER, "encoder": encoder, **bound, **other}
        container.save(tiny / f"{name}.safetensors", mapper.state_dict(), header)
        for one in (kind, name):
            manifest += f'\n[starter.files.{one}]\nfile = "{one}.safetensors"\nsize = 0\nsha256 = ""\n'
    path.write_text(manifest)
    return path


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swapping(tmp_path_factory.mktemp("swapping"))


def photo(path: Path, seed: int) -> Path:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((48, 48)).save(path)
    return path


def faces(engine: Engine, folder: Path) -> tuple[Face, Face]:
    paths = (photo(folder / "a.png", 1), photo(folder / "b.png", 2))
    a, b = (engine.project(engine.use_aligned(load_image(path)), "encoder") for path in paths)
    return a, b


@pytest.mark.parametrize("name", METHODS)
def test_a_swap_uses_both_faces_and_repeats(name: str, manifest: Path, tmp_path: Path):
    engine = Engine(family_file=manifest)
    swapping = Swapping(engine)
    a, b = faces(engine, tmp_path)
    first = swapping.swap(name, a, b)
    assert first.image.shape == (3, 32, 32)
    assert first.code is not None
    assert first.code.shape == (8, 512)
    assert torch.equal(first.image, swapping.swap(name, a, b).image)
    assert not torch.equal(first.image, swapping.swap(name, b, a).image)
    assert not torch.equal(first.image, swapping.swap(name, a, a).image)
    assert engine.generator_id in first.weights
    assert torch.equal(swapping.swap(name, a, b, Strengths(0.0)).image, swapping.swap(name, b, b).image)
    kept = swapping.swap(name, a, b, Strengths(0.0), base="photo")
    assert kept.code is not None
    assert torch.allclose(kept.code, b.latent.code, atol=1e-5)


def test_each_face_is_encoded_once(manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = Engine(family_file=manifest)
    swapping = Swapping(engine)
    a, b = faces(engine, tmp_path)
    method = swapping.method("zhou")
    count = 0
    encode = method.encode

    def counted(image: torch.Tensor):
        nonlocal count
        count += len(image)
        return encode(image)

    monkeypatch.setattr(method, "encode", counted)
    for who in (a, b):
        for what in (a, b):
            swapping.swap("zhou", who, what)
    assert count == 2


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path):
    def loaded(**other: Any) -> Swapping:
        return Swapping(Engine(family_file=write_swapping(tmp_path / "-".join(map(str, other.values())), **other)))

    with pytest.raises(WrongSpace):
        loaded(generator="other").method("nitzan")
    with pytest.raises(BadCheckpoint, match="identity network other"):
        loaded(identity="other").method("nitzan")
    with pytest.raises(BadCheckpoint, match="encoder network other"):
        loaded(encoder="other").method("zhou")
    with pytest.raises(BadRequest, match="no swapping method"):
        loaded(none="").method("magic")
    for gain in (9.0, float("nan")):
        with pytest.raises(BadCheckpoint, match="identity gain"):
            loaded(gain=gain).method("nitzan")


@pytest.mark.parametrize("name", METHODS)
def test_the_gain_of_a_mapper_makes_strength_one_go_further(name: str, manifest: Path, tmp_path: Path):
    plain = Swapping(Engine(family_file=manifest))
    gained = Swapping(Engine(family_file=write_swapping(tmp_path / "gained", gain=1.25)))
    a, b = faces(plain.engine, tmp_path)
    further = plain.swap(name, a, b, Strengths(1.25)).image
    assert torch.equal(gained.swap(name, a, b).image, further)
    assert not torch.equal(plain.swap(name, a, b).image, further)
    request = plain.swap(name, a, b).request
    donor = plain.codes(name, a)
    for one in (plain, gained):
        # A donor's identity replaces the own one, which may not show through by going further from it.
        assert torch.equal(one.replaced(name, donor, b, request).image, plain.swap(name, a, b).image)


@pytest.mark.parametrize("name", METHODS)
def test_offsets_can_be_left_out(name: str, manifest: Path, tmp_path: Path):
    engine = Engine(family_file=manifest)
    a, b = faces(engine, tmp_path)
    whole, plain = (Swapping(engine, offsets=on).swap(name, a, b).code for on in (True, False))
    assert whole is not None
    assert plain is not None
    assert bool((plain == plain[:1]).all())
    assert not bool((whole == whole[:1]).all())
    again = Swapping(engine).swap(name, a, b).code
    assert again is not None
    assert torch.equal(again, whole)  # the family's mapper has kept its own


def test_a_strength_out_of_range_is_refused(manifest: Path, tmp_path: Path):
    engine = Engine(family_file=manifest)
    a, b = faces(engine, tmp_path)
    with pytest.raises(BadRequest, match=r"between -0.5 and 1.5"):
        Swapping(engine).swap("nitzan", a, b, Strengths(3.0))


@pytest.mark.parametrize("name", METHODS)
def test_the_command_writes_and_reports(name: str, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    a, b, out = photo(tmp_path / "a.png", 1), photo(tmp_path / "b.png", 2), tmp_path / "out.png"
    words = ["swap", "--identity", str(a), "--attributes", str(b), "--method", name, "--out", str(out), "--aligned"]
    words += ["--manifest", str(manifest)]
    assert cli.main([*words, "--crop", "--json", "--identity-strength", "0.8"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert {"identity_to_identity", "identity_to_attributes", "seconds", "weights", "output"} <= set(body)
    assert (body["method"], body["identity_strength"], body["base"]) == (name, 0.8, "w")
    assert Image.open(out).size == (32, 32)
    assert cli.main([*words, "--base", "photo"]) == 0
    assert "written to" in capsys.readouterr().out
    assert Image.open(out).size == (48, 48)


@pytest.mark.parametrize(("base", "projections"), [("w", 0), ("photo", 1)])
def test_the_command_projects_only_what_it_starts_from(
    base: str, projections: int, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    calls = []
    project = Engine.project

    def counted(engine: Engine, aligned: AlignedFace, mode: str) -> Face:
        calls.append(aligned.photo.name)
        return project(engine, aligned, "encoder")

    monkeypatch.setattr(Engine, "project", counted)
    a, b, out = photo(tmp_path / "a.png", 1), photo(tmp_path / "b.png", 2), tmp_path / "out.png"
    words = ["swap", "--identity", str(a), "--attributes", str(b), "--out", str(out), "--aligned", "--base", base]
    assert cli.main([*words, "--manifest", str(manifest)]) == 0
    assert calls == ["b.png"] * projections
    engine = Engine(family_file=manifest)
    first, second = (engine.use_aligned(load_image(path)) for path in (a, b))
    start = project(engine, second, "encoder") if base == "photo" else second
    swapping = Swapping(engine)
    where: Base = "photo" if base == "photo" else "w"
    wanted = swapping.place(start, swapping.swap("nitzan", first, start, base=where), base=where)
    assert np.array_equal(np.asarray(Image.open(out)), wanted)


def test_the_command_says_what_is_wrong(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    a = photo(tmp_path / "a.png", 1)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    words = ["swap", "--identity", str(a), "--aligned", "--manifest", str(manifest)]
    assert cli.main([*words, "--attributes", str(tmp_path / "broken.jpg"), "--out", str(tmp_path / "o.png")]) == 1
    assert "broken.jpg" in capsys.readouterr().err
    assert cli.main([*words, "--attributes", str(a), "--out", str(a)]) == 1
    assert "overwrite" in capsys.readouterr().err
