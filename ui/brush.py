"""A mask of one's own: painted over the face with streamlit-drawable-canvas, or brought as a grey picture."""

from __future__ import annotations

import cv2
import numpy as np
import streamlit as st
from PIL import Image

from workbench.errors import BadImage, BadRequest
from workbench.images import load_image

SIDE = 288
COLOUR = "rgba(53,183,166,0.55)"


def available() -> bool:
    """Whether the brush's package is installed; without it masks are brought as files."""
    try:
        import streamlit_drawable_canvas  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        return False
    return True


def paint(face: np.ndarray, *, key: str) -> np.ndarray | None:
    """Show ``face`` (S,S,3) uint8 to paint on; the painted part as (S,S) uint8, None before anything was painted."""
    from streamlit_drawable_canvas import st_canvas

    width = st.slider("Brush", 6, 80, 26, 2, key=f"{key}/width", format="%d px", persist_state="session")
    backdrop = Image.fromarray(face).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    drawn = st_canvas(
        background_image=backdrop,
        drawing_mode="freedraw",
        stroke_width=int(width),
        stroke_color=COLOUR,
        height=SIDE,
        width=SIDE,
        return_image_data=True,
        key=key,
    )
    return None if drawn.image_data is None else painted(np.asarray(drawn.image_data), face.shape[0])


def painted(canvas: np.ndarray, size: int) -> np.ndarray | None:
    """The mask (size,size) uint8 of a canvas (H,W,4) uint8: whatever has any paint on it; None when nothing has."""
    if canvas.ndim != 3 or canvas.shape[2] != 4 or not canvas[..., 3].any():
        return None
    solid = np.where(canvas[..., 3] > 0, 255, 0).astype(np.uint8)
    return cv2.resize(solid, (size, size), interpolation=cv2.INTER_AREA)


def from_file(data: bytes, name: str, size: int) -> np.ndarray:
    """A picture's brightness as a mask (size,size) uint8. Raises BadImage, and BadRequest when nothing in it is bright."""
    photo = load_image(data, name)
    height, width = photo.pixels.shape[:2]
    if abs(height - width) > 0.02 * max(height, width):
        raise BadImage(f"The mask '{name}' is {width} × {height} pixels and the face is square; give a square picture.")
    grey = np.asarray(Image.fromarray(photo.pixels).convert("L"))
    mask = cv2.resize(grey, (size, size), interpolation=cv2.INTER_AREA)
    if mask.max() < 8:
        raise BadRequest(f"The mask '{name}' is black all over, so nothing may change; make the part to edit white.")
    return mask
