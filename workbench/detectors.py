"""Which face detectors there are, and how each is made. Parallel to ``registry``, which does it for editors."""

from __future__ import annotations

from pathlib import Path

from encoders.detector import FaceDetector
from encoders.landmarks import LandmarkNet
from workbench.align import Backend, FaceAlignmentBackend, StarterBackend
from workbench.errors import BadCheckpoint, BadRequest
from workbench.manifest import open_family
from workbench.weights import Store

DETECTORS = ("starter", "face-alignment")


def check(name: str) -> str:
    """``name`` itself. Raises BadRequest with the names that exist when there is no such detector."""
    if name not in DETECTORS:
        raise BadRequest(f"There is no face detector called '{name}'; there are: {', '.join(DETECTORS)}.")
    return name


def create(name: str, store: Store, family_file: Path | str | None = None) -> Backend:
    """The detector ``name``: the networks of ``store``, or the package with the weights of the family "helpers".

    Raises BadRequest, MissingWeights and BadCheckpoint.
    """
    if check(name) == "face-alignment":
        helpers = open_family("helpers", family_file)
        return FaceAlignmentBackend([helpers.path(kind) for kind in ("s3fd", "fan2d")], str(store.device))
    detector, landmarks = store.module("detector"), store.module("landmarks")
    if not isinstance(detector, FaceDetector) or not isinstance(landmarks, LandmarkNet):
        raise BadCheckpoint(
            f"The detector files of the {store.family.name} family hold other networks; copy them again."
        )
    return StarterBackend(detector, landmarks, store.device)
