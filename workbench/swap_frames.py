"""The frames between two swaps, rendered and ready to be looked through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from workbench.clips import gif_bytes
from workbench.editor import Cancel, EditRequest, Progress, never, quiet
from workbench.errors import Cancelled
from workbench.export import Provenance
from workbench.face import Face, to_uint8
from workbench.swap_path import Moves, Space, along, shown
from workbench.swap_studio import Studio
from workbench.swapping import Strengths, request_of


@dataclass(frozen=True)
class Journey:
    """What moves, in how many frames with both ends, and where codes are mixed: "z" before the mapper, "w" after it."""

    method: str
    moves: Moves
    frames: int = 9
    space: Space = "z"

    @property
    def request(self) -> EditRequest:
        """What the frames carry."""
        return request_of(self.method, Strengths(), what="interpolate")


@dataclass(frozen=True, eq=False)
class Frames:
    """``faces`` (S,S,3) uint8, the squares alone; ``photos`` (H,W,3) uint8, in the one attribute photo where there is one."""

    faces: tuple[np.ndarray, ...]
    photos: tuple[np.ndarray, ...]


def render(
    studio: Studio,
    journey: Journey,
    kept: Face,
    start: Face,
    end: Face,
    *,
    whole: bool = False,
    progress: Progress = quiet,
    cancel: Cancel = never,
) -> Frames:
    """All frames from ``start`` to ``end`` with ``kept`` held; ``whole`` also puts them into the kept attribute photo.

    Raises BadRequest for a number of frames out of range, and Cancelled within one frame.
    """
    held, first, last = studio.codes(journey.method, (kept, start, end))
    way = along(studio.swapping, journey.method, journey.moves, held, first, last, journey.frames, journey.space)
    faces, photos = [], []
    for at, code in enumerate(way):
        if cancel():
            raise Cancelled("The frames were cancelled.")
        picture = studio.swapping.render(journey.method, code)
        faces.append(to_uint8(picture))
        if whole and journey.moves == "identity":
            photos.append(shown(studio.swapping, picture, journey.moves, kept.aligned, False))
        progress((at + 1) / len(way), f"frame {at + 1} of {len(way)}")
    return Frames(tuple(faces), tuple(photos))


def gif(frames: Sequence[np.ndarray], seconds: float, provenance: Provenance, largest: int = 1024) -> bytes:
    """``frames`` (H,W,3) uint8 as an endless GIF with ``seconds`` each, its longer side at most ``largest`` pixels."""
    height, width = frames[0].shape[:2]
    scale = min(1.0, largest / max(height, width))
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        frames = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in frames]
    return gif_bytes(frames, seconds, provenance)
