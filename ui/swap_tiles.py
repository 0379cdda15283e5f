"""Rows of pictures of one size with a word under each, and the choice between the face and the whole photo."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from ui.pictures import data_uri

SIDE, STRIP = 512, 12


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture (H,W,3) uint8, what it is, and whether it is a result (outlined)."""

    pixels: np.ndarray
    label: str
    result: bool = False


def tiles(shown: Sequence[Tile], *, largest: int = 230, strip: bool = False) -> None:
    """The pictures side by side, each at most ``largest`` CSS pixels wide; a ``strip`` of many goes on in a new line."""
    cells = "".join(
        f'<figure class="facet-cell{" on" if tile.result else ""}"><img alt="{html.escape(tile.label)}" '
        f'src="{data_uri(tile.pixels, SIDE)}"><figcaption>{html.escape(tile.label)}</figcaption></figure>'
        for tile in shown
    )
    kind = "facet-tiles strip" if strip else "facet-tiles many" if len(shown) > 3 else "facet-tiles"
    columns = min(len(shown), STRIP) if strip else len(shown)
    st.html(f'<div class="{kind}" style="--n:{columns};--most:{largest}px">{cells}</div>')


def whole_photo(key: str) -> bool:
    """Whether the visitor wants the result in its whole photo; ``key`` keeps the choice."""
    views = ("Face", "Whole photo")
    shown = st.segmented_control(
        "View",
        views,
        default=views[0],
        required=True,
        key=key,
        persist_state="session",
        label_visibility="collapsed",
    )
    return shown == views[1]
