"""What is read off every picture of a swap's evaluation: who it shows, where the points are, how the head stands, its regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from encoders.detector import FaceDetector
from encoders.landmarks import LandmarkNet
from encoders.mobilefacenet import LandmarkMobileFaceNet
from evaluation.features import Features
from evaluation.pose import Pose, head_pose
from idswap.guides import FIRST_INNER_POINT, InnerPoints
from workbench.align import LEAST_FACE, SECOND_LOOK, StarterBackend, five_of
from workbench.devices import lock
from workbench.engine import Engine
from workbench.errors import MissingWeights
from workbench.face import to_uint8
from workbench.judges import MEAN_POINTS, Judge

Points = Callable[[Tensor], "np.ndarray | None"]
"""68 points (68,2), parts of the side, of an aligned picture (3,S,S) in [-1, 1]; None when there is no face in it."""
Regions = Callable[[Tensor], np.ndarray]
"""Class map (S,S) uint8, numbers of ``encoders.parser.FACE_CLASSES``, of such a picture."""


@dataclass(frozen=True, eq=False)
class Readers:
    """The networks of one evaluation; None where the family lacks one, and what needs it is then not measured."""

    judge: Judge
    own: Judge
    features: Features | None
    points: tuple[str, Points] | None
    regions: tuple[str, Regions] | None


@dataclass(frozen=True, eq=False)
class Reading:
    """Of one picture: unit vectors of the judge and of the family's recogniser, points (68,2) or None, pose, class map.

    ``found`` is False when a landmark network looked and saw no face; the recognisers then took the mean points.
    """

    judged: Tensor
    own: Tensor
    points: np.ndarray | None
    pose: Pose | None
    regions: np.ndarray | None
    found: bool

    @property
    def five(self) -> np.ndarray | None:
        """Eyes, nose and mouth corners (5,2)."""
        return None if self.points is None else five_of(self.points)

    @property
    def inner(self) -> np.ndarray:
        """The 51 points (51,2) without the jaw."""
        assert self.points is not None  # asked for only where found
        return self.points[FIRST_INNER_POINT:]


def read(readers: Readers, image: Tensor, device: torch.device) -> Reading:
    """Look at ``image`` (3,S,S) in [-1, 1], an aligned face."""
    points = None if readers.points is None else readers.points[1](image)
    five = None if points is None else five_of(points)
    return Reading(
        readers.judge.embed(image, device, five),
        readers.own.embed(image, device),
        points,
        None if points is None else head_pose(points),
        None if readers.regions is None else readers.regions[1](image),
        readers.points is None or points is not None,
    )


def readers_of(engine: Engine, judge: Judge) -> Readers:
    """The family's networks around ``judge``."""
    own = engine.store.network("identity")
    return Readers(judge, Judge(own.module, own.id, False), features_of(engine), points_of(engine), regions_of(engine))


def features_of(engine: Engine) -> Features | None:
    """The judge classifier, which no training looks through, as a feature network."""
    try:
        found = engine.store.network("judge")
    except MissingWeights:
        return None
    return Features(f"{engine.family} judge {found.id}", found.module)  # pyright: ignore[reportArgumentType]


def points_of(engine: Engine) -> tuple[str, Points] | None:
    """The family's landmark network on aligned pictures, in two looks of several views each, as on photos."""
    try:
        found, detector = engine.store.network("landmarks"), engine.store.module("detector")
    except MissingWeights:
        return None
    net = found.module
    if isinstance(net, LandmarkMobileFaceNet):
        guide = InnerPoints(net)

        @torch.inference_mode()
        def whole(image: Tensor) -> np.ndarray:
            with lock(engine.device):
                return guide.all(image[None].to(engine.device))[0].double().cpu().numpy()

        return found.id, whole
    if not isinstance(net, LandmarkNet) or not isinstance(detector, FaceDetector):
        return None
    backend = StarterBackend(detector, net, engine.device)

    @torch.inference_mode()
    def looked(image: Tensor) -> np.ndarray | None:
        pixels = to_uint8(image)
        five = MEAN_POINTS[None] * len(pixels)
        with lock(engine.device):
            place, chance = backend.read(pixels, pixels, five)
            place, chance = backend.read(pixels, pixels, place[:, 68:], chance > LEAST_FACE, SECOND_LOOK)
        return place[0, :68] / len(pixels) if chance[0] > LEAST_FACE else None

    return found.id, looked


def regions_of(engine: Engine) -> tuple[str, Regions] | None:
    """The family's parser."""
    try:
        found = engine.store.network("parser")
    except MissingWeights:
        return None

    @torch.inference_mode()
    def parsed(image: Tensor) -> np.ndarray:
        with lock(engine.device):
            logits = found.module(image[None].to(engine.device))
        sized = torch.nn.functional.interpolate(logits, image.shape[1:], mode="bilinear", align_corners=False)
        return sized[0].argmax(0).to(torch.uint8).cpu().numpy()

    return found.id, parsed
