"""The engine: photo in, edited photo out. The app, the command line and the notebook all call this one class.

    photo -> detect -> align -> project -> edit -> compare -> compose

Expensive steps are kept by content hash, so a slider move costs one edit and one readout.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from workbench import networks, project, registry
from workbench.align import StarterBackend, already_aligned, crop, ffhq_quad, find_faces, paste_back
from workbench.cache import LRU
from workbench.devices import choose, lock
from workbench.editor import Cancel, Editor, EditorSpec, EditRequest, EditResult, Progress, never, quiet
from workbench.errors import BadRequest, WrongSpace
from workbench.face import AlignedFace, CropTransform, Detection, Face, Latent, Photo, Readout, content_hash, to_tensor
from workbench.face import to_uint8 as to_uint8
from workbench.readout import Comparison, compare, cosine, read
from workbench.weights import Store, open_family

Mode = Literal["encoder", "refined"]


class Engine:
    """One family of weights on one device. Safe to share between threads; networks are loaded at first use.

    ``family`` is a name in ``family_file`` (default ``data/weights.toml``); ``device`` is "cpu", "cuda", "mps" or
    "auto". Raises BadRequest for an unknown family or device, MissingWeights and BadCheckpoint when a file is used.
    """

    def __init__(self, family: str = "starter", device: str = "cpu", *, family_file: Path | str | None = None) -> None:
        self._device = choose(device)
        self._family = open_family(family, family_file)
        self._store = Store(self._family, self._device)
        self._detections: LRU[tuple[Detection, ...]] = LRU(32)
        self._aligned: LRU[AlignedFace] = LRU(32)
        self._faces: LRU[Face] = LRU(32)
        self._edits: LRU[EditResult] = LRU(64)
        self._comparisons: LRU[Comparison] = LRU(128)
        self._reads: LRU[Readout] = LRU(128)
        self._sheets: LRU[Tensor] = LRU(8)
        self._editors: LRU[Editor] = LRU(8)

    # -- what this engine is ------------------------------------------------------------------------------------------

    @property
    def family(self) -> str:
        """Name of the family of weights."""
        return self._family.name

    @property
    def device(self) -> torch.device:
        """The device the networks run on."""
        return self._device

    @property
    def size(self) -> int:
        """Side of the generator's picture and of an aligned face, in pixels."""
        return self._store.generator().size

    @property
    def n_latent(self) -> int:
        """Rows of a W+ code."""
        return self._store.generator().n_latent

    @property
    def generator_id(self) -> str:
        """Id of the generator; every code made here carries it."""
        return self._store.generator_id

    # -- photo to face ------------------------------------------------------------------------------------------------

    def detect(self, photo: Photo) -> tuple[Detection, ...]:
        """All faces of ``photo``, the largest first. Raises NoFace."""

    def align(self, photo: Photo, detection: Detection) -> AlignedFace:
        """Cut ``detection`` out of ``photo`` as FFHQ does, at the generator's size."""

    def use_aligned(self, photo: Photo) -> AlignedFace:
        """Take ``photo`` as a face that is aligned already. Raises BadImage when it cannot be one."""

    def project(
        self,
        aligned: AlignedFace,
        mode: Mode = "encoder",
        *,
        steps: int | None = None,
        progress: Progress = quiet,
        cancel: Cancel = never,
    ) -> Face:
        """Find the W+ code of ``aligned``: *encoder* in one pass, *refined* with ``steps`` of optimisation. Raises Cancelled."""

    def face_from_code(self, latent: Latent) -> Face:
        """Render a saved code as a face of its own. Raises WrongSpace when another generator made it."""

    def random_face(self, seed: int, truncation: float = 0.7) -> Face:
        """A generated face; the same ``seed`` gives the same face. ``truncation`` 0 is the mean face, 1 the full range."""

    def sample_faces(self) -> tuple[Face, ...]:
        """The generated faces that come with the family."""

    def keep(self, face: Face, result: EditResult, *, keep_detail: bool = True) -> Face:
        """The edited face as a new start: its photo is the composed one, its code the edited one."""

    # -- editing ------------------------------------------------------------------------------------------------------

    def editors(self) -> tuple[EditorSpec, ...]:
        """Specs of the editors whose weights this family has."""

    def spec(self, name: str) -> EditorSpec:
        """Spec of the editor ``name``. Raises BadRequest with the names that exist."""

    def edit(self, face: Face, request: EditRequest, progress: Progress = quiet, cancel: Cancel = never) -> EditResult:
        """Carry out ``request`` on ``face``; kept, so asking again is free. ``stats["seconds"]`` is what it cost."""

    def strip(self, face: Face, attribute: str, strengths: Sequence[float], editor: str = "sdflow") -> Tensor:
        """Pictures (N,3,H,W) of ``attribute`` at each of ``strengths`` in one batched solve."""

    def grid(
        self, face: Face, attribute_a: str, attribute_b: str, strengths: Sequence[float], editor: str = "sdflow"
    ) -> Tensor:
        """Pictures (N*N,3,H,W), rows by ``attribute_a`` and columns by ``attribute_b``, in one batched solve."""

    # -- what changed -------------------------------------------------------------------------------------------------

    def readout(self, image: Tensor) -> Readout:
        """The 40 attribute probabilities of ``image`` (3,H,W) in [-1, 1]."""

    def compare(self, face: Face, image: Tensor, request: EditRequest | None = None) -> Comparison:
        """What changed from ``face.image`` to ``image`` (3,H,W): readouts, deltas, identity, unintended changes."""

    # -- face to photo ------------------------------------------------------------------------------------------------

    def compose(
        self,
        face: Face,
        result: EditResult,
        *,
        crop: bool = False,
        keep_detail: bool = True,
        colour_match: bool = False,
    ) -> Photo:
        """The whole photo with the edited face in it, or the face alone with ``crop``.

        ``keep_detail`` adds what the edit changed to the photo's own pixels (a neutral edit gives the photo back bit
        for bit); without it the generator's pixels take the face's place.
        """
