"""Pictures on their way to the browser: data URIs, previews of large photos, thumbnails."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image


def fit(image: np.ndarray, side: int) -> np.ndarray:
    """``image`` (H,W,3) uint8, shrunk so that its longer side is at most ``side`` pixels; never enlarged."""
    height, width = image.shape[:2]
    if max(height, width) <= side:
        return image
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def encode(image: np.ndarray) -> tuple[bytes, str]:
    """Bytes and MIME type: PNG for small pictures, where pixels are judged, else JPEG of high quality."""
    buffer = io.BytesIO()
    if image.shape[0] * image.shape[1] <= 640 * 640:
        Image.fromarray(image).save(buffer, "PNG", compress_level=3)
        return buffer.getvalue(), "image/png"
    Image.fromarray(image).save(buffer, "JPEG", quality=93, subsampling=0)
    return buffer.getvalue(), "image/jpeg"


def data_uri(image: np.ndarray, side: int = 1024) -> str:
    """``image`` (H,W,3) uint8 as a data URI, shrunk to at most ``side`` pixels."""
    payload, mime = encode(fit(image, side))
    return f"data:{mime};base64,{base64.b64encode(payload).decode()}"
