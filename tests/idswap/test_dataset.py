"""The generated training sets: published names, seeds by index, resume, workers, the shard, bad folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import cli
from data.swap_layouts import LAYOUTS, NITZAN, ROICH, YUGONG_EVALUATION, real_of, split
from data.swap_sets import FolderSet, ShardSet, open_set
from tests.tiny_family import write_family
from training import make_dataset
from training.make_dataset import Job, make
from workbench.errors import BadImage, BadRequest

GOLDEN = Path(__file__).parents[1] / "golden" / "data" / "dataset-layouts.json"


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_family(tmp_path_factory.mktemp("family")))


def quiet(_: str) -> None:
    """Say nothing."""


def leaves(tree: object, above: str = "") -> set[str]:
    if isinstance(tree, dict):
        return {name for key, value in tree.items() for name in leaves(value, above + key)}
    return {above + name for name in tree if isinstance(name, str)} if isinstance(tree, list) else set()


def test_names_are_those_of_the_published_code():
    records = {r["name"]: r for r in json.loads(GOLDEN.read_text())["layouts"]}
    nitzan = leaves(records["nitzan"]["tree"])
    for index in (0, 1, 999, 1000, 1001):
        assert NITZAN.image_of(index, 256) in nitzan
        assert NITZAN.w_of(index, 256) in nitzan
    assert {real_of(0), real_of(1)} <= nitzan
    roich = leaves(records["roich"]["tree"])
    assert {ROICH.image_of(i, 256) for i in (0, 1, 999, 1000, 1001)} <= roich
    assert {ROICH.w_of(i, 256) for i in (0, 1, 999, 1000, 1001)} <= roich
    both = leaves(records["yugong"]["tree"])
    assert YUGONG_EVALUATION.images_of(0, 256, 10_000) == (
        "data/eval_10000/id_small_image/0/0.png",
        "data/eval_10000/attr_small_image/9/9999.png",
    )
    assert set(YUGONG_EVALUATION.images_of(9998, 256, 10_000)) <= both
    assert YUGONG_EVALUATION.w_of(9999, 256) in both


@pytest.mark.parametrize("layout", [*LAYOUTS, "shard"])
def test_a_set_is_written_and_read_back(layout: str, manifest: str, tmp_path: Path):
    done = make(Job(tmp_path, layout, 5, seed=3, batch=2, manifest=manifest), say=quiet)
    assert done.made == 5
    found = open_set(tmp_path)
    assert len(found) == 5
    assert found.image(4).shape == (32, 32, 3)
    assert found.w(4).shape == (512,)
    maker = make_dataset.Maker(Job(tmp_path, layout, 5, seed=3, batch=2, manifest=manifest))
    codes, _ = maker.render(range(4, 5))
    assert np.allclose(found.w(4), codes[0, 0], atol=2e-3 if layout == "shard" else 0)
    assert found.w(0).tolist() != found.w(1).tolist()


def test_nitzan_truncates_the_first_rows_only(manifest: str, tmp_path: Path):
    job = Job(tmp_path, "nitzan", 1, manifest=manifest, truncation=0.25)
    maker = make_dataset.Maker(job)
    w = maker.generator.map(make_dataset.draw_z(0, 0, 512)[None])[0]
    rows = make_dataset.codes_of(maker.generator, make_dataset.draw_z(0, 0, 512)[None], maker.center, 0.25, 3)[0]
    assert np.allclose(rows[2].detach(), (maker.center + 0.25 * (w - maker.center)).detach(), atol=1e-6)
    assert np.allclose(rows[3].detach(), w.detach())


def test_a_stopped_set_goes_on_and_equals_the_uninterrupted_one(manifest: str, tmp_path: Path):
    for layout in ("roich", "shard"):
        whole, parts = tmp_path / layout / "whole", tmp_path / layout / "parts"
        make(Job(whole, layout, 7, batch=2, manifest=manifest), say=quiet)
        make(Job(parts, layout, 3, batch=2, manifest=manifest), say=quiet)
        done = make(Job(parts, layout, 7, batch=2, manifest=manifest), say=quiet)
        assert (done.there, done.made) == ((2, 5) if layout == "roich" else (0, 7))
        files = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
        assert files == sorted(p.relative_to(parts) for p in parts.rglob("*") if p.is_file())
        for name in files:
            assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_ranks_share_the_work_and_give_the_same_files(manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make(Job(tmp_path / "one", "nitzan", 6, batch=2, manifest=manifest), say=quiet)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        done = make(Job(tmp_path / "two", "nitzan", 6, batch=2, manifest=manifest), say=quiet)
        assert done.made == (4 if rank == "0" else 2)
    for path in (tmp_path / "one").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_several_workers_from_the_command_line(manifest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["make-dataset", "--out", str(tmp_path / "set"), "--count", "6", "--batch", "2", "--manifest", manifest]
    assert cli.main([*arguments, "--workers", "2"]) == 0
    assert "6 made" in (said := capsys.readouterr().out)
    assert "images/s" in said
    assert "bytes written" in said
    assert cli.main([*arguments, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("seconds") >= 0
    assert told == {
        "out": str(tmp_path / "set"), "layout": "nitzan", "made": 0, "there": 6, "bytes": 0, "images_per_second": None,
    }  # fmt: skip


def test_other_settings_and_strange_folders_are_refused(manifest: str, tmp_path: Path):
    make(Job(tmp_path / "set", "roich", 2, manifest=manifest), say=quiet)
    with pytest.raises(BadRequest, match="other settings"):
        make(Job(tmp_path / "set", "roich", 2, seed=1, manifest=manifest), say=quiet)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear")
    with pytest.raises(BadRequest, match="not empty"):
        make(Job(tmp_path / "mine", "roich", 2, manifest=manifest), say=quiet)
    with pytest.raises(BadRequest, match="no layout"):
        make(Job(tmp_path / "new", "pyramid", 2, manifest=manifest), say=quiet)
    with pytest.raises(BadImage, match="make-dataset"):
        open_set(tmp_path / "mine")


def test_stray_and_damaged_files(manifest: str, tmp_path: Path):
    make(Job(tmp_path, "nitzan", 3, manifest=manifest), say=quiet)
    (tmp_path / NITZAN.w_of(7, 32)).write_bytes(b"")
    (tmp_path / "dataset_32" / "ws" / "00000" / "note.npy").write_bytes(b"")
    found = open_set(tmp_path)
    assert isinstance(found, FolderSet)
    assert list(found.indices) == [0, 1, 2]
    (tmp_path / NITZAN.image_of(1, 32)).write_bytes(b"no picture")
    with pytest.raises(BadImage, match="00001"):
        found.image(1)


def test_indices_sort_by_number_beyond_five_digits():
    assert NITZAN.image_of(100_000, 256) == "dataset_256/images/100000/100000.png"
    assert split([0, 69_999, 70_000]) == ([0, 69_999], [70_000])
    assert split([0, 1]) == ([0, 1], [0, 1])


def test_a_shard_spans_blocks(manifest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(make_dataset, "BLOCK", 2)
    make(Job(tmp_path, "shard", 5, batch=2, manifest=manifest), say=quiet)
    found = open_set(tmp_path)
    assert isinstance(found, ShardSet)
    assert len(found.files) == 3
    make(Job(tmp_path / "folder", "roich", 5, batch=2, truncation=0.7, manifest=manifest), say=quiet)
    folder = open_set(tmp_path / "folder")
    assert all(np.array_equal(found.image(i), folder.image(i)) for i in range(5))


def test_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    manifest = write_family(tmp_path)
    with pytest.raises(BadRequest, match="truncation"):
        make(Job(tmp_path / "a", count=2, truncation=float("nan"), manifest=str(manifest)), say=lambda _: None)
    with pytest.raises(BadRequest, match="worker"):
        make(Job(tmp_path / "b", count=2, manifest=str(manifest)), workers=0, say=lambda _: None)
    assert not (tmp_path / "a").exists()
