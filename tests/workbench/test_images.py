"""Every kind of file people upload becomes an upright RGB photo or one sentence."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from workbench.errors import BadImage
from workbench.images import load_image


def picture(width: int = 48, height: int = 32) -> Image.Image:
    """Red top left, green top right, blue bottom left, white bottom right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    h, w = height // 2, width // 2
    pixels[:h, :w], pixels[:h, w:], pixels[h:, :w], pixels[h:, w:] = (
        (220, 20, 20),
        (20, 220, 20),
        (20, 20, 220),
        (250, 250, 250),
    )
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)  # type: ignore[arg-type]
    return stream.getvalue()


def close(photo_pixels: np.ndarray, wanted: Image.Image, within: int = 12) -> bool:
    inner = np.asarray(wanted.convert("RGB")).astype(int)
    return (
        photo_pixels.shape == inner.shape
        and np.abs(photo_pixels[3:13, 3:13].astype(int) - inner[3:13, 3:13]).max() <= within
    )


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("BMP", {}), ("TIFF", {}), ("GIF", {})],
)
def test_common_files(kind: str, options: dict[str, object]) -> None:
    photo = load_image(encoded(picture(), kind, **options), f"a.{kind.lower()}")
    assert close(photo.pixels, picture())
    assert photo.pixels.dtype == np.uint8
    assert photo.size == (48, 32)
    assert photo.notes == ()
    assert photo.request is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_carried_out(orientation: int) -> None:
    stored = picture()
    undo = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180], 4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }  # fmt: skip
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo = load_image(encoded(stored, "JPEG", quality=95, exif=exif))
    assert photo.size == (48, 32)
    assert close(photo.pixels, picture(), 25)


def test_transparency_lies_on_white() -> None:
    image = picture().convert("RGBA")
    image.putalpha(Image.fromarray(np.pad(np.zeros((32, 24), np.uint8), ((0, 0), (0, 24)), constant_values=255)))
    photo = load_image(encoded(image))
    assert photo.pixels[5, 5].tolist() == [255, 255, 255]
    assert photo.pixels[5, 40].tolist() == [20, 220, 20]
    assert "white" in photo.notes[0]
    opaque = load_image(encoded(picture().convert("RGBA")))
    assert opaque.notes == ()


def test_grey_palette_and_bits() -> None:
    for mode in ("L", "1", "P", "LA"):
        image = picture().convert(mode)
        photo = load_image(encoded(image))
        assert photo.pixels.shape == (32, 48, 3)
        assert close(photo.pixels, image)


def test_palette_with_transparency() -> None:
    image = picture().convert("P", palette=Image.Palette.ADAPTIVE)
    index = image.getpixel((2, 2))
    photo = load_image(encoded(image, transparency=index))
    assert photo.pixels[2, 2].tolist() == [255, 255, 255]


def test_sixteen_bits_keep_their_brightness() -> None:
    ramp = np.tile(np.linspace(0, 65535, 48).astype(np.uint16), (32, 1))
    photo = load_image(encoded(Image.fromarray(ramp)))
    np.testing.assert_allclose(photo.pixels[0, :, 0], np.linspace(0, 255, 48), atol=1)
    assert (photo.pixels[..., 0] == photo.pixels[..., 2]).all()


def test_float_tiff() -> None:
    ramp = np.tile(np.linspace(0, 1, 48, dtype=np.float32), (32, 1))
    photo = load_image(encoded(Image.fromarray(ramp), "TIFF"))
    np.testing.assert_allclose(photo.pixels[0, :, 1], np.linspace(0, 255, 48), atol=1)


def test_cmyk() -> None:
    photo = load_image(encoded(picture().convert("CMYK"), "JPEG", quality=95))
    assert close(photo.pixels, picture(), 30)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_frame_of_an_animation(kind: str) -> None:
    second = Image.new("RGB", (48, 32), (0, 0, 0))
    photo = load_image(encoded(picture(), kind, save_all=True, append_images=[second, picture()]))
    assert close(photo.pixels, picture(), 25)
    assert "first of 3 frames" in photo.notes[0]


def test_colour_profiles_are_read_and_broken_ones_ignored() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    photo = load_image(encoded(picture(), icc_profile=lab.tobytes()))
    assert close(photo.pixels, picture(), 2)
    broken = load_image(encoded(picture(), icc_profile=b"no profile at all"))
    assert close(broken.pixels, picture(), 2)


def test_large_ones_are_reduced_and_huge_ones_refused() -> None:
    data = encoded(picture(400, 300), "JPEG")
    photo = load_image(data, kept=30_000)
    assert photo.pixels.shape[0] * photo.pixels.shape[1] <= 30_000
    assert photo.size[0] / photo.size[1] == pytest.approx(4 / 3, rel=0.02)
    assert "Reduced" in photo.notes[0]
    with pytest.raises(BadImage, match=r"big\.jpg.*megapixels"):
        load_image(data, "big.jpg", most=100_000)


def test_a_bomb_is_refused_without_unpacking() -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    empty = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + empty
    with pytest.raises(BadImage, match="megapixels"):
        load_image(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello, this is a text and no picture", "not a picture"),
        (b"%PDF-1.7 something", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"PK\x03\x04" + b"\0" * 40, "zip"),
        (b"\x89PNG\r\n\x1a\n", "picture|damaged"),
    ],
)
def test_not_an_image(data: bytes, words: str) -> None:
    with pytest.raises(BadImage, match=words) as caught:
        load_image(data, "file.jpg")
    assert "'file.jpg'" in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.5, 0.9])
def test_truncated(kind: str, part: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8))
    data = encoded(noise, kind)
    with pytest.raises(BadImage, match=r"cut off|damaged|not a picture"):
        load_image(data[: int(len(data) * part)], "half")


def test_tiny() -> None:
    with pytest.raises(BadImage, match="4 x 3"):
        load_image(encoded(Image.new("RGB", (4, 3))))


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "me.png"
    path.write_bytes(encoded(picture()))
    assert load_image(path).name == "me.png"
    assert load_image(str(path), "other").name == "other"
    with pytest.raises(BadImage, match="no file"):
        load_image(tmp_path / "none.png")
    with pytest.raises(BadImage, match="cannot be read"):
        load_image(tmp_path)


def test_request_in_a_png_entry() -> None:
    text = '{"editor": "sdflow", "values": {"Smiling": 0.5}}'
    info = PngImagePlugin.PngInfo()
    info.add_itxt("facet:request", text)
    assert load_image(encoded(picture(), pnginfo=info)).request == text


def test_request_in_xmp() -> None:
    text = '{"values": {"Young": -1.0}}'
    escaped = text.replace('"', "&quot;")
    for body in (f'<rdf:Description facet:request="{escaped}"/>', f"<facet:request>{escaped}</facet:request>"):
        packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{body}</x:xmpmeta>'
        assert load_image(encoded(picture(), "JPEG", xmp=packet.encode())).request == text
