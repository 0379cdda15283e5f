"""Exports: the mark, the request that comes back, nothing private, nothing half written."""

from __future__ import annotations

import errno
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workbench import export
from workbench.editor import EditRequest
from workbench.errors import BadCheckpoint, BadRequest, CannotWrite, MissingWeights, WrongSpace
from workbench.export import Provenance, code_bytes, image_bytes, load_code, png_bytes, read_request, save_image
from workbench.face import Latent
from workbench.images import load_image

REQUEST = EditRequest("sdflow", "1", {"smiling": 1.0, "young": -0.5}, seed=3)


def pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 20, 3), dtype=np.uint8)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_every_format_is_marked_and_brings_its_request_back(form: export.Format) -> None:
    data = image_bytes(pixels(), Provenance(REQUEST, "starter", ("abc", "def")), form)
    assert read_request(data) == REQUEST
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        text = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
        assert not image.getexif()
    packet = text.decode() if isinstance(text, bytes) else str(text)
    assert f'Iptc4xmpExt:DigitalSourceType="{export.SOURCE_TYPE}"' in packet
    assert export.SOURCE_TYPE == "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
    provenance = export.read_provenance(data)
    assert provenance is not None
    assert (provenance["family"], provenance["weights"], provenance["program"]) == (
        "starter",
        ["abc", "def"],
        export.PROGRAM,
    )


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_reuploaded_export_restores_its_request(form: export.Format) -> None:
    photo = load_image(image_bytes(pixels(), Provenance(REQUEST, "starter"), form), "again")
    assert photo.request is not None
    assert EditRequest.from_json(photo.request) == REQUEST


def test_png_keeps_every_pixel() -> None:
    with Image.open(io.BytesIO(png_bytes(pixels(), REQUEST))) as image:
        assert np.array_equal(np.asarray(image), pixels())


def test_the_program_is_the_version_of_the_project() -> None:
    text = (Path(__file__).resolve().parents[2] / "pyproject.toml").read_text()
    version = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert version is not None
    assert f"facet {version.group(1)}" == export.PROGRAM


@given(st.dictionaries(st.text(max_size=12), st.floats(-1, 1, width=32), max_size=4), st.integers(0, 2**31))
def test_any_request_survives(values: dict[str, float], seed: int) -> None:
    request = EditRequest("sdflow", "1", values, seed)
    assert read_request(png_bytes(pixels()[:2, :2], request)) == request


def test_other_files_carry_no_request() -> None:
    plain = io.BytesIO()
    Image.fromarray(pixels()).save(plain, "PNG")
    assert read_request(plain.getvalue()) is None
    assert read_request(b"no picture") is None
    assert read_request(png_bytes(pixels())) is None
    assert read_request(png_bytes(pixels(), REQUEST)[:60]) is None


def test_a_foreign_request_text_is_not_a_request() -> None:
    from PIL import PngImagePlugin

    for text in ("[1]", "{", '{"editor": 1}', '{"editor": "x", "version": "1", "values": {"a": "b"}}'):
        info, plain = PngImagePlugin.PngInfo(), io.BytesIO()
        info.add_itxt(export.REQUEST_KEY, text)
        Image.fromarray(pixels()).save(plain, "PNG", pnginfo=info)
        assert read_request(plain.getvalue()) is None


def test_an_unknown_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"\.png"):
        save_image(tmp_path / "face.tga", pixels(), Provenance(None, "starter"))


def test_a_full_disk_leaves_the_old_file_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "face.png"
    save_image(path, pixels(), Provenance(None, "starter"))
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(export.os, "replace", full)
    with pytest.raises(CannotWrite, match="No space left"):
        save_image(path, pixels(1), Provenance(None, "starter"))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["face.png"]


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CannotWrite, match="could not be written"):
        save_image(tmp_path / "file" / "face.png", pixels(), Provenance(None, "starter"))


def test_a_code_comes_back_for_its_own_generator_only(tmp_path: Path) -> None:
    latent = Latent(torch.randn(8, 512), "gen-a", "enc-a")
    export.save_code(tmp_path / "code.safetensors", latent, REQUEST)
    back = load_code(tmp_path / "code.safetensors", "gen-a")
    assert torch.equal(back.code, latent.code)
    assert (back.generator, back.projector, back.space) == ("gen-a", "enc-a", "w+")
    with pytest.raises(WrongSpace, match=r"gen-a.*gen-b"):
        load_code(code_bytes(latent), "gen-b", "my code")


def test_broken_codes_are_refused(tmp_path: Path) -> None:
    good = code_bytes(Latent(torch.randn(8, 512), "gen"))
    nan = code_bytes(Latent(torch.full((8, 512), float("nan")), "gen"))
    for data in (b"", b"abc", good[:100], good[:-5], b"\xff" * 64, nan):
        with pytest.raises(BadCheckpoint):
            load_code(data, "gen")
    with pytest.raises(MissingWeights, match="cannot be read"):
        load_code(tmp_path / "none.safetensors", "gen")
