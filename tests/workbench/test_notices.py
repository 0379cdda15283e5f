"""What comes instead of weights, how far a download is in words, and the manifest's records of published files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.tiny_family import write_family
from workbench import notices, seen
from workbench.manifest import NEEDED, check, families, open_family, verify
from workbench.meter import Meter, duration, megabytes

SCAN = (
    "\n<!DOCTYPE html><html><head><title>Drive - Virus scan warning</title></head><body><p>This file is too large to scan "
    'for viruses.</p><form id="download-form" action="{}" method="get"><input type="hidden" name="id" value="A b">'
    '<input type="hidden" name="confirm" value="t"><input type="submit" value="Download anyway"/></form></body></html>'
)
HERE = "https://drive.google.com/uc?export=download&id=A"


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "is empty"),
        (b"\r\n\t <!DOCTYPE HTML><title>Drive - Quota exceeded</title>", "too many people"),
        (b"<html><p>Sorry, you can&#39;t; Too many users have viewed or downloaded this file", "too many people"),
        (b"\xef\xbb\xbf<html lang='en'><title> Sign\n in </title>", "titled 'Sign in'"),
        (SCAN.format("x").encode(), "virus scan"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1196378688\n", "of 1196378688 bytes"),
    ],
)
def test_what_is_no_weights_is_said(head: bytes, words: str) -> None:
    assert words in (notices.no_weights(head) or "")


@pytest.mark.parametrize("head", [b"PK\x03\x04", b"\x80\x02}q\x00", b'\x10\0\0\0\0\0\0\0{"html":1}', b"\x89HDF\r\n"])
def test_weights_pass(head: bytes) -> None:
    assert notices.no_weights(head) is None


@pytest.mark.parametrize(
    ("action", "onward"),
    [
        (
            "https://drive.usercontent.google.com/download?export=download",
            "https://drive.usercontent.google.com/download?export=download&id=A+b&confirm=t",
        ),
        ("/uc", "https://drive.google.com/uc?id=A+b&confirm=t"),
        ("https://example.invalid/download", None),
        ("https://drive.google.com.example.invalid/download", None),
        ("http://drive.google.com/download", None),
    ],
)
def test_a_virus_scan_is_confirmed_with_google_only(action: str, onward: str | None) -> None:
    assert notices.confirmation(SCAN.format(action).encode(), HERE) == onward


def test_no_other_page_is_confirmed() -> None:
    assert notices.confirmation(b"<html><form action='/pay' method='get'></form></html>", HERE) is None
    assert notices.confirmation(SCAN.format("/a").replace('"get"', '"post"').encode(), HERE) is None


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ("https://drive.google.com/file/d/1cU-v_E/view?usp=sharing", HERE[:-1] + "1cU-v_E"),
        ("https://drive.google.com/open?id=1PQ", HERE[:-1] + "1PQ"),
        (HERE, HERE),
        ("https://drive.google.com/drive/folders/1bO", "https://drive.google.com/drive/folders/1bO"),
        ("https://example.invalid/file/d/1/view", "https://example.invalid/file/d/1/view"),
    ],
)
def test_a_link_to_look_at_a_file_becomes_one_to_fetch_it(given: str, file: str) -> None:
    assert notices.direct(given) == file


def test_speed_and_remaining_time_are_said_in_words() -> None:
    said: list[tuple[float, str]] = []
    now = [100.0]
    meter = Meter(lambda fraction, message="": said.append((fraction, message)), clock=lambda: now[0])
    meter.start(400_000_000)
    for second in range(1, 21):
        now[0] = 100.0 + second
        meter.count(400_000_000 + second * 5_000_000, 1_150_000_000)
    assert said[-1] == (500 / 1150, "500 MB of 1.15 GB, 5.0 MB/s, 2 min left")
    now[0] += 0.01
    before = len(said)
    meter.count(500_000_001, 1_150_000_000)
    assert len(said) == before
    meter.start(0)
    meter.count(1000, None)
    assert said[-1] == (0.0, "0.00 MB")


def test_amounts_are_said_as_people_read_them() -> None:
    assert [megabytes(n) for n in (0, 12_345, 5e6, 1.5e9)] == ["0.00 MB", "0.01 MB", "5 MB", "1.50 GB"]
    assert [duration(n) for n in (-1, 59, 150, 7260)] == ["0 s", "59 s", "2 min", "2 h 1 min"]


def test_a_damaged_note_is_no_note(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"w")
    for text in ("{", "[]", '{"w.pt": 3}', '{"w.pt": {"sha256": "0"}}'):
        (tmp_path / seen.NAME).write_text(text)
        assert seen.recall(path) is None
    assert seen.remember(path, "ab", source="https://x")
    assert json.loads((tmp_path / seen.NAME).read_text())["w.pt"]["source"] == "https://x"


# the manifest's records


def test_every_published_checkpoint_has_its_record() -> None:
    known = families()
    files = {record.file for family in known.values() for record in family.records.values()}
    assert files >= {
        "stylegan2-ffhq-config-f.pt", "550000.pt", "e4e_ffhq_encode.pt", "prior-0010000", "labeldist-0010000",
        "r34_a40_age_256_classifier.pth", "maper.pt", "attr_encoder.pt", "swap_encoder.pt", "mlp.pt",
        "iafaces-celebahq-256.pth", "iafaces_cam-celebahq-256.pth", "iafaces-ffhq-1024.pth",
        "iafaces_cam-ffhq-1024.pth", "attribute_classifier/state.pt", "face_parser/state.pt", "e4e/state.pt",
        "model_ir_se50.pth", "mobilefacenet_model_best.pth.tar", "s3fd-619a316812.pth", "2DFAN4-11f355bf06.pth.tar",
        "vgg16-397923af.pth", "alexnet-owt-7be5be79.pth", "pt_inception-2015-12-05-6726825d.pth",
    }  # fmt: skip
    for name, family in known.items():
        for record in family.records.values():
            where = f"{name} {record.kind}"
            assert record.licence, where
            assert record.origin, where
            if name != "starter" and record.format != "facet":
                assert record.urls or record.by_hand, where
                assert record.paper, where
                assert record.needed_for, where
            assert all(urlsplit(url).scheme == "https" for url in record.urls), where
            assert record.sha256 == record.sha256.lower()
            if 0 < len(record.sha256) < 64:
                assert record.sha256 in record.file, where


def test_the_app_offers_only_families_that_can_edit() -> None:
    assert {name for name, family in families().items() if family.editable} >= {"starter", "official"}
    assert not families()["helpers"].editable
    assert open_family("starter").records.keys() >= NEEDED


def test_the_layout_of_the_demo_is_found_without_configuration(tmp_path: Path) -> None:
    manifest = tmp_path / "weights.toml"
    shutil.copy(Path(__file__).resolve().parents[2] / "data" / "weights.toml", manifest)
    names = {
        "generator": "stylegan2-ffhq-config-f.pt", "projector": "e4e_ffhq_encode.pt",
        "attributes": "r34_a40_age_256_classifier.pth", "sdflow_flow": "ckpt/prior-0010000",
        "sdflow_estimator": "ckpt/labeldist-0010000",
    }  # fmt: skip
    (tmp_path / "ckpt").mkdir()
    family = open_family("official", manifest)
    for kind, name in names.items():
        assert family.find(kind) is None
        assert family.place(kind) == tmp_path / name
        (tmp_path / name).write_bytes(b"w")
        assert family.find(kind) == tmp_path / name
    assert set(family.absent()) == {"identity", "detector", "landmarks"}
    (tmp_path / "ckpt" / "swap_encoder_19_225000_52.pt").write_bytes(b"w")
    (tmp_path / "ckpt" / "mlp_19_225000_52.pt.part").write_bytes(b"w")
    mixing = open_family("ffhq256", manifest)
    assert mixing.find("swap_encoder") == tmp_path / "ckpt" / "swap_encoder_19_225000_52.pt"
    assert mixing.find("swap_mapper") is None


def test_a_verified_file_stays_verified_until_it_changes(tmp_path: Path) -> None:
    manifest = write_family(tmp_path)
    family = open_family("starter", manifest)
    assert check(family, "judge", full=False).state == "present"
    verify(family, "judge")
    assert check(family, "judge", full=False).state == "verified"
    path = family.path("judge")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert verify(family, "judge").state == "broken"
