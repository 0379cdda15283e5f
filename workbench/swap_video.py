"""One identity over a whole clip: attributes from every frame, a steady square, fixed noise, one frame in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.landmarks import LandmarkNet
from encoders.mobilefacenet import LandmarkMobileFaceNet
from idswap.guides import InnerPoints
from idswap.swap import Codes, Strengths
from workbench.crop import crop, ffhq_quad, quad_side
from workbench.devices import lock
from workbench.engine import Engine
from workbench.errors import MissingWeights, NoFace
from workbench.face import AlignedFace, Photo, to_tensor, to_uint8
from workbench.steady import Coherence, Jitter, Smoothing, SteadyQuad, followed
from workbench.swapping import Swapping, checked, request_of

FORGET_EVERY = 8
"""Frames after which what the engine keeps of photos is dropped; none of it is asked for again."""


@dataclass
class Counts:
    """Frames so far, and those in which no face was found."""

    frames: int = 0
    without_face: int = 0


class VideoSwap:
    """Puts the identity ``who``, whose face is ``target`` (3,H,W), on the frames of a clip of ``rate`` frames a second."""

    def __init__(
        self,
        engine: Engine,
        swapping: Swapping,
        method: str,
        who: Codes,
        target: Tensor,
        rate: float,
        *,
        strengths: Strengths | None = None,
        smoothing: Smoothing | None = None,
        aligned: bool = False,
        crop: bool = False,
    ) -> None:
        self.engine, self.swapping, self.method, self.who = engine, swapping, method, who
        self.strengths, self.aligned, self.crop = checked(strengths), aligned, crop
        self.counts = Counts()
        self.coherence = Coherence(engine.embedding(target))
        self.jitter, self.jitter_input = Jitter(), Jitter()
        self._steady = SteadyQuad(rate, smoothing or Smoothing())
        self._last: np.ndarray | None = None
        # Of the first frame with a face, once and for all: read from every frame, the own identity would flicker into the swap.
        self._held: Codes | None = None
        self._points = self._landmarks()

    def frames(self, clip: Iterator[np.ndarray], tick: Callable[[int], None]) -> Iterator[np.ndarray]:
        """The swapped frames (H,W,3) uint8 RGB; a frame without the face goes through as it is. ``tick`` gets the count."""
        for pixels in clip:
            self.counts.frames += 1
            face = self._face(Photo(pixels, f"frame {self.counts.frames}"))
            if face is None:
                self.counts.without_face += 1
                self._lost()
                yield self._empty() if self.crop else pixels
            else:
                yield self._swapped(face)
            if self.counts.frames % FORGET_EVERY == 0:
                self.engine.forget()
            tick(self.counts.frames)

    def report(self) -> dict[str, Any]:
        """Frames, identity coherence by the family's recogniser, landmark jitter of the result and of the clip."""
        return {
            "frames": self.counts.frames,
            "frames_without_face": self.counts.without_face,
            "identity_coherence": self.coherence.told(),
            "landmark_jitter": self.jitter.told(),
            "landmark_jitter_input": self.jitter_input.told(),
        }

    def _swapped(self, face: AlignedFace) -> np.ndarray:
        if self._held is None:
            own = self.swapping.codes(self.method, face)
            identity = self.swapping.identity_between(self.method, own, self.who, self.strengths.identity)
            self._held = Codes(identity, self.who.attributes)
        request, strength = request_of(self.method, self.strengths), self.strengths.attributes
        result = self.swapping.replaced(self.method, self._held, face, request, strength)
        shown = to_uint8(result.image)
        picture = to_tensor(shown)
        self.coherence.add(self.engine.embedding(picture))
        if self._points is not None:
            side, matrix = quad_side(face.transform.quad), face.transform.matrix()
            for gauge, image in ((self.jitter, picture), (self.jitter_input, to_tensor(face.image))):
                gauge.add(self._placed(self._points, image, face.transform.size, matrix), side)
        return shown if self.crop else self.swapping.pasted(face, result.image)

    def _face(self, photo: Photo) -> AlignedFace | None:
        if self.aligned:
            return self.engine.use_aligned(photo)
        try:
            found = self.engine.detect(photo)
        except NoFace:
            return None
        chosen = followed(found, self._last)
        if chosen is None:
            return None
        quad = ffhq_quad(chosen.points5 if chosen.points68 is None else chosen.points68)
        self._last = self._steady(quad)
        return crop(photo, self._last, self.engine.size, detection=chosen)

    def _lost(self) -> None:
        # The next face may be anywhere, and none of the numbers bridges the gap.
        self._last = None
        self._steady.reset()
        self.jitter.reset()
        self.jitter_input.reset()

    def _empty(self) -> np.ndarray:
        return np.zeros((self.engine.size, self.engine.size, 3), np.uint8)

    def _landmarks(self) -> InnerPoints | None:
        try:
            net = self.engine.store.module("landmarks")
        except MissingWeights:
            return None
        return InnerPoints(net) if isinstance(net, LandmarkNet | LandmarkMobileFaceNet) else None

    @torch.inference_mode()
    def _placed(self, points: InnerPoints, image: Tensor, size: int, matrix: np.ndarray) -> np.ndarray:
        """51 points (51,2) of an aligned picture in pixels of the frame."""
        with lock(self.engine.device):
            found = points(image[None].to(self.engine.device))[0].double().cpu().numpy()
        return (found * size) @ matrix[:, :2].T + matrix[:, 2]
