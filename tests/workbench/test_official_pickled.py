"""The reader of pickles: data only, bounded by the bytes that are there."""

from __future__ import annotations

import io
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from workbench.errors import BadCheckpoint
from workbench.official.files import open_file
from workbench.official.pickled import ACTIONS, Damaged, Machine, Refused, Storage, Thing, view


def run(data: bytes) -> Any:
    return Machine(data).run()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        {"a": 1, "b": [1.5, None, True, False, "ä", -(2**70)], 3: (1, (2, 3), (), (1, 2, 3, 4))},
        OrderedDict([("x", 1), ("y", {"z": [[], {}]})]),
        "x" * 70_000,
        [{"same": 1}] * 3,
    ],
)
def test_plain_data_is_read_as_pickle_reads_it(value: Any, protocol: int) -> None:
    assert run(pickle.dumps(value, protocol)) == value


class Runs:
    """Would call print when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("CODE FROM A CHECKPOINT WAS RUN",)


FOREIGN = [
    (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
    (b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R.", "posix.system"),
    (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", "builtins.eval"),
    (b"\x80\x02cbuiltins\ngetattr\n.", "builtins.getattr"),
    (b"\x80\x02ctorch.hub\nload\n.", "torch.hub.load"),
    (b"\x80\x02ctorch.storage\n_load_from_bytes\n.", "torch.storage._load_from_bytes"),
]


@pytest.mark.parametrize(("data", "name"), FOREIGN)
def test_a_foreign_name_is_refused_at_once(data: bytes, name: str) -> None:
    with pytest.raises(Refused, match=name.replace(".", r"\.")):
        run(data)


def test_nothing_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused, match=r"builtins\.print"):
        run(pickle.dumps({"state_dict": {}, "extra": Runs()}, 2))
    assert capsys.readouterr().out == ""


def test_a_known_class_is_a_record_and_never_made() -> None:
    # An allowed name with nonsense for arguments: a real constructor would fail, a record does not.
    made = run(b"\x80\x02ctorch\ndevice\nX\x05\x00\x00\x00wrong\x85R.")
    assert isinstance(made, Thing)
    assert (made.name, made.arguments) == ("torch.device", ("wrong",))


def test_no_step_of_the_reader_imports_or_calls_what_a_file_names() -> None:
    # INST, OBJ, EXT and BUILDs with setters have no step here.
    assert not {ord("i"), ord("o"), 0x82, 0x83, 0x84, 0x92} & ACTIONS.keys()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02N",
        b"\x80\x02X\xff\xff\xff\xffab.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"ab.",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"ab.",
        b"\x80\x02h\x05.",
        b"\x80\x02u.",
        b"\x80\x02}]Ns.",
        b"\x80\x02}(KtK.",
        b"\x80\x02NNR.",
        b"\x80\x02cargparse\nNamespace",
        b"\x80\x02Q.",
        b"\x80\x02Nb.",
        b"\x80\x02\xff.",
    ],
)
def test_a_damaged_pickle_is_said_to_be_damaged(data: bytes) -> None:
    with pytest.raises(Damaged):
        run(data)


def test_a_far_memo_index_costs_nothing() -> None:
    # The library's own reader makes a table of two thousand million places for this.
    assert run(b"\x80\x02}r\xff\xff\xff\x7fj\xff\xff\xff\x7f0.") == {}


def test_nested_keys_are_refused_before_they_are_hashed() -> None:
    # Each step doubles the tuple's size when it is hashed: 2^60 steps.
    data = b"\x80\x02})q\x00" + b"".join(b"0h\x00h\x00\x86q\x00" for _ in range(60)) + b"Ns."
    with pytest.raises(Damaged, match="no plain value"):
        run(data)


def test_copying_one_list_again_and_again_is_bounded() -> None:
    pairs = pickle.dumps([(i, i) for i in range(1000)], 2)[2:-1]
    again = b"ccollections\nOrderedDict\nj\x10\x27\x00\x00\x85R0"
    with pytest.raises(Damaged, match="too many steps"):
        run(b"\x80\x02" + pairs + b"r\x10\x27\x00\x000" + again * 3000 + b"N.")


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (11,), (1,)),
        (5, (6,), (1,)),
        (0, (3, 3), (4, 2)),
        (0, (2**40, 2**40), (0, 0)),
        (0, (100,), (0,)),
        (-1, (1,), (1,)),
        (0, (1,), (1, 1)),
        (0, ("1",), (1,)),
        (0, (True,), (1,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(offset: Any, shape: Any, stride: Any) -> None:
    with pytest.raises(Damaged):
        view(Storage("0", torch.float32, 10), offset, shape, stride)


def test_views_with_strides_are_read_right(tmp_path: Path) -> None:
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    body = {
        "a": base.permute(2, 0, 1),
        "b": base[1:, ::2, 3],
        "c": base.flatten()[7],
        "d": torch.zeros(0, 3),
        "e": torch.tensor([True, False]),
        "f": base.bfloat16(),
        "g": base.long(),
        "h": base.double(),
    }
    for legacy in (False, True):
        torch.save(body, tmp_path / "file", _use_new_zipfile_serialization=not legacy)
        opened = open_file(tmp_path / "file")
        found = opened.tensors(opened.body)
        assert all(torch.equal(found[key], body[key]) and found[key].dtype == body[key].dtype for key in body)


def test_a_zip_bomb_and_a_compressed_archive_are_refused(tmp_path: Path) -> None:
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, 2))
        archive.writestr("x/data/0", bytes(50_000_000))
    (tmp_path / "bomb.pt").write_bytes(buffer.getvalue())
    assert len(buffer.getvalue()) < 100_000
    with pytest.raises(BadCheckpoint, match="compressed"):
        open_file(tmp_path / "bomb.pt")


def test_overlapping_parts_of_a_zip_are_refused(tmp_path: Path) -> None:
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}, 2))
        archive.writestr("x/data/0", bytes(5000))
        # Many names for the same bytes, as an overlapping bomb has it.
        first = archive.filelist[1]
        for index in range(50):
            again = zipfile.ZipInfo(f"x/data/{index + 1}")
            again.file_size = again.compress_size = 5000
            again.CRC, again.header_offset = first.CRC, first.header_offset
            archive.filelist.append(again)
            archive.NameToInfo[again.filename] = again
    (tmp_path / "bomb.pt").write_bytes(buffer.getvalue())
    with pytest.raises(BadCheckpoint, match="larger than the file"):
        open_file(tmp_path / "bomb.pt")


@pytest.mark.parametrize(
    ("header", "word"),
    [
        (b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,99999]}}', "before its header says"),
        (b'{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,16]}}', "larger"),
        (b'{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}', "no list of numbers"),
        (b'{"a":{"dtype":"X9","shape":[4],"data_offsets":[0,16]}}', "too little"),
        (b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}}', "as many numbers"),
        (b'{"a":' + b"[" * 50_000, "damaged"),
        (b"{nonsense", "damaged"),
    ],
)
def test_a_silly_safetensors_header_is_refused(tmp_path: Path, header: bytes, word: str) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    with pytest.raises(BadCheckpoint, match=word):
        open_file(path)
    path.write_bytes(struct.pack("<Q", 2**62) + header + bytes(16))
    with pytest.raises(BadCheckpoint, match="header is larger than the file"):
        open_file(path)


def test_a_folder_a_pipe_and_nothing_are_sentences(tmp_path: Path) -> None:
    import os

    from workbench.errors import MissingWeights

    with pytest.raises(BadCheckpoint, match="is a folder"):
        open_file(tmp_path)
    with pytest.raises(MissingWeights):
        open_file(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MissingWeights):
        open_file(tmp_path / "pipe")
