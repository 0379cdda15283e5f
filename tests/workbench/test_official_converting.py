"""Converting a published file to safetensors, adding a file to its family, and what the command line says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from cli import main
from data import container
from sdflow.model import ConditionalFlow
from stylegan2.generator import Generator
from workbench.errors import BadCheckpoint, BadRequest, CannotWrite
from workbench.manifest import check, open_family, sha256, verify
from workbench.official import converting, read
from workbench.official.converting import add, convert
from workbench.official.inspecting import inspect
from workbench.seen import recall
from workbench.weights import Store

CONTAINERS = Path(__file__).parents[1] / "golden" / "data" / "containers"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A family with places for a small generator and a flow."""
    lines = ["[official]", 'folders = ["here"]']
    for kind, file, more in (
        ("generator", "g.pt", "arch = { size = 16 }"),
        ("sdflow_flow", "prior-0010000", 'attributes = ["Young"]'),
        ("swap_mapper", "mlp.pt", 'names = ["mlp_*.pt"]'),
        ("roich_mapper", "maper.pt", 'names = ["maper_*.pt"]'),
    ):
        lines += [f"[official.files.{kind}]", f'file = "{file}"', 'format = "torch"', more]
    (tmp_path / "weights.toml").write_text("\n".join(lines))
    return tmp_path / "weights.toml"


