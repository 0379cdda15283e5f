"""Files that leave the program: pictures marked as AI-edited that carry their request, and codes with provenance.

A picture carries XMP with IPTC's DigitalSourceType and the request as JSON, in the XMP of every format and in an iTXt
chunk of PNG. Only pixels go in, so nothing of the uploaded file (EXIF, GPS) comes out.
"""

from __future__ import annotations

import io
import json
import os
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from data.container import KEY, state_id
from workbench.editor import EditRequest
from workbench.errors import BadCheckpoint, BadRequest, CannotWrite, MissingWeights, WrongSpace
from workbench.face import NO_SPACE, Latent
from workbench.marks import gif_packet

PROGRAM = "facet 0.1.0"
REQUEST_KEY = "facet:request"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
NAMESPACE = "urn:facet:1.0"
Format = Literal["PNG", "JPEG", "WEBP"]
SUFFIXES: Mapping[str, Format] = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True)
class Provenance:
    """What made a picture: the request (None for a picture that was not edited), the family and the weights' ids."""

    request: EditRequest | None
    family: str
    weights: tuple[str, ...] = ()

    def to_json(self) -> str:
        """One line that ``EditRequest.from_json`` reads too; without a request only the provenance."""
        body: dict[str, Any] = json.loads(self.request.to_json()) if self.request else {}
        return json.dumps({**body, "family": self.family, "weights": list(self.weights), "program": PROGRAM})


def xmp_packet(provenance: Provenance) -> bytes:
    """The XMP packet (UTF-8) of a picture with this provenance."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        f' xmlns:facet="{NAMESPACE}"'
        f" Iptc4xmpExt:DigitalSourceType={quoteattr(SOURCE_TYPE)}"
        f" xmp:CreatorTool={quoteattr(PROGRAM)}"
        f" facet:request={quoteattr(provenance.to_json())}/>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def image_bytes(pixels: np.ndarray, provenance: Provenance, form: Format = "PNG") -> bytes:
    """Encode ``pixels`` (H,W,3) uint8 RGB as PNG (lossless), JPEG or WebP (quality 95) with XMP and request."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    packet = xmp_packet(provenance)
    if form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", packet.decode())
        info.add_itxt(REQUEST_KEY, provenance.to_json())
        image.save(buffer, "PNG", pnginfo=info, compress_level=4)
    elif form == "JPEG":
        image.save(buffer, "JPEG", quality=95, subsampling=0, xmp=packet)
    else:
        image.save(buffer, "WEBP", quality=95, method=4, xmp=packet)
    return buffer.getvalue()


def png_bytes(
    pixels: np.ndarray, request: EditRequest | None = None, family: str = "starter", weights: tuple[str, ...] = ()
) -> bytes:
    """``pixels`` (H,W,3) uint8 as a PNG that carries ``request``, the family and the ids of the weights."""
    return image_bytes(pixels, Provenance(request, family, weights))


def read_provenance(data: bytes) -> dict[str, Any] | None:
    """The JSON that an export of ours carries (PNG, JPEG, WebP or GIF bytes); None for any other file."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if isinstance(image, PngImagePlugin.PngImageFile):
                image.load()
                text = image.text.get(REQUEST_KEY)
            else:
                text = request_in(gif_packet(data) if image.format == "GIF" else image.info.get("xmp"))
        body = json.loads(text) if text else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return body if isinstance(body, dict) else None


def request_in(packet: bytes | str | None) -> str | None:
    """The JSON of the request and provenance in an XMP ``packet``; None without one or for one of another program."""
    if not packet:
        return None
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else packet
    start, end = text.find("<x:xmpmeta"), text.find("</x:xmpmeta>")
    if start < 0 or end < 0 or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    try:
        root = ElementTree.fromstring(text[start : end + len("</x:xmpmeta>")])
    except ElementTree.ParseError:
        return None
    return next((value for e in root.iter() if (value := e.get(f"{{{NAMESPACE}}}request"))), None)


def read_request(data: bytes) -> EditRequest | None:
    """The request that an export of ours carries; None when ``data`` is another file or an unedited picture."""
    body = read_provenance(data)
    if body is None or "editor" not in body:
        return None
    try:
        return EditRequest.from_json(json.dumps(body))
    except BadRequest:
        return None


def check_place(path: Path | str) -> None:
    """Whether a file could be made at ``path``, before the work for it begins; leaves nothing. Raises CannotWrite."""
    path = Path(path)
    if path.is_dir():
        raise CannotWrite(f"'{path}' is a folder, and a file is to be written; add a name to it.")
    place = next(folder for folder in path.absolute().parents if folder.exists())
    if not place.is_dir():
        raise CannotWrite(f"'{path}' cannot be written, as '{place}' is a file and no folder; choose another place.")
    try:
        tempfile.TemporaryFile(dir=place).close()  # permissions alone do not tell
    except OSError as error:
        reason = error.strerror or error
        raise CannotWrite(
            f"'{path}' cannot be written, as '{place}' takes no new files ({reason}); choose another place."
        ) from error


def write(path: Path | str, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically. Raises CannotWrite; an older file there is then still whole."""
    path = Path(path)
    if path.is_dir():
        raise CannotWrite(f"'{path}' is a folder, and a file is to be written; add a name to it.")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except OSError as error:
        if temporary and os.path.exists(temporary):
            os.unlink(temporary)
        reason = error.strerror or error
        raise CannotWrite(f"'{path}' could not be written ({reason}); free space or choose another place.") from error


