"""Sheets of small pictures, grown tile by tile: a table of swaps with its sources, or a strip of frames."""

from __future__ import annotations

from collections.abc import Collection

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

    def without(self, rows: Collection[int], columns: Collection[int]) -> np.ndarray:
        """The sheet (H,W,3) without some of its rows and columns: those of pictures that could not be used."""
        height, width = (side // self.tile for side in self.pixels.shape[:2])
        tiles = self.pixels.reshape(height, self.tile, width, self.tile, 3)
        kept = [[at for at in range(count) if at not in out] for count, out in ((height, rows), (width, columns))]
        chosen = tiles[kept[0]][:, :, kept[1]]
        return np.ascontiguousarray(chosen).reshape(len(kept[0]) * self.tile, len(kept[1]) * self.tile, 3)
