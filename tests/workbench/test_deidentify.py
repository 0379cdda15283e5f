"""De-identification: persons told apart, donors unlike them, the key, the judge, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import cli
from data import container
from encoders.compact import IdentityNet
from tests.tiny_family import ARCH
from tests.workbench.test_swapping import photo, write_swapping
from workbench import readout
from workbench.deidentify import Deidentifier, People, TellApart
from workbench.donors import Donors, DonorSettings, grouped, keyed_seed, mean_row, named
from workbench.engine import Engine
from workbench.errors import BadRequest
from workbench.export import read_provenance
from workbench.images import load_image
from workbench.judges import judge_of
from workbench.ledger import Ledger
from workbench.swap_folders import Made
from workbench.swapping import Swapping


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swapping(tmp_path_factory.mktemp("swapping"))


def rows(*seeds: int) -> list[torch.Tensor]:
    return [F.normalize(torch.randn(16, generator=torch.Generator().manual_seed(s)), dim=0) for s in seeds]


def test_photos_of_one_person_come_together():
    a, b = rows(1, 2)
    near = F.normalize(a + 0.1 * b, dim=0)
    assert grouped([a, b, near], 0.8) == [0, 1, 0]
    assert grouped([b, near], 0.8, known=[a]) == [1, 0]
    assert grouped([], 0.8) == []


def test_the_seed_depends_on_key_and_person_and_bears_rounding():
    a, b = rows(1, 2)
    assert keyed_seed(b"key", a) == keyed_seed(b"key", a + 1e-7)
    assert len({keyed_seed(b"key", a), keyed_seed(b"other", a), keyed_seed(b"key", b)}) == 3
    assert 0 <= keyed_seed(b"key", a) < 2**63


def test_a_synthetic_donor_is_below_the_threshold(manifest: Path):
    engine = Engine(family_file=manifest)
    swapping = Swapping(engine)
    face = engine.random_face(9).image
    own = readout.embed(engine.store.module("identity"), face)
    alike = [float(own @ readout.embed(engine.store.module("identity"), engine.random_face(i).image)) for i in range(8)]
    threshold = float(np.median(alike))
    donors = Donors(swapping, "nitzan", DonorSettings(threshold=threshold))
    donor = donors.donor(3, [own], [own])
    assert torch.equal(donor, donors.donor(3, [own], [own]))
    assert not torch.equal(donor, donors.donor(4, [own], [own]))
    # Nitzan's identity code is the recogniser's own embedding.
    assert float(donor[0] @ own) <= threshold + 1e-5
    with pytest.raises(BadRequest, match="raise the threshold"):
        Donors(swapping, "nitzan", DonorSettings(threshold=-1.0)).donor(3, [own], [own])


def test_turning_and_averaging(manifest: Path):
    swapping = Swapping(Engine(family_file=manifest))
    a, b = rows(1, 2)
    turned = Donors(swapping, "nitzan", DonorSettings("rotate", degrees=60)).donor(5, [a, b], [a, b])
    assert float(turned[0] @ mean_row([a, b])) == pytest.approx(0.5, abs=1e-4)
    same = Donors(swapping, "zhou", DonorSettings("k-same", k=3, gallery=4)).donor(5, [a], [a])
    assert same.shape == (1, 16)
    assert float(same.norm()) == pytest.approx(1, abs=1e-5)
    for wrong in (DonorSettings("k-same", k=9, gallery=4), DonorSettings(degrees=200), DonorSettings(threshold=2)):
        with pytest.raises(BadRequest):
            wrong.check()


def other_judge(folder: Path) -> Path:
    torch.manual_seed(99)
    arch = ARCH["identity"]
    header = {"kind": "identity", "arch": arch}
    container.save(folder / "judge.safetensors", IdentityNet(**arch).state_dict(), header)
    return folder / "judge.safetensors"


def test_the_command_keeps_donors_and_reports(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for i, name in enumerate(("a", "b")):
        photo(photos / f"{name}.png", i)
    photo(photos / "c.png", 0)  # the first person again
    (photos / "bad.png").write_bytes(b"no picture")
    key, people = tmp_path / "key", tmp_path / "people.json"
    judge = other_judge(tmp_path)
    command = ["deidentify", str(photos), "--out", str(out), "--key", str(key), "--people", str(people), "--aligned"]
    command += ["--crop", "--json", "--same", "0.99999", "--threshold", "1", "--judge", str(judge)]
    command += ["--manifest", str(manifest)]
    assert cli.main(command) == 1
    captured = capsys.readouterr()
    assert "bad.png" in captured.err
    *told, last = [json.loads(line) for line in captured.out.splitlines()]
    person = {Path(line["input"]).stem: line["person"] for line in told}
    assert person["a"] == person["c"] != person["b"]
    report = last["report"]
    assert (report["people"], report["judge_independent"], report["after"]["count"]) == (2, True, 3)
    assert report["before"] == {"count": 1, "mean": pytest.approx(1, abs=1e-3), "verified": 1.0}
    noted = json.loads((out / "manifest.json").read_text())
    assert noted["report"] == report
    assert {"mode", "threshold", "degrees", "k", "gallery", "method", "family", "crop", "same", "verify"} <= set(noted)
    a, c = (np.asarray(Image.open(out / f"{name}.png")) for name in "ac")
    assert np.array_equal(a, c)
    assert (key.stat().st_mode & 0o777, people.stat().st_mode & 0o777) == (0o600, 0o600)
    # Nothing that is written beside the results leads back: neither the key nor the seed.
    seed = json.loads(people.read_text())["people"][person["a"]]["seed"]
    assert str(seed) not in (out / "manifest.json").read_text()
    provenance = read_provenance((out / "a.png").read_bytes())
    assert provenance is not None
    assert (provenance["editor"], provenance["seed"]) == ("deidentify-nitzan", 0)

    assert cli.main(command) == 1
    assert all(json.loads(line)["kept"] for line in capsys.readouterr().out.splitlines()[:-1])
    # Another call with one photo of the person finds the donor again through the list of people.
    again = [str(photos / "c.png") if word == str(photos) else word for word in command]
    again[again.index(str(out))] = str(tmp_path / "again")
    assert cli.main(again) == 0
    capsys.readouterr()
    assert np.array_equal(np.asarray(Image.open(tmp_path / "again" / "c.png")), c)


def test_people_are_told_apart_as_the_caller_says(manifest: Path, tmp_path: Path):
    assert named(["Ann_0001", "Bo_1", "Ann_0002", "7", "7", "Bo-12"]) == [0, 1, 0, 2, 2, 1]
    engine = Engine(family_file=manifest)
    judge = judge_of(engine, other_judge(tmp_path))
    paths = [photo(tmp_path / f"{name}.png", i) for i, name in enumerate(("Ann_1", "Ann_2", "Bo_1"))]

    def numbers(told_apart: TellApart, people: People, same: float = 0.999999) -> list[int]:
        job = Deidentifier(
            engine,
            "nitzan",
            DonorSettings(threshold=1.0),
            judge,
            read=lambda path: engine.use_aligned(load_image(path)),
            same=same,
            told_apart=told_apart,
        )
        outputs = {path: tmp_path / told_apart / path.name for path in paths}
        with Ledger(tmp_path / told_apart, "x") as ledger:
            made = [one for one in job.run(outputs, b"k" * 32, people, ledger) if isinstance(one, Made)]
        by_name = {Path(one.body["input"]).stem: one.body["person"] for one in made}
        return [by_name[path.stem] for path in paths]

    recogniser = engine.store.network("identity").id
    assert len(set(numbers("faces", People(None, recogniser)))) == 3
    people = People(None, recogniser)
    assert numbers("names", people) == [0, 0, 1]
    assert numbers("names", people) == [0, 0, 1]  # known by now
    assert len(people.rows) == 2
    assert numbers("one", People(None, recogniser)) == [0, 0, 0]


def test_a_later_call_finds_the_donors_by_what_lies_beside_the_key(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    photos = tmp_path / "photos"
    photos.mkdir()
    first = photo(photos / "Ann_1.png", 1)
    key, out = tmp_path / "key", tmp_path / "out"
    words = ["--out", str(out), "--key", str(key), "--aligned", "--crop", "--threshold", "1", "--same", "0.9"]
    words += ["--told-apart", "one", "--manifest", str(manifest)]
    assert cli.main(["deidentify", str(first), *words]) == 0
    before = (out / "Ann_1.png").read_bytes()
    photo(photos / "Ann_2.png", 1)
    assert cli.main(["deidentify", str(photos), *words]) == 0
    assert (out / "Ann_1.png").read_bytes() == before
    assert (tmp_path / "key.people.json").stat().st_mode & 0o777 == 0o600
    # Said once, when the file is new: it identifies people.
    assert capsys.readouterr().err.count("key.people.json") == 1
    words[1] = str(photos)
    assert cli.main(["deidentify", str(photos), *words]) == 1
    assert "the photos themselves" in capsys.readouterr().err


def test_a_judge_from_the_training_is_refused(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    a = photo(tmp_path / "a.png", 1)
    own = manifest.parent / "tiny" / "identity.safetensors"
    (tmp_path / "key").write_bytes(b"x" * 32)
    command = ["deidentify", str(a), "--out", str(tmp_path / "out"), "--key", str(tmp_path / "key"), "--aligned"]
    command += ["--manifest", str(manifest), "--threshold", "1"]
    assert cli.main([*command, "--judge", str(own)]) == 1
    assert "trained with" in capsys.readouterr().err
    assert cli.main(command) == 0
    assert "--judge" in capsys.readouterr().err
    (tmp_path / "key").write_bytes(b"short")
    assert cli.main(command) == 1
    assert "5 bytes" in capsys.readouterr().err
