"""The compare slider: two pictures of one size, a handle between them, moved by mouse, touch or arrow keys.

Everything runs in the browser: moving the handle costs no rerun, and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import numpy as np
from streamlit.components.v2 import component

from ui.pictures import data_uri
from ui.style import asset

_mount = component("facet_compare", html=asset("compare.html"), css=asset("compare.css"), js=asset("compare.js"))


def compare(
    before: np.ndarray,
    after: np.ndarray,
    *,
    labels: tuple[str, str] = ("Before", "After"),
    width: int = 512,
    start: float = 0.5,
    pixels: bool = False,
    key: str = "compare",
) -> None:
    """Draw ``before`` and ``after`` (H,W,3) uint8 RGB of one size, ``width`` CSS pixels wide, with a movable seam.

    ``start`` is where the seam is at first, from 0 to 1 of the width; ``pixels`` shows square pixels instead of a smooth
    enlargement. The handle stays where the user left it when the pictures change, unless ``start`` does.
    """
    height, wide = after.shape[:2]
    _mount(
        key=key,
        data={
            "before": data_uri(before, width * 2),
            "after": data_uri(after, width * 2),
            "before_label": labels[0],
            "after_label": labels[1],
            "width": width,
            "start": round(100 * start, 1),
            "ratio": f"{wide} / {height}",
            "pixels": pixels,
        },
    )
