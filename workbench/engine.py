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

import torch
from torch import Tensor

from encoders.compact import resized
from workbench import detectors, registry
from workbench import project as projection
from workbench.align import Backend, already_aligned, find_faces
from workbench.cache import LRU
from workbench.composing import composed
from workbench.crop import crop, ffhq_quad
from workbench.devices import choose, dtype_of, lock, plain
from workbench.editor import Cancel, Editor, EditorSpec, EditRequest, EditResult, Progress, never, quiet
from workbench.errors import BadRequest, Cancelled, MissingWeights, WrongSpace
from workbench.face import (
    NO_SPACE,
    AlignedFace,
    CropTransform,
    Detection,
    Face,
    Latent,
    Photo,
    Readout,
    as_it_is,
    content_hash,
    to_tensor,
    to_uint8,
)
from workbench.manifest import open_family
from workbench.measure import Measurer
from workbench.onward import moved_code
from workbench.readout import Comparison
from workbench.references import References
from workbench.weights import Store

Mode = Literal["encoder", "refined"]


class Engine:
    """One family of weights on one device. Safe to share between threads; networks are loaded at first use.

    ``family`` is a name in ``family_file`` (default ``data/weights.toml``); ``device`` is "cpu", "cuda", "mps" or
    "auto"; ``detector`` finds the faces: "starter", the family's own, or the package "face-alignment" with the weights
    of the family "helpers"; ``precision`` is that of the generator's convolutions, "float32" or "bfloat16". Raises
    BadRequest for an unknown family, detector, device or precision, MissingWeights and BadCheckpoint when a file is used.
    """

    def __init__(
        self,
        family: str = "starter",
        device: str = "cpu",
        *,
        family_file: Path | str | None = None,
        detector: str = "starter",
        precision: str = "float32",
    ) -> None:
        self._detector, self._family_file = detectors.check(detector), family_file
        self._device = choose(device)
        self._family = open_family(family, family_file)
        self._store = Store(self._family, self._device, dtype_of(precision))
        self._detections: LRU[tuple[Detection, ...]] = LRU(32)
        self._aligned: LRU[AlignedFace] = LRU(32)
        self._faces: LRU[Face] = LRU(32)
        self._edits: LRU[EditResult] = LRU(64)
        self._measure = Measurer(self._store, self._device)
        self._sheets: LRU[Tensor] = LRU(8)
        self._composed: LRU[Photo] = LRU(4)
        self._editors: LRU[Editor] = LRU(8)
        self.references = References(self.sample_faces, self.random_face)
        self._backends: LRU[Backend] = LRU(1)

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
        """Side of an aligned face in pixels: the generator's, or that of a family which edits photos as they are."""
        return self._family.face_size or self._store.generator().size

    @property
    def n_latent(self) -> int:
        """Rows of a W+ code."""
        return self._store.generator().n_latent

    @property
    def generator_id(self) -> str:
        """Id of the generator; every code made here carries it."""
        return self._store.generator_id

    @property
    def store(self) -> Store:
        """The networks, for measurements and trainings; an editing page needs none of them."""
        return self._store

    # photo to face

    def detect(self, photo: Photo) -> tuple[Detection, ...]:
        """All faces of ``photo``, the largest first. Raises NoFace."""
        name, files = self._detector, self._family_file
        backend = self._backends.get(name, lambda: detectors.create(name, self._store, files))

        def find() -> tuple[Detection, ...]:
            with lock(self._device):
                return find_faces(photo, backend)

        return self._detections.get(photo.hash, find)

    def align(self, photo: Photo, detection: Detection) -> AlignedFace:
        """Cut ``detection`` out of ``photo`` as FFHQ does, at the generator's size."""
        points = detection.points5 if detection.points68 is None else detection.points68
        key = content_hash(photo.hash, points, self.size)
        return self._aligned.get(key, lambda: crop(photo, ffhq_quad(points), self.size, detection=detection))

    def use_aligned(self, photo: Photo) -> AlignedFace:
        """Take ``photo`` as a face that is aligned already. Raises BadImage when it cannot be one."""
        key = content_hash(photo.hash, "aligned", self.size)
        return self._aligned.get(key, lambda: already_aligned(photo, self.size))

    def project(
        self,
        aligned: AlignedFace,
        mode: Mode = "encoder",
        *,
        steps: int | None = None,
        progress: Progress = quiet,
        cancel: Cancel = never,
    ) -> Face:
        """Find the W+ code of ``aligned``: *encoder* in one pass, *refined* with ``steps`` of optimisation.

        A family that edits photos as they are gives the photo back as a face without a code.
        Raises BadRequest (unknown mode, no steps), MissingWeights, and Cancelled within one step.
        """
        if mode not in ("encoder", "refined"):
            raise BadRequest(f"There is no projection mode '{mode}'; there are: encoder, refined.")
        if self._family.face_size:
            if mode == "refined":
                raise BadRequest(f"The {self.family} family edits photos as they are; there is nothing to refine.")
            progress(1.0, "taken as it is")
            return as_it_is(aligned)
        steps = projection.Settings().steps if steps is None else steps
        if steps < 1:
            raise BadRequest(f"A refinement needs at least one step; {steps} was asked for.")
        effort = steps if mode == "refined" else 0
        key = content_hash(aligned.image, aligned.photo.hash, aligned.transform.quad, mode, effort)
        face = self._faces.get(key, lambda: self._project(aligned, mode, steps, progress, cancel))
        progress(1.0, "projected")
        return face

    def _project(self, aligned: AlignedFace, mode: Mode, steps: int, progress: Progress, cancel: Cancel) -> Face:
        if cancel():
            raise Cancelled("The projection was cancelled; nothing has changed.")
        generator, projector = self._store.generator(), self._store.network("projector")
        target = to_tensor(aligned.image)
        started = time.perf_counter()
        if mode == "encoder":
            with lock(self._device):
                code = projection.encode(generator, projector.module, target.to(self._device))
        else:
            first = self.project(aligned, "encoder", cancel=cancel)
            with lock(self._device):
                refiner = projection.refiner(self._store, self._device, first.latent.code, target, steps)
            code = projection.refine(refiner, steps, self._device, progress, cancel)
        latent = Latent(code.float().cpu().clone(), self.generator_id, projector.id)
        return self._face(aligned, latent, target, mode, started)

    def _face(self, aligned: AlignedFace, latent: Latent, target: Tensor, mode: str, started: float) -> Face:
        image = self._render(latent.code)
        identity, l2 = self.identity(image, target), float((image - target).square().mean())
        seconds = time.perf_counter() - started
        warned = projection.warnings(identity, l2, self._family.low_identity, self._family.high_l2)
        return Face(aligned, latent, image, target, identity, l2, mode, seconds, warned)

    @torch.no_grad()
    def _render(self, code: Tensor) -> Tensor:
        generator = self._store.generator()
        with lock(self._device):
            image = projection.render(generator, code[None].to(self._device)).float()
            return resized(image, self.size)[0].clamp(-1, 1).cpu()

    def face_from_code(self, latent: Latent, name: str = "code") -> Face:
        """Render a saved code as a face of its own, its picture being the photo. Raises WrongSpace."""
        self._check_space(latent)
        key = content_hash(latent.code, latent.generator, name)
        return self._faces.get(key, lambda: self._generated(latent, name))

    def _generated(self, latent: Latent, name: str) -> Face:
        started = time.perf_counter()
        image = self._render(latent.code)
        pixels = to_uint8(image)
        photo = Photo(pixels, name, ("generated",))
        aligned = AlignedFace(photo, pixels, CropTransform.whole(self.size))
        seconds = time.perf_counter() - started
        return Face(aligned, latent, image, image, 1.0, 0.0, "code", seconds)

    def random_face(self, seed: int, truncation: float = 0.7) -> Face:
        """A generated face, the same for the same ``seed``. ``truncation`` 0 is the mean face, 1 the full range."""
        code = projection.drawn(self._store, self._device, seed, truncation)
        return self.face_from_code(Latent(code, self.generator_id, "mapping"), f"random face {seed}")

    def sample_faces(self) -> tuple[Face, ...]:
        """The generated faces that come with the family; none when its list has no such file."""
        if "samples" not in self._family.records:
            return ()
        codes = self._store.samples()
        made = [Latent(code.clone(), self.generator_id, "sample") for code in codes]
        return tuple(self.face_from_code(latent, f"sample {i + 1}") for i, latent in enumerate(made))

    def keep(self, face: Face, result: EditResult, *, keep_detail: bool = True) -> Face:
        """The edited face as a new start: the composed photo, with the edited code, or one moved by what was drawn."""
        started = time.perf_counter()
        photo = self.compose(face, result, keep_detail=keep_detail)
        face_only = self.compose(face, result, crop=True, keep_detail=keep_detail)
        aligned = replace(face.aligned, photo=photo, image=face_only.pixels)
        if self._family.face_size:
            return as_it_is(aligned)
        target = to_tensor(face_only.pixels)
        code = result.code if result.code is not None else moved_code(self._store, self._device, face, target)
        latent = replace(face.latent, code=code.detach().float().cpu().clone())
        return self._face(aligned, latent, target, face.mode, started)

    # editing

    def editors(self) -> tuple[EditorSpec, ...]:
        """Specs of the editors whose weights this family has."""
        found = []
        for name in registry.names():
            try:
                found.append(self._editor(name).spec)
            except MissingWeights:
                continue
        return tuple(found)

    def spec(self, name: str) -> EditorSpec:
        """Spec of the editor ``name``. Raises BadRequest (unknown editor) and MissingWeights."""
        return self._editor(name).spec

    def _editor(self, name: str) -> Editor:
        return self._editors.get(name, lambda: registry.create(name, self._store))

    def edit(self, face: Face, request: EditRequest, progress: Progress = quiet, cancel: Cancel = never) -> EditResult:
        """Carry out ``request`` on ``face``; kept, so asking again is free. ``stats["seconds"]`` is what it cost.

        A reference that ``request`` names is looked up in ``references``. Raises BadRequest (unknown editor, control, value or
        reference), WrongSpace (the face of another generator), Cancelled.
        """
        editor = self._editor(request.editor)
        editor.spec.validate(request)
        self._check_space(face.latent)
        reference = self.references.find(request.reference) if request.reference else None

        def run() -> EditResult:
            started = time.perf_counter()
            with lock(self._device) as held:
                tell, stop = held.outside(progress), held.outside(cancel)
                result = registry.carry_out(editor, face, request, reference, progress=tell, cancel=stop)
            seconds = time.perf_counter() - started
            code = None if result.code is None else plain(result.code)
            return replace(result, image=plain(result.image), code=code, stats={**result.stats, "seconds": seconds})

        result = self._edits.get((face.hash, request.to_json()), run)
        progress(1.0, "edited")
        return result

    def strip(
        self,
        face: Face,
        attribute: str,
        strengths: Sequence[float],
        editor: str = "sdflow",
        *,
        base: EditRequest | None = None,
    ) -> Tensor:
        """Pictures (N,3,H,W) of ``attribute`` at each of ``strengths``, on top of ``base``, in one batched solve."""
        maker = self._sheet_maker(face, editor, "strip")
        key = (face.hash, editor, attribute, tuple(strengths), base and base.to_json())
        return self._sheets.get(
            key, lambda: self._locked(lambda: maker.strip(face, attribute, strengths, base=base).images)
        )

    def grid(
        self,
        face: Face,
        attribute_a: str,
        attribute_b: str,
        strengths: Sequence[float],
        editor: str = "sdflow",
        *,
        strengths_b: Sequence[float] | None = None,
        base: EditRequest | None = None,
    ) -> Tensor:
        """Pictures (N*M,3,H,W): rows by ``attribute_a``, columns by ``attribute_b`` (``strengths_b``, or the same)."""
        maker = self._sheet_maker(face, editor, "grid")
        columns = strengths if strengths_b is None else strengths_b
        key = (face.hash, editor, attribute_a, attribute_b, tuple(strengths), tuple(columns), base and base.to_json())

        def run() -> Tensor:
            return maker.grid(face, attribute_a, attribute_b, strengths, columns, base=base).images

        return self._sheets.get(key, lambda: self._locked(run))

    def _sheet_maker(self, face: Face, name: str, what: str) -> registry.SheetEditor:
        self._check_space(face.latent)
        editor = self._editor(name)
        if not isinstance(editor, registry.SheetEditor):
            raise BadRequest(f"The editor '{name}' makes no {what}; choose one that does.")
        return editor

    # what changed

    def readout(self, image: Tensor) -> Readout:
        """The 40 attribute probabilities of ``image`` (3,H,W) in [-1, 1]."""
        return self._measure.readout(image)

    def embedding(self, image: Tensor) -> Tensor:
        """Unit identity vector (D,) on the CPU of an FFHQ crop (3,H,W) in [-1, 1]; kept until ``forget``."""
        return self._measure.embedding(image)

    def identity(self, a: Tensor, b: Tensor) -> float:
        """Cosine of the identities of two FFHQ crops (3,H,W) in [-1, 1]: 1 is the same picture, about 0 strangers."""
        return self._measure.identity(a, b)

    def compare(self, face: Face, image: Tensor, request: EditRequest | None = None) -> Comparison:
        """What changed from ``face.image`` to ``image`` (3,H,W); only changes that ``request`` asks for are intended."""
        asked = frozenset() if request is None else self.spec(request.editor).asked(request)
        return self._measure.compare(face, image, asked)

    # face to photo

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
        for bit), and lets that detail go where the edit draws something new; without it the result's pixels take the
        face's place. What changed is told from the projection, or from the
        aligned photo for results that are on the photo already.
        """
        key = content_hash(
            face.hash, face.aligned.photo.hash, result.image, result.mask, crop, keep_detail, colour_match
        )

        def make() -> Photo:
            made = composed(face, result, crop=crop, keep_detail=keep_detail, colour_match=colour_match)
            return replace(made, hash=key)

        return self._composed.get(key, make)

    def forget(self) -> None:
        """Drop all that is kept of photos and faces, for every user of this engine; the networks stay."""
        kept = (self._detections, self._aligned, self._faces, self._edits)
        for cache in (*kept, self._sheets, self._composed, self._editors, self._measure, self.references):
            cache.clear()

    def _check_space(self, latent: Latent) -> None:
        if self._family.face_size and latent.space == NO_SPACE:
            return
        if latent.generator != self.generator_id:
            raise WrongSpace(
                f"This face was made with the generator {latent.generator} and the {self.family} family's is "
                f"{self.generator_id}; switch back to its family, or project the photo again."
            )

    def _locked(self, make: Callable[[], Tensor]) -> Tensor:
        with lock(self._device):
            return plain(make())
