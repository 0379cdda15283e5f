"""How long finding the faces of a 12-megapixel photo takes, next to decoding it, in one run."""

from __future__ import annotations

import io
import statistics
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from evaluation.alignment import STARTER, starter_backend
from workbench.align import align
from workbench.errors import NoFace
from workbench.images import load_image

WIDTH, HEIGHT = 4000, 3000


def drawn_face(size: int) -> np.ndarray:
    """A simple drawing of a face (size,size,3) uint8: oval, hair, eyes, brows, nose, mouth, softly lit."""
    s = size * 2
    image = np.full((s, s, 3), (120, 135, 150), np.uint8)

    def oval(
        centre: tuple[float, float], axes: tuple[float, float], colour: tuple[int, int, int], turn: float = 0.0
    ) -> None:
        middle, half = ((int(a * s), int(b * s)) for a, b in (centre, axes))
        cv2.ellipse(image, middle, half, turn, 0, 360, colour, -1, cv2.LINE_AA)

    oval((0.5, 0.47), (0.29, 0.4), (60, 42, 32))
    oval((0.5, 0.95), (0.36, 0.22), (70, 80, 120))
    oval((0.5, 0.82), (0.11, 0.16), (190, 145, 120))
    oval((0.5, 0.52), (0.235, 0.32), (218, 172, 146))
    for side in (-1, 1):
        x = 0.5 + side * 0.1
        oval((x, 0.405), (0.06, 0.012), (70, 48, 38), side * 6)
        oval((x, 0.455), (0.052, 0.028), (180, 132, 112))
        oval((x, 0.46), (0.042, 0.018), (245, 240, 235))
        oval((x, 0.46), (0.017, 0.018), (60, 45, 35))
        oval((x + 0.005, 0.455), (0.004, 0.004), (250, 250, 250))
        oval((0.5 + side * 0.026, 0.615), (0.016, 0.009), (140, 92, 78))
    oval((0.5, 0.55), (0.018, 0.075), (230, 188, 164))
    oval((0.5, 0.605), (0.034, 0.022), (226, 180, 154))
    oval((0.5, 0.705), (0.085, 0.026), (172, 88, 84))
    oval((0.5, 0.703), (0.07, 0.006), (110, 45, 45))
    light = np.linspace(1.08, 0.85, s, dtype=np.float32)[None, :, None]
    lit = np.clip(cv2.GaussianBlur(image, (0, 0), s / 120).astype(np.float32) * light, 0, 255).astype(np.uint8)
    return cv2.resize(lit, (size, size), interpolation=cv2.INTER_AREA)


def large_photo(face: np.ndarray | None = None) -> bytes:
    """A JPEG of 12 megapixels: a soft, noisy scene with ``face`` (S,S,3) uint8, or a drawn one, in it."""
    rng = np.random.default_rng(0)
    small = rng.normal(0, 1, (38, 50, 3)).astype(np.float32)
    image = 130 + 35 * cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    grain = rng.normal(0, 6, (750, 1000, 1)).astype(np.float32)
    image += np.tile(cv2.resize(grain, (WIDTH // 2, HEIGHT // 2))[..., None], (2, 2, 1))
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    side = 1200
    pixels[900 : 900 + side, 1400 : 1400 + side] = cv2.resize(drawn_face(side) if face is None else face, (side, side))
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def run(
    repeats: int = 7, *, folder: Path = STARTER, device: str = "cpu", face: np.ndarray | None = None
) -> dict[str, Any]:
    """Medians in milliseconds of decoding, loading and finding, alternating; ``ratio`` is finding over decoding."""
    backend, data = starter_backend(folder, device), large_photo(face)
    times: dict[str, list[float]] = {"decode": [], "load": [], "find": []}
    photo = load_image(data)
    found = backend.detect(photo.pixels)
    for _ in range(repeats):
        start = time.perf_counter()
        np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        middle = time.perf_counter()
        backend.detect(photo.pixels)
        late = time.perf_counter()
        load_image(data)
        end = time.perf_counter()
        for name, value in zip(times, (middle - start, end - late, late - middle), strict=True):
            times[name].append(1000 * value)
    result: dict[str, Any] = {f"{name}_ms": round(statistics.median(values), 2) for name, values in times.items()}
    try:
        start = time.perf_counter()
        align(photo, backend, 256)
        result["align_ms"] = round(1000 * (time.perf_counter() - start), 2)
    except NoFace:
        result["align_ms"] = None
    pairs = zip(times["find"], times["decode"], strict=True)
    result |= {"faces": len(found), "megapixels": WIDTH * HEIGHT / 1e6, "repeats": repeats}
    result["ratio"] = round(statistics.median(f / d for f, d in pairs), 3)
    return result