@pytest.fixture
def generator(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = Generator(16, n_mlp=1, channels={4: 4, 8: 4, 16: 4})
    torch.save({"g_ema": network.state_dict(), "latent_avg": torch.randn(512)}, tmp_path / "any name")
    return tmp_path / "any name"


@pytest.fixture
def flow(tmp_path: Path) -> Path:
    torch.save(ConditionalFlow(1, hidden=(4, 4)).state_dict(), tmp_path / "flow")
    return tmp_path / "flow"


def store(manifest: Path) -> Store:
    return Store(open_family("official", manifest), torch.device("cpu"))


def test_a_converted_file_holds_the_same_numbers_and_says_where_they_came_from(generator: Path, tmp_path: Path) -> None:
    out = tmp_path / "g.safetensors"
    written = convert(generator, out)
    before, after = read(generator), read(out)
    one, other = before.tensors(), after.tensors()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
    mean, kept = before.latent_avg(), after.latent_avg()
    assert mean is not None
    assert kept is not None
    assert torch.equal(mean, kept)
    assert (written.sha256, written.size) == (sha256(out), out.stat().st_size)
    source = after.header["converted_from"]
    assert (source["name"], source["sha256"], source["under"]) == ("any name", sha256(generator), "g_ema")
    assert inspect(out).id == inspect(generator).id == written.id


def test_safetensors_itself_reads_a_converted_file(generator: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    convert(generator, tmp_path / "g.safetensors")
    theirs, ours = load_file(str(tmp_path / "g.safetensors")), read(generator).tensors()
    assert all(torch.equal(theirs[k], ours[k]) for k in ours)


def test_a_converted_file_serves_its_family_with_the_same_id_and_pictures(
    generator: Path, manifest: Path, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    shutil.copy(generator, tmp_path / "here" / "g.pt")
    published = store(manifest)
    codes = torch.randn(1, 6, 512)
    picture = published.generator().synthesis(codes)
    (tmp_path / "here" / "g.pt").unlink()
    convert(generator, tmp_path / "here" / "g.safetensors")
    converted = store(manifest)
    assert torch.equal(converted.generator().synthesis(codes), picture)
    assert converted.generator_id == published.generator_id
    assert torch.equal(converted.latent_avg(), published.latent_avg())


def test_a_converted_file_is_judged_by_where_it_came_from(generator: Path, manifest: Path) -> None:
    here = manifest.parent / "here"
    here.mkdir()
    text = manifest.read_text()
    named = text.replace('file = "g.pt"', f'file = "g.pt"\nsize = 1\nsha256 = "{sha256(generator)}"')
    manifest.write_text(named)
    convert(generator, here / "g.safetensors")
    family = open_family("official", manifest)
    assert check(family, "generator").state == "present"
    assert verify(family, "generator").state == "present"
    assert verify(family, "generator").state == "verified"
    manifest.write_text(named.replace(sha256(generator), "0" * 64))
    found = check(open_family("official", manifest), "generator", full=False)
    assert (found.state, "not the published one" in found.message) == ("broken", True)
    container.save(here / "g.safetensors", {"x": torch.zeros(1)}, {"kind": "generator", "id": "x"})
    found = check(open_family("official", manifest), "generator")
    assert (found.state, "does not say" in found.message) == ("broken", True)


def test_the_published_file_goes_before_a_converted_one(generator: Path, manifest: Path) -> None:
    here = manifest.parent / "here"
    here.mkdir()
    convert(generator, here / "g.safetensors")
    family = open_family("official", manifest)
    assert family.find("generator") == here / "g.safetensors"
    shutil.copy(generator, here / "g.pt")
    assert family.find("generator") == here / "g.pt"


def test_a_converted_file_is_read_in_place_and_never_written_to(generator: Path, tmp_path: Path) -> None:
    out = tmp_path / "g.safetensors"
    convert(generator, out)
    before = sha256(out)
    tensors = read(out).tensors()
    starts = sorted(t.data_ptr() for t in tensors.values() if t.numel())
    # All of them lie in one stretch as long as the file: it is mapped, not copied.
    assert starts[-1] - starts[0] < out.stat().st_size
    tensors["conv1.conv.weight"].zero_()
    assert sha256(out) == before


def test_what_does_not_fit_is_not_converted(tmp_path: Path, generator: Path) -> None:
    with pytest.raises(BadCheckpoint, match="is not converted: its sizes"):
        convert(CONTAINERS / "labeldist-0010000", tmp_path / "o.safetensors")
    with pytest.raises(BadRequest, match=r"\*\.safetensors"):
        convert(generator, tmp_path / "o.pt")
    convert(generator, tmp_path / "o.safetensors")
    with pytest.raises(BadRequest, match="already"):
        convert(tmp_path / "o.safetensors", tmp_path / "p.safetensors")


def test_a_full_disk_loses_nothing(generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "o.safetensors"
    out.write_bytes(b"what was there")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(converting.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(CannotWrite, match="free"):
        convert(generator, out)
    assert out.read_bytes() == b"what was there"
    monkeypatch.undo()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(converting.os, "fsync", full)
    with pytest.raises(CannotWrite, match="No space left"):
        convert(generator, out)
    assert out.read_bytes() == b"what was there"
    assert not list(tmp_path.glob(".*part"))


def test_a_file_is_added_where_its_family_finds_it(generator: Path, flow: Path, manifest: Path, tmp_path: Path) -> None:
    place, written = add(generator, manifest=manifest)
    assert (place.role, written.path) == ("generator", tmp_path / "here" / "g.pt")
    add(flow, manifest=manifest)
    opened = store(manifest)
    assert opened.generator().size == 16
    assert isinstance(opened.module("sdflow_flow"), ConditionalFlow)
    known = recall(written.path)
    assert known is not None
    assert known.sha256 == written.sha256 == sha256(generator)


def test_a_converted_file_is_added_with_its_ending(generator: Path, manifest: Path, tmp_path: Path) -> None:
    convert(generator, tmp_path / "x.safetensors")
    _, written = add(tmp_path / "x.safetensors", manifest=manifest)
    assert written.path == tmp_path / "here" / "g.safetensors"
    assert store(manifest).generator().size == 16


def test_a_file_that_fits_nowhere_is_not_copied(manifest: Path, tmp_path: Path) -> None:
    torch.save(Generator(32, n_mlp=1, channels={4: 4, 8: 4, 16: 4, 32: 4}).state_dict(), tmp_path / "big")
    with pytest.raises(BadCheckpoint, match="a generator of 32 px, and a 16 px one is needed"):
        add(tmp_path / "big", manifest=manifest)
    with pytest.raises(BadCheckpoint, match="run code"):
        add(CONTAINERS / "runs_code_zip.pt", manifest=manifest)
    assert not (tmp_path / "here").exists()


def test_two_places_are_told_apart_by_name_only(manifest: Path, tmp_path: Path) -> None:
    sides = (2560, 2048, 1024, 512, 512)
    state = {}
    for i in range(4):
        state[f"model.{2 * i}.weight"] = torch.zeros(sides[i + 1], sides[i], dtype=torch.float16)
        state[f"model.{2 * i}.bias"] = torch.zeros(sides[i + 1], dtype=torch.float16)
    torch.save(state, tmp_path / "mapper")
    with pytest.raises(BadRequest, match="swap_mapper or roich_mapper"):
        add(tmp_path / "mapper", manifest=manifest)
    (tmp_path / "mapper").rename(tmp_path / "maper_X_3.pt")
    place, _ = add(tmp_path / "maper_X_3.pt", manifest=manifest)
    assert place.role == "roich_mapper"


def test_the_command_line_says_what_a_file_is(capsys: pytest.CaptureFixture[str], manifest: Path) -> None:
    path = str(CONTAINERS / "550000.pt")
    assert main(["weights", "inspect", path, "--json", "--manifest", str(manifest)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["tensors"], told["arch"]["size"], told["fits"]) == ("generator", 135, 256, False)
    assert main(["weights", "inspect", path]) == 0
    assert "StyleGAN2 generator" in capsys.readouterr().out


def test_the_command_line_refuses_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "inspect", str(CONTAINERS / "runs_code_legacy.pt"), "--json"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "builtins.print" in shown.err


def test_the_command_line_converts_and_adds(
    generator: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "o.safetensors")
    assert main(["weights", "convert", str(generator), "--out", out, "--json"]) == 0
    assert main(["weights", "add", out, "--json", "--manifest", str(manifest)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[1]["kind"] == "generator"
    assert lines[0]["sha256"] == lines[1]["sha256"]