def form_of(path: Path | str) -> Format:
    """The format of the suffix of ``path``. Raises BadRequest."""
    form = SUFFIXES.get(Path(path).suffix.lower())
    if form is None:
        raise BadRequest(f"'{path}' has no suffix that pictures are written in; use {', '.join(SUFFIXES)}.")
    return form


def save_image(path: Path | str, pixels: np.ndarray, provenance: Provenance) -> None:
    """Write ``pixels`` (H,W,3) uint8 to ``path`` in the format of its suffix. Raises BadRequest and CannotWrite."""
    write(path, image_bytes(pixels, provenance, form_of(path)))


def code_bytes(latent: Latent, request: EditRequest | None = None) -> bytes:
    """``latent`` as safetensors bytes whose header says space, generator, projector and (if edited) the request."""
    if latent.space == NO_SPACE:
        raise BadRequest("There is no code to save: this family of weights edits the photo as it is.")
    state = {"code": latent.code.detach().float().cpu().contiguous()}
    header = {
        "kind": "code",
        "id": state_id(state),
        "space": latent.space,
        "generator": latent.generator,
        "projector": latent.projector,
        "program": PROGRAM,
        "request": json.loads(request.to_json()) if request else None,
    }
    return save_tensors(state, metadata={KEY: json.dumps(header, sort_keys=True)})


def save_code(path: Path | str, latent: Latent, request: EditRequest | None = None) -> None:
    """Write ``latent`` to ``path`` as ``code_bytes`` does. Raises CannotWrite."""
    write(path, code_bytes(latent, request))


def load_code(source: Path | str | bytes, generator: str, name: str = "the code") -> Latent:
    """Read a code from a file or bytes for the generator with id ``generator``.

    Raises MissingWeights (no such file), BadCheckpoint (not a code of ours) and WrongSpace (another generator's).
    """
    if not isinstance(source, bytes):
        name = f"'{source}'"
        try:
            source = Path(source).read_bytes()
        except OSError as error:
            raise MissingWeights(f"The code file {name} cannot be read ({error.strerror}).") from error
    try:
        (length,) = struct.unpack("<Q", source[:8])
        if length > len(source) - 8:
            raise ValueError("header longer than the file")
        header = json.loads(json.loads(source[8 : 8 + length])["__metadata__"][KEY])
        code = load_tensors(source)["code"]
        made_by = str(header["generator"])
    except (struct.error, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BadCheckpoint(f"{name} is not a face code of this program ({type(error).__name__}: {error}).") from error
    if made_by != generator:
        raise WrongSpace(
            f"{name} was made by the generator {made_by} and the one in use is {generator}; "
            "switch to its family, or project the photo again."
        )
    if code.ndim != 2 or not torch.isfinite(code).all():
        raise BadCheckpoint(f"{name} holds no usable code (shape {tuple(code.shape)}, or values that are not numbers).")
    return Latent(code.float(), generator, str(header.get("projector", "unknown")), str(header.get("space", "w+")))
