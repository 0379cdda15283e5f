"""``swap-dirs`` and ``swap-pairs`` on tiny random networks: counts, resume, broken files, names, sheets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from idswap.swap import Strengths
from tests.workbench.test_swapping import photo, write_swapping
from workbench.contact import ContactSheet
from workbench.engine import Engine
from workbench.export import read_request
from workbench.images import load_image
from workbench.ledger import Ledger
from workbench.pairing import distinct_names, match
from workbench.swap_folders import FolderSwaps, Made, Order
from workbench.swapping import Base, Swapping, described


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_swapping(tmp_path_factory.mktemp("swapping"))


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    who, what = tmp_path / "who", tmp_path / "what"
    who.mkdir()
    what.mkdir()
    for i, name in enumerate(("1", "10")):
        photo(who / f"{name}.png", i)
    for i, name in enumerate(("1", "2", "10")):
        photo(what / f"{name}.png", 10 + i)
    return who, what


def words(command: str, folders: tuple[Path, Path], out: Path, manifest: Path) -> list[str]:
    paths = ["--identities", str(folders[0]), "--attributes", str(folders[1]), "--out", str(out)]
    return [command, *paths, "--aligned", "--crop", "--json", "--manifest", str(manifest)]


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_table_costs_one_encode_per_picture(folders: tuple[Path, Path], manifest: Path, tmp_path: Path, monkeypatch):
    engine = Engine(family_file=manifest)
    swapping = Swapping(engine)
    method = swapping.method("nitzan")
    counts = {"encode": 0, "synth": 0}
    for name in counts:
        plain = getattr(method, name)

        def counted(batch: torch.Tensor, plain=plain, name=name):
            counts[name] += len(batch)
            return plain(batch)

        monkeypatch.setattr(method, name, counted)
    with Ledger(tmp_path, "swap-dirs") as ledger:
        job = FolderSwaps(
            engine,
            swapping,
            Order("nitzan", Strengths(), crop=True),
            lambda p: engine.use_aligned(load_image(p)),
            ledger,
        )
        identities, attributes = sorted(folders[0].iterdir()), sorted(folders[1].iterdir())
        made = list(job.all(identities, attributes, tmp_path / "out", tmp_path / "sheet.png"))
    assert len([m for m in made if isinstance(m, Made)]) == 6
    assert counts == {"encode": 5, "synth": 6}


def test_all_combinations_with_a_broken_file_and_a_second_call(
    folders: tuple[Path, Path], manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (folders[0] / "bad.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    command = words("swap-dirs", folders, out, manifest)
    assert cli.main(command) == 1
    captured = capsys.readouterr()
    assert captured.err.count("bad.jpg") == 2  # once as the file, once in the sentence: said once, not per combination
    assert len(captured.err.splitlines()) == 1
    told = [json.loads(line) for line in captured.out.splitlines()]
    assert len(told) == 7
    assert not any(one["kept"] for one in told[:-1])
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.png")} == {
        "sheet.png",
        *(f"{b}/{a}.png" for a in ("1", "10") for b in ("1", "2", "10")),
    }
    body = json.loads((out / "manifest.json").read_text())
    assert body["command"] == "swap-dirs"
    assert len(body["outputs"]) == 6
    assert body["failed"][0]["input"].endswith("bad.jpg")
    request = read_request((out / "2" / "10.png").read_bytes())
    assert request is not None
    assert request.editor == "swap-nitzan"
    size = Image.open(out / "1" / "1.png").size[0]
    assert Image.open(out / "sheet.png").size == (3 * size, 4 * size)  # the broken file has no column

    table = np.asarray(Image.open(out / "sheet.png"))
    tile = np.asarray(Image.open(out / "10" / "1.png"))
    # Rows by name: 1, 10, 2; columns by name: 1, 10.
    assert np.array_equal(table[2 * size : 3 * size, size : 2 * size], tile)

    # A second call leaves what is there, makes what is gone, and makes all anew for other settings.
    before = (out / "1" / "1.png").stat().st_mtime_ns
    (out / "2" / "1.png").unlink()
    assert cli.main(command) == 1
    again = lines(capsys)
    assert sum(one["kept"] for one in again[:-1]) == 5
    # A result is told in the same words, whether it was there or not.
    assert {frozenset(one) for one in again[:-1]} == {frozenset(told[0])}
    assert (out / "1" / "1.png").stat().st_mtime_ns == before
    assert (out / "2" / "1.png").is_file()
    assert cli.main([*command, "--identity-strength", "0.5"]) == 1
    assert not any(one["kept"] for one in lines(capsys)[:-1])


def test_pairs_are_found_by_exact_stem(
    folders: tuple[Path, Path], manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (folders[1] / "1.png").rename(folders[1] / "1.bmp.png")
    photo(folders[0] / "2.png", 5)
    out = tmp_path / "out"
    assert cli.main(words("swap-pairs", folders, out, manifest)) == 0
    captured = capsys.readouterr()
    *told, last = [json.loads(line) for line in captured.out.splitlines()]
    assert {Path(one["output"]).name for one in told} == {"10.png", "2.png"}
    assert [Path(p).name for p in last["identities_alone"]] == ["1.png"]
    assert [Path(p).name for p in last["attributes_alone"]] == ["1.bmp.png"]
    assert captured.err.count("has no partner") == 2
    assert json.loads((out / "manifest.json").read_text())["unmatched"]["identities_alone"]
    assert not (out / "1.png").exists()


def test_pairing_and_names():
    a, b = [Path("a/1.png"), Path("a/10.png"), Path("a/x.png")], [Path("b/10.jpg"), Path("b/x.png"), Path("b/x.jpg")]
    found = match(a, b)
    assert found.matched == ((Path("a/10.png"), Path("b/10.jpg")),)
    assert found.only_first == (Path("a/1.png"),)
    assert set(found.ambiguous) == {Path("a/x.png"), Path("b/x.png"), Path("b/x.jpg")}
    assert list(distinct_names(b).values()) == ["10", "x", "x-2"]


def test_results_never_land_among_the_photos(
    folders: tuple[Path, Path], manifest: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(words("swap-pairs", folders, folders[1], manifest)) == 1
    assert "the photos themselves" in capsys.readouterr().err


def test_a_ledger_survives_damage_and_asks_for_the_same_key(tmp_path: Path):
    (tmp_path / "manifest.json").write_text("{ broken")
    (tmp_path / "a.png").write_bytes(b"x")
    with Ledger(tmp_path, "job") as ledger:
        assert ledger.made(tmp_path / "a.png", "k") is None
        ledger.add(tmp_path / "a.png", "k", {"n": 1})
    with Ledger(tmp_path, "job") as again:
        assert again.made(tmp_path / "a.png", "other") is None
        assert again.made(tmp_path / "gone.png", "k") is None
        entry = again.made(tmp_path / "a.png", "k")
        assert entry is not None
        assert entry["n"] == 1
    with Ledger(tmp_path, "another job") as stranger:
        assert stranger.made(tmp_path / "a.png", "k") is None


def test_a_stopped_job_keeps_what_it_had_not_reached(tmp_path: Path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    with Ledger(tmp_path, "job") as ledger:
        for name in ("a.png", "b.png"):
            ledger.add(tmp_path / name, "k", {})

    def stopped() -> None:
        with Ledger(tmp_path, "job") as ledger:
            assert ledger.made(tmp_path / "a.png", "k") is not None
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert Ledger(tmp_path, "job").made(tmp_path / "b.png", "k") is not None


def test_a_call_that_fails_at_once_leaves_what_an_earlier_one_noted(
    folders: tuple[Path, Path], manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out"
    command = words("swap-dirs", folders, out, manifest)
    assert cli.main(command) == 0
    before = (out / "manifest.json").read_text()
    assert cli.main([*command, "--identity-strength", "9"]) == 1
    assert (out / "manifest.json").read_text() == before
    assert cli.main([*words("swap-dirs", folders, tmp_path / "new", manifest), "--identity-strength", "9"]) == 1
    assert not (tmp_path / "new").exists()
    assert cli.main(words("swap-dirs", (tmp_path / "nowhere", folders[1]), out, manifest)) == 1
    assert "no folder" in capsys.readouterr().err


def test_a_later_call_on_other_photos_keeps_what_is_still_there(tmp_path: Path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"x")
    with Ledger(tmp_path, "job") as ledger:
        ledger.add(tmp_path / "a.png", "k", {"n": 1})
        ledger.add(tmp_path / "b.png", "k", {"n": 2})
    (tmp_path / "b.png").unlink()
    with Ledger(tmp_path, "job") as ledger:
        assert ledger.earlier(tmp_path / "a.png") == {"n": 1, "key": "k"}
        assert ledger.earlier(tmp_path / "c.png") is None
        ledger.add(tmp_path / "c.png", "k", {"n": 3})
    assert set(json.loads((tmp_path / "manifest.json").read_text())["outputs"]) == {"a.png", "c.png"}


def test_a_result_depends_on_what_finds_the_face(folders: tuple[Path, Path], manifest: Path, tmp_path: Path):
    engine = Engine(family_file=manifest)
    swapping = Swapping(engine)

    def helpers(base: Base, crop: bool) -> tuple[str, ...]:
        order = Order("zhou", Strengths(), base, crop=crop)
        return FolderSwaps(engine, swapping, order, lambda _: pytest.fail("read"), Ledger(tmp_path, "x")).helpers

    projector = engine.store.network("projector").id
    assert helpers("photo", True) == (projector,)
    assert helpers("w", True) == ()
    assert set(helpers("photo", False)) >= {projector}


def test_a_sheet_stays_within_its_bound():
    sheet = ContactSheet(100, 3, 1024)
    assert max(sheet.pixels.shape) <= 8192
    sheet.put(99, 2, np.zeros((512, 512, 3), np.uint8))
    assert sheet.pixels[-1, -1].tolist() == [0, 0, 0]
    assert sheet.pixels[0, 0].tolist() == [255, 255, 255]


def test_a_sheet_leaves_out_what_could_not_be_used():
    sheet = ContactSheet(3, 4, 8)
    for row in range(3):
        for column in range(4):
            sheet.put(row, column, np.full((8, 8, 3), 10 * row + column, np.uint8))
    left = sheet.without({1}, {0, 2})
    assert left.shape == (16, 16, 3)
    assert left[::8, ::8, 0].tolist() == [[1, 3], [21, 23]]
    assert np.array_equal(sheet.without((), ()), sheet.pixels)


def test_a_swap_that_comes_back_is_recognised(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    a, b, out = photo(tmp_path / "a.png", 1), photo(tmp_path / "b.png", 2), tmp_path / "out.png"
    command = ["swap", "--identity", str(a), "--out", str(out), "--aligned", "--json", "--manifest", str(manifest)]
    assert cli.main([*command, "--attributes", str(b), "--identity-strength", "0.8"]) == 0
    assert lines(capsys)[0]["warnings"] == []
    request = load_image(out).request
    assert request is not None
    sentence = described(request)
    assert sentence is not None
    assert "identity 0.8" in sentence
    assert described('{"editor": "sdflow", "version": "1", "values": {}}') is None
    assert described(None) is None
    command[command.index(str(out))] = str(tmp_path / "second.png")
    assert cli.main([*command, "--attributes", str(out)]) == 0
    assert "is a swap made by this program" in lines(capsys)[0]["warnings"][0]
