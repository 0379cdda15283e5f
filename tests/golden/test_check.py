"""The golden checker itself: other seeds, broken values, damaged files, unknown items, the manifests' recipes."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.golden.adapters import ADAPTERS
from tests.golden.check import compare, main
from tests.golden.items import Context, Output, open_item, read_items, to_array
from tests.golden.recipes import BadRecipe, make_input, parse_subscript

DATA = Path(__file__).parent / "data"
SMALL = ("stylegan2_ops", "sdflow_movingbn")


def _item(name: str):
    return next(item for item in read_items(DATA) if item.name == name)


def _made_with(folder: Path, seed: int) -> Path:
    """A golden folder of the small items with another seed, made from our own functions."""
    for path in DATA.glob("manifest-*.json"):
        manifest = json.loads(path.read_text())
        items = manifest["items"]
        if isinstance(items, dict):
            manifest["items"] = {name: item for name, item in items.items() if name in SMALL}
        else:
            manifest["items"] = [item for item in items if item["item"] in SMALL]
        (folder / path.name).write_text(json.dumps(manifest))
    shutil.copytree(DATA / "keys", folder / "keys")
    for name in SMALL:
        item = _item(name)
        context = Context(item, DATA, seed, open_item(item, DATA, 0).arrays)
        arrays = {}
        for output in item.outputs:
            value = ADAPTERS[name](context)[output.name]
            array = to_array(value[0] if isinstance(value, tuple) else value).astype(np.float32)
            index = parse_subscript(output.index)
            arrays[output.name] = array if index is None else array[index]
        np.savez(folder / item.file, **arrays)
    return folder


@pytest.fixture(scope="module")
def seed_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _made_with(tmp_path_factory.mktemp("golden"), 1)


def test_a_folder_of_another_seed_passes_with_its_seed_only(seed_one: Path, capsys: pytest.CaptureFixture[str]):
    assert main([str(seed_one), "--seed", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1].rstrip(":") for line in lines if line.startswith("ok")] == [
        "sdflow_movingbn",
        "stylegan2_ops",
    ]
    assert main([str(seed_one), "--seed", "0"]) == 1


def test_a_changed_value_is_found(seed_one: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(seed_one, tmp_path / "broken")
    file = tmp_path / "broken" / "sdflow_movingbn.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    arrays["forward"][1, 1, 7] += 1e-4
    np.savez(file, **arrays)
    assert main([str(tmp_path / "broken"), "--seed", "1"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  sdflow_movingbn" in out
    assert "FAIL  forward: error" in out
    assert "ok    stylegan2_ops" in out


@pytest.mark.parametrize("content", [b"", b"not a zip file"])
def test_a_damaged_file_counts_as_failed(seed_one: Path, tmp_path: Path, content: bytes):
    shutil.copytree(seed_one, tmp_path / "damaged")
    (tmp_path / "damaged" / "stylegan2_ops.npz").write_bytes(content)
    assert main([str(tmp_path / "damaged"), "--seed", "1"]) == 1


def test_other_keys_than_the_key_list_count_as_failed(seed_one: Path, tmp_path: Path, capsys):
    shutil.copytree(seed_one, tmp_path / "keys")
    (tmp_path / "keys" / "keys" / "sdflow_movingbn.json").write_text('{"gain": [512]}')
    assert main([str(tmp_path / "keys"), "--seed", "1", "--only", "sdflow_movingbn"]) == 1
    assert "keys differ: missing ['gain']" in capsys.readouterr().out


def test_an_item_without_a_network_is_named_and_does_not_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delitem(ADAPTERS, "nitzan_gan")
    assert main([str(DATA), "--only", "nitzan_gan"]) == 0
    assert "nitzan_gan: no network yet" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["{empty}"], [str(DATA), "--only", "nothing_like_it"]])
def test_a_wrong_folder_or_name_says_so(tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main([argument.format(empty=tmp_path) for argument in arguments]) == 2
    assert capsys.readouterr().err


def test_every_recipe_of_the_manifests_can_be_read():
    for item in read_items(DATA):
        for output in item.outputs:
            parse_subscript(output.index)
    expression = "(0.7*fill_input('a',(2,1,2,2),seed=S,low=-1,high=1).repeat_interleave(2,2)+torch.tensor([1.,-.5]).view(2,1,1,1))/2"
    assert make_input(expression, 3).shape == (2, 1, 4, 2)
    assert not torch.equal(make_input(expression, 3), make_input(expression, 4))


@pytest.mark.parametrize("recipe", ["__import__('os')", "fill_input.__class__", "torch.load('x')", {"file": "x"}])
def test_recipes_run_no_code(recipe: object):
    with pytest.raises(BadRecipe):
        make_input(recipe, 0)  # type: ignore[arg-type]


def test_slices_are_read_as_written():
    array = np.arange(2 * 18 * 4).reshape(2, 18, 4)
    np.testing.assert_array_equal(array[parse_subscript("[:, [0, 8, 17], :] of (2,18,4)")], array[:, [0, 8, 17], :])
    np.testing.assert_array_equal(array[parse_subscript("[..., ::2, 1::2]")], array[..., ::2, 1::2])
    assert parse_subscript("whole tensor") is None


def test_errors_are_relative_absolute_or_exact():
    golden = np.array([2.0, -4.0])
    assert compare(Output("a", None, 0.1, "relative", False), golden + 0.2, golden).error == pytest.approx(0.05)
    assert compare(Output("a", None, 0.1, "absolute", False), golden + 0.2, golden).error == pytest.approx(0.2)
    assert not compare(Output("a", None, 0.0, "exact", False), golden + 1e-9, golden).ok
    assert not compare(Output("a", None, 1.0, "relative", False), golden * math.nan, golden).ok
    assert "shape" in compare(Output("a", None, 1.0, "relative", False), golden[:1], golden).text()
