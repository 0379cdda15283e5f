"""Sheets of small pictures, grown tile by tile: a table of swaps with its sources, or a strip of frames."""

from __future__ import annotations

import cv2
import numpy as np

LONGEST = 8192
TILE = 256
LEAST_TILE = 8


class ContactSheet:
    """``rows`` x ``columns`` square tiles of at most ``tile`` pixels on white; the whole stays below 8192 pixels a side."""

    def __init__(self, rows: int, columns: int, tile: int = TILE) -> None:
        self.tile = max(min(tile, TILE, LONGEST // max(rows, columns, 1)), LEAST_TILE)
        self.pixels = np.full((rows * self.tile, columns * self.tile, 3), 255, np.uint8)

    def put(self, row: int, column: int, picture: np.ndarray) -> None:
        """Set a tile to ``picture`` (S,S,3) uint8, of any size."""
        if picture.shape[:2] != (self.tile, self.tile):
            method = cv2.INTER_AREA if picture.shape[0] > self.tile else cv2.INTER_LINEAR
            picture = cv2.resize(picture, (self.tile, self.tile), interpolation=method)
        y, x = row * self.tile, column * self.tile
        self.pixels[y : y + self.tile, x : x + self.tile] = picture
