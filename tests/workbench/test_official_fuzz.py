"""Damaged files: a sentence or the file, never another error, never code, never more memory than the file explains."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdflow.model import ConditionalFlow
from workbench.errors import BadCheckpoint
from workbench.official import read
from workbench.official.converting import convert

CONTAINERS = Path(__file__).parents[1] / "golden" / "data" / "containers"
NAMES = ("prior-0010000", "mlp_19_225000_52.pt", "mlp_dataparallel_whole_module.pt", "labeldist_legacy_nonzip")
FUZZ = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Small good files of every container but Keras'."""
    folder = tmp_path_factory.mktemp("good")
    # Building a network for the first time imports much; that is not what a damaged file costs.
    for name in NAMES:
        read(CONTAINERS / name)
    found = [(CONTAINERS / name).read_bytes() for name in NAMES]
    torch.save(ConditionalFlow(1, width=8, hidden=(4,)).state_dict(), folder / "flow")
    convert(folder / "flow", folder / "flow.safetensors")
    return [*found, (folder / "flow").read_bytes(), (folder / "flow.safetensors").read_bytes()]


def attempt(data: bytes, folder: Path) -> None:
    """Read ``data`` as a file; only BadCheckpoint may come out, and memory stays near the file's size."""
    path = folder / "file"
    path.write_bytes(data)
    tracemalloc.start()
    try:
        found = read(path)
        total = sum(t.numel() * t.element_size() for t in found.tensors().values())
        assert total <= 3 * len(data) + 2**21
    except BadCheckpoint as error:
        if str(path) not in str(error):
            raise
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 40 * len(data) + 20 * 2**20


@FUZZ
@given(choice=st.integers(0, 5), share=st.floats(0, 1))
def test_truncated(originals: list[bytes], tmp_path: Path, choice: int, share: float) -> None:
    data = originals[choice]
    attempt(data[: int(share * len(data))], tmp_path)


@FUZZ
@given(
    choice=st.integers(0, 5), places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 7)), min_size=1, max_size=12)
)
def test_flipped_bits(originals: list[bytes], tmp_path: Path, choice: int, places: list[tuple[float, int]]) -> None:
    data = bytearray(originals[choice])
    for share, bit in places:
        data[min(int(share * len(data)), len(data) - 1)] ^= 1 << bit
    attempt(bytes(data), tmp_path)


@FUZZ
@given(choice=st.integers(0, 5), at=st.integers(0, 1500), new=st.binary(min_size=1, max_size=12))
def test_rewritten_heads(originals: list[bytes], tmp_path: Path, choice: int, at: int, new: bytes) -> None:
    # Where the pickle or the header lies, which single flips in a large file seldom hit.
    data = bytearray(originals[choice])
    data[at : at + len(new)] = new
    attempt(bytes(data), tmp_path)


@FUZZ
@given(first=st.integers(0, 5), second=st.integers(0, 5), cut=st.floats(0, 1), resume=st.floats(0, 1))
def test_spliced(originals: list[bytes], tmp_path: Path, first: int, second: int, cut: float, resume: float) -> None:
    one, other = originals[first], originals[second]
    attempt(one[: int(cut * len(one))] + other[int(resume * len(other)) :], tmp_path)


@FUZZ
@given(
    data=st.binary(max_size=400),
    head=st.sampled_from([b"", b"\x80\x02", b"\x80\x04", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"]),
)
def test_anything(tmp_path: Path, data: bytes, head: bytes) -> None:
    attempt(head + data, tmp_path)


def test_a_layer_number_from_nowhere_builds_no_layers(originals: list[bytes], tmp_path: Path) -> None:
    state = {f"model.{i}.{part}": torch.zeros(2) for i in (0, 2, 4, 6) for part in ("weight", "bias")}
    torch.save(state | {"model.99998.weight": torch.zeros(2, 2)}, tmp_path / "other")
    attempt((tmp_path / "other").read_bytes(), tmp_path)
    assert len(read(tmp_path / "other").arch["widths"]) < 10


def test_a_flipped_number_is_noticed(tmp_path: Path) -> None:
    path = CONTAINERS / "prior-0010000"
    data = bytearray(path.read_bytes())
    data[read(path).opened.runs["5"].start + 2] ^= 4
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(BadCheckpoint, match="checksum"):
        read(tmp_path / "file").tensors()
