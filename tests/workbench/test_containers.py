"""Every container of the table in ``tests/golden/data/containers/README.md`` is loaded or refused as it says."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from workbench.errors import BadCheckpoint
from workbench.official import read
from workbench.official.checkpoint import Checkpoint
from workbench.official.inspecting import inspect

FOLDER = Path(__file__).parents[1] / "golden" / "data" / "containers"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    loads: bool
    tensors: int
    under: str


def rows() -> list[Row]:
    found = []
    for line in (FOLDER / "README.md").read_text().splitlines():
        if line.startswith("| `"):
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            name = re.findall(r"`([^`]+)`", cells[0])[0]
            found.append(Row(name, cells[2] == "load", int(cells[3] or 0), cells[4]))
    return found


ROWS = rows()
LOADED = [row for row in ROWS if row.loads]
REFUSED = [row for row in ROWS if not row.loads]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder, and in a copy the one file whose published name ends in .tar."""
    name = "mobilefacenet_model_best.pth"
    shutil.copy(FOLDER / name, tmp_path / f"{name}.tar")
    return tmp_path


def path_of(name: str, place: Path) -> Path:
    return place / name if name.endswith(".tar") else FOLDER / name


def test_the_table_is_there() -> None:
    assert len(LOADED) == 18
    assert len(REFUSED) == 12


@pytest.mark.parametrize("row", LOADED, ids=lambda row: row.name)
def test_a_good_file_loads(row: Row, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = inspect(path_of(row.name, place))
    assert (found.tensors, found.under) == (row.tensors, row.under)
    assert found.id
    assert capsys.readouterr().out == ""


WORDS = {
    "mlp_legacy_whole_module.pt": ("before 1.6", "save it again"),
    "mlp_with_foreign_callable.pt": ("run code", "builtins.print"),
    "unknown_class_whole_module.pt": ("somebody.networks.FaceNet",),
    "e4e_quota_page.pt": ("web page", "repeated"),
    "e4e_virus_scan_page.pt": ("web page", "repeated"),
    "lfs_pointer.pt": ("LFS pointer", "1196378688 bytes"),
    "truncated.pt": ("incomplete",),
    "empty.pt": ("empty",),
    "no_weights.pt": ("'epoch', 'note', 'loss'",),
    "runs_code_zip.pt": ("run code", "builtins.print"),
    "runs_code_plain_pickle.pt": ("run code", "builtins.print"),
    "runs_code_legacy.pt": ("run code", "builtins.print"),
}


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.name)
def test_a_bad_file_is_refused_in_one_sentence_and_runs_nothing(row: Row, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadCheckpoint) as told:
        read(FOLDER / row.name)
    for word in WORDS[row.name]:
        assert word in str(told.value)
    sentence = str(told.value).replace(str(FOLDER), "")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    shown = capsys.readouterr()
    assert shown.out == shown.err == ""


KINDS = {
    "mlp_19_225000_52.pt": "idswap_mapper",
    "mlp_dataparallel_whole_module.pt": "idswap_mapper",
    "swap_encoder_19_225000_52.pt": "swap_encoder",
    "attr_encoder_rewrapped.pt": "attribute_encoder",
    "550000.pt": "generator",
    "e4e_opts_namespace.pt": "e4e",
    "maskfacegan_e4e_state.pt": "e4e",
    "prior-0010000": "sdflow_flow",
    "labeldist_legacy_nonzip": "sdflow_estimator",
    "r34_a40_age_256_classifier_dataparallel.pth": "attribute_age",
    "model_ir_se50.pth": "arcface",
    "mobilefacenet_model_best.pth": "landmarks112",
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_a_file_is_told_by_its_keys(name: str, kind: str, tmp_path: Path) -> None:
    # Under a name that says nothing.
    shutil.copy(FOLDER / name, tmp_path / "file")
    assert read(tmp_path / "file").kind.name == kind


def same(first: Checkpoint, second: Checkpoint) -> bool:
    one, other = first.tensors(), second.tensors()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("attr_encoder_ABCDEFGHIJKL_1620210000.0_3.pt", "attr_encoder_rewrapped.pt"),
        ("r34_a40_age_256_classifier.pth", "r34_a40_age_256_classifier_dataparallel.pth"),
        ("labeldist-0010000", "labeldist_legacy_nonzip"),
        ("e4e_ffhq_encode.pt", "e4e_opts_namespace.pt"),
        ("mlp_19_225000_52.pt", "mlp_dataparallel_whole_module.pt"),
    ],
)
def test_wrapping_changes_no_number(first: str, second: str) -> None:
    assert same(read(FOLDER / first), read(FOLDER / second))


def test_tensors_of_one_storage_do_not_share_memory() -> None:
    tensors = read(FOLDER / "r34_a40_age_256_classifier.pth").tensors()
    before = tensors["extractor.bn1.weight"].clone()
    for key, value in tensors.items():
        if key != "extractor.bn1.weight":
            value.zero_()
    assert torch.equal(tensors["extractor.bn1.weight"], before)


@pytest.mark.parametrize(
    "name", ["prior-0010000", "stylegan2-ffhq-config-f.pt", "r34_a40_age_256_classifier.pth", "model_ir_se50.pth"]
)
def test_numbers_are_those_that_torch_reads(name: str) -> None:
    body = torch.load(FOLDER / name, map_location="cpu", weights_only=True)
    theirs = body.get("g_ema", body)
    ours = read(FOLDER / name).tensors()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) and ours[key].dtype == theirs[key].dtype for key in ours)


def test_sizes_that_are_not_the_real_ones_are_said() -> None:
    found = inspect(FOLDER / "swap_encoder_19_225000_52.pt")
    assert not found.fits
    assert "its sizes are not those of the real network" in found.problem
    assert found.serves == ()


def test_what_is_missing_is_said() -> None:
    assert any("no mean latent" in note for note in inspect(FOLDER / "550000.pt").notes)
    assert any("18 style heads" in note for note in inspect(FOLDER / "e4e_ffhq_encode.pt").notes)
    assert inspect(FOLDER / "550000.pt").arch["size"] == 256
    assert inspect(FOLDER / "prior-0010000").arch["attributes"] == 3
