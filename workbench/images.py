"""Reading the pictures people really have: whatever comes in, an upright RGB ``Photo`` or one sentence goes out."""

from __future__ import annotations

import io
import re
import warnings
from html import unescape
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from workbench.errors import BadImage
from workbench.face import Photo
from workbench.marks import gif_packet

REQUEST_KEY = "facet:request"
MOST_PIXELS = 200_000_000  # refused above: 600 MB of RGB
KEPT_PIXELS = 50_000_000  # reduced above, so that a phone's largest photo stays as it is
LEAST_SIDE = 8


def load_image(
    data: bytes | Path | str, name: str | None = None, *, most: int = MOST_PIXELS, kept: int = KEPT_PIXELS
) -> Photo:
    """Read a picture file, from its bytes or its path, as an upright RGB photo.

    EXIF rotation is carried out, transparency laid on white, grey, 16-bit, palette and CMYK converted, the first frame
    of an animation taken; ``Photo.notes`` says so. More than ``kept`` pixels are reduced. ``Photo.request`` is the edit
    request a former export carries. Raises BadImage for anything that is not a whole picture, or above ``most`` pixels.
    """
    if isinstance(data, bytes):
        name = name or "photo"
    else:
        path = Path(data)
        name = name or path.name
        data = read_file(path)
    if not data:
        raise BadImage(f"'{name}' is empty; choose a picture file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError as error:
        raise BadImage(f"'{name}' is not a picture that can be read{guess(data)}; use JPEG, PNG or WebP.") from error
    except Image.DecompressionBombError as error:
        raise BadImage(f"'{name}' has far too many pixels; reduce it below {most // 1_000_000} megapixels.") from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError) as error:
        raise BadImage(f"'{name}' is damaged ({error}); export or download it again.") from error
    width, height = image.size
    if width * height > most:
        raise BadImage(
            f"'{name}' has {width * height / 1e6:.0f} megapixels ({width} x {height}); "
            f"reduce it below {most / 1e6:.0f} megapixels."
        )
    if min(width, height) < LEAST_SIDE:
        raise BadImage(f"'{name}' is only {width} x {height} pixels; use a photo in which a face can be seen.")
    notes: list[str] = []
    request = embedded_request(image, gif_packet(data) if image.format == "GIF" else None)
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # MPO: a phone's JPEG with a preview behind it
        notes.append(f"Only the first of {getattr(image, 'n_frames', 1)} frames is used.")
    try:
        # A JPEG can be decoded at half size or less, which spares the memory of the full one.
        if width * height > kept and image.format == "JPEG":
            scale = (kept / (width * height)) ** 0.5
            image.draft(None, (int(width * scale), int(height * scale)))
        image.load()
        rotated = image.getexif().get(0x0112, 1) not in (None, 1)
        if rotated:
            image = ImageOps.exif_transpose(image)
        image = to_rgb(to_srgb(image), notes)
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError, MemoryError) as error:
        raise BadImage(f"'{name}' is cut off or damaged ({error}); export or download it again.") from error
    if image.width * image.height > kept:
        scale = (kept / (image.width * image.height)) ** 0.5
        size = max(int(image.width * scale), 1), max(int(image.height * scale), 1)
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    if width * height > kept:
        notes.append(f"Reduced from {width * height / 1e6:.0f} to {image.width * image.height / 1e6:.0f} megapixels.")
    return Photo(np.array(image), name, tuple(notes), request)


def read_file(path: Path) -> bytes:
    """Bytes of a file. Raises BadImage where there is none to read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadImage(f"There is no file '{path}'; check the path.") from error
    except OSError as error:
        raise BadImage(f"'{path}' cannot be read ({error.strerror or error}); choose a picture file.") from error


def guess(data: bytes) -> str:
    """A half-sentence about what a file is, if its first bytes tell."""
    head = data[:512].lstrip().lower()
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"):
        return " (it is a HEIC photo, set the phone to 'most compatible' or convert it)"
    if head.startswith(b"%pdf"):
        return " (it is a PDF)"
    if head.startswith((b"<!doctype html", b"<html")):
        return " (it is a web page)"
    if head.startswith((b"<svg", b"<?xml")):
        return " (it is a vector drawing or XML)"
    if data[4:8] == b"ftyp":
        return " (it is a film or a photo format without a reader here)"
    if data[:2] == b"PK":
        return " (it is a zip archive)"
    return ""


def to_srgb(image: Image.Image) -> Image.Image:
    """Colours of another colour space (a phone's Display P3, print CMYK) in sRGB, when the file says which it is."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # a broken profile is no reason to refuse the picture
    return converted or image


def to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """``image`` of any mode as 8-bit RGB; appends to ``notes`` what had to be decided."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        values = np.asarray(image, dtype=np.float64)
        values = values[np.isfinite(values)].reshape(-1) if not np.isfinite(values).all() else values
        if values.ndim != 2:
            raise ValueError("it holds numbers that are no brightness")
        top = 65535.0 if image.mode != "F" and values.max(initial=0) > 255 else 255.0
        if image.mode == "F" and values.min(initial=0) >= 0 and values.max(initial=0) <= 1:
            top = 1.0
        eight = np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8)
        notes.append("A picture of more than 8 bits was reduced to 8 bits.")
        return Image.fromarray(eight).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        if layered.getchannel("A").getextrema()[0] == 255:
            return layered.convert("RGB")
        notes.append("Transparent parts were laid on white.")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB")


def embedded_request(image: Image.Image, packet: bytes | None = None) -> str | None:
    """The edit request (JSON text) that an export of ours carries, in a PNG text entry or in XMP, or None.

    ``packet`` is XMP that was found where the picture's reader does not look.
    """
    text = image.info.get(REQUEST_KEY)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    if isinstance(text, str) and text:
        return text
    found = packet or image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
    if not isinstance(text, str):
        return None
    for pattern in (
        rf"<{REQUEST_KEY}[^>]*>(.*?)</{REQUEST_KEY}>",
        rf'{REQUEST_KEY}\s*=\s*"([^"]*)"',
        rf"{REQUEST_KEY}\s*=\s*'([^']*)'",
    ):
        match = re.search(pattern, text, re.DOTALL)
        if match:
            return unescape(match.group(1)).strip() or None
    return None
