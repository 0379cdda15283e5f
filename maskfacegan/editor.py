"""The MaskFaceGAN editor: parse the photo once, reconstruct once per photo, then optimise for each edit and blend."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from maskfacegan.blend import blended
from maskfacegan.controls import Plan, plan, spec
from maskfacegan.networks import Networks
from maskfacegan.optimise import Optimisation, Order, Point
from maskfacegan.regions import COLOURED, at_size
from workbench.editor import Cancel, EditRequest, EditResult, Progress, never, quiet
from workbench.errors import BadRequest, Cancelled, WrongSpace
from workbench.face import Face, content_hash

KEPT = 32


@dataclass(frozen=True, eq=False)
class MaskedResult(EditResult):
    """An EditResult with the loss ``trace``; ``mask`` is the blend mask, exactly 0 where the photo's pixels stay."""

    trace: tuple[Point, ...] = ()
    on_photo: bool = True


@dataclass(frozen=True, eq=False)
class Snapshot:
    """How far an edit is: the last point of the trace, steps in all, and a way to the blended picture (3,H,W) now."""

    point: Point
    steps: int
    picture: Callable[[], Tensor]
    state: Callable[[], dict[str, Any]]


Watch = Callable[[Snapshot], None]


def unwatched(snapshot: Snapshot) -> None:
    """A watcher that does not look."""


class _Kept:
    """Reconstructions used last, by photo and mask; shared by threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self._items, self._lock = capacity, OrderedDict[str, Tensor](), threading.Lock()

    def get(self, key: str) -> Tensor | None:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: str, code: Tensor) -> None:
        with self._lock:
            self._items[key] = code
            while len(self._items) > self._capacity:
                self._items.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._items.clear()


class MaskFaceGANEditor:
    """Changes one part of an aligned face, or one global attribute, and leaves every other pixel of it alone.

    networks: those of one family on ``device``. weights: ids of the weights; the first is the generator's, and codes of another
    one are refused. Reconstructions are kept per photo, so that a second attribute starts where the first one did.
    """

    def __init__(self, networks: Networks, weights: tuple[str, ...], device: torch.device | str = "cpu") -> None:
        self.spec = spec()
        self._networks, self._weights, self._device = networks, weights, torch.device(device)
        self._kept = _Kept(KEPT)

    def forget(self) -> None:
        """Drop all reconstructions that are kept of photos."""
        self._kept.clear()

    def edit(
        self, face: Face, request: EditRequest, *, progress: Progress = quiet, cancel: Cancel = never
    ) -> EditResult:
        """Carry out ``request`` on ``face``; a neutral one gives back ``face.image`` and its code themselves.

        Outside ``mask`` the picture is the aligned photo (``face.target``), bit for bit. ``stats``: steps, steps_reconstruction
        (0 when kept), loss, the guide's probability of each attribute before and after, area of the region before and after,
        seconds. Raises BadRequest, WrongSpace, Cancelled within one step.
        """
        return self.run(face, request, progress=progress, cancel=cancel)

    def run(
        self, face: Face, request: EditRequest, *, mask: Tensor | None = None, resume: Mapping[str, Any] | None = None,
        reduced: bool = False, watch: Watch = unwatched, progress: Progress = quiet, cancel: Cancel = never,
    ) -> EditResult:  # fmt: skip
        """As ``edit``, with more to hold on to.

        mask (1,H,W) in [0, 1]: one's own region in place of the parser's. resume: the ``state`` of a Snapshot of the same order, to
        go on from. reduced: optimise at half the size. watch: called after every step.
        """
        wanted = plan(self.spec.validate(request))
        self._check(face, mask)
        if wanted.neutral:
            progress(1.0, "Done")
            stats = {"steps": 0.0, "seconds": 0.0}
            return MaskedResult(face.image, face.latent.code, None, request, stats, self._weights, on_photo=False)
        began = time.perf_counter()
        self._stop(cancel)
        progress(0.0, "Finding the parts of the face")
        job, key = self._begin(face, wanted, request.seed, mask, reduced)
        if resume is not None:
            job.restore(resume)
        trace: list[Point] = []
        steps, first = job.total, job.stage
        while not job.finished:
            self._stop(cancel)
            point = job.step()
            trace.append(point)
            if point.stage == "reconstruction" and job.stage != "reconstruction":
                self._kept.put(key, job.begun.cpu())
            told = {"reconstruction": "Rebuilding the face", "edit": "Editing", "noise": "Adding fine detail"}
            message = f"{told[point.stage]}: step {point.step + 1} of {steps}, loss {point.total:.4f}"
            progress(min(0.99, (point.step + 1) / (steps + 1)), message)
            watch(Snapshot(point, steps, lambda: self._compose(job, wanted)[0], job.state))
        self._stop(cancel)
        image, weight = self._compose(job, wanted)
        stats = self._stats(job, wanted, image, trace)
        stats["steps_reconstruction"] = float(sum(p.stage == "reconstruction" for p in trace))
        stats["reconstruction_kept"] = float(first != "reconstruction" and wanted.classes.local)
        stats["reduced"] = float(reduced)
        stats["seconds"] = time.perf_counter() - began
        code = job.code.detach()[0].to(face.latent.code.device, face.latent.code.dtype)
        progress(1.0, "Done")
        return MaskedResult(
            image.to(face.image.device, face.image.dtype), code, weight.to(face.image.device), request, stats,
            self._weights, trace=tuple(trace),
        )  # fmt: skip

    @torch.no_grad()
    def region(self, face: Face, request: EditRequest, mask: Tensor | None = None) -> Tensor:
        """The blend mask (1,H,W) that ``request`` starts with, to show before anything runs."""
        wanted = plan(self.spec.validate(request))
        self._check(face, mask)
        if wanted.neutral:
            return torch.zeros(1, *face.target.shape[1:])
        job, _ = self._begin(face, wanted, request.seed, mask, False)
        return job.weight()[0].cpu()

    def steps(self, face: Face, request: EditRequest) -> int:
        """How many steps ``request`` takes at most, fewer when the photo's reconstruction is kept: for an expected time."""
        wanted = plan(self.spec.validate(request))
        return 0 if wanted.neutral else self._begin(face, wanted, request.seed, None, False)[0].total

    def seconds_per_step(self, face: Face, request: EditRequest) -> float:
        """How long a step of ``request`` takes here, measured on two of them; 0 for a neutral one."""
        wanted = plan(self.spec.validate(request))
        if wanted.neutral:
            return 0.0
        job, _ = self._begin(face, wanted, request.seed, None, False)
        job.step()
        began, taken = time.perf_counter(), 0
        while taken < 2 and not job.finished:
            job.step()
            taken += 1
        return (time.perf_counter() - began) / max(taken, 1)

    def _check(self, face: Face, mask: Tensor | None) -> None:
        latent, generator = face.latent, self._networks.generator
        if self._weights and latent.generator != self._weights[0]:
            raise WrongSpace(
                f"This face's code belongs to the generator '{latent.generator}', not to '{self._weights[0]}'; "
                "project the photo again with this family of weights."
            )
        if tuple(latent.code.shape) != tuple(self._networks.mean.shape):
            raise WrongSpace(
                f"A code here has the shape {tuple(self._networks.mean.shape)}, this one {tuple(latent.code.shape)}; "
                "project the photo again."
            )
        if face.target.shape[-1] != generator.size:
            raise WrongSpace(
                f"This face has {face.target.shape[-1]} pixels a side and the generator {generator.size}; align it again."
            )
        if mask is not None:
            if mask.ndim != 3 or mask.shape[0] != 1 or not bool(torch.isfinite(mask).all()):
                raise BadRequest(f"A mask of one's own must be one layer (1,H,W) in [0, 1], not {tuple(mask.shape)}.")
            if not bool((mask > 0).any()):
                raise BadRequest("The mask is empty, so nothing may change; paint the part that is to be edited.")

    def _stop(self, cancel: Cancel) -> None:
        if cancel():
            raise Cancelled("The edit was stopped before it was finished; the face is as it was.")

    def _begin(
        self, face: Face, wanted: Plan, seed: int, mask: Tensor | None, reduced: bool
    ) -> tuple[Optimisation, str]:
        photo = face.target[None].to(self._device).float()
        own = None if mask is None else at_size(mask[None].to(photo).clamp(0, 1), photo.shape[-1])
        preset = wanted.preset
        held = "face" if preset.whole else ",".join(wanted.classes.recon)
        mine = content_hash(own) if own is not None and not preset.whole else ""
        parts = (face.hash, preset.name, preset.start, held, mine, seed, reduced)
        key = content_hash(*parts)
        known = self._kept.get(key) if wanted.classes.local else None
        known = None if known is None else known.to(self._device)
        projected = face.latent.code[None].to(self._device).float()
        coloured = any(name in COLOURED for name in wanted.attributes)
        order = Order(wanted.columns, wanted.targets, wanted.classes, wanted.area, wanted.prior, own, coloured)
        job = Optimisation(
            self._networks, preset, order, photo, projected, reconstructed=known, reduced=reduced, seed=seed
        )
        return job, key

    @torch.no_grad()
    def _compose(self, job: Optimisation, wanted: Plan) -> tuple[Tensor, Tensor]:
        """Blended picture (3,H,W) and blend mask (1,H,W)."""
        weight = job.weight()
        front = job.render()
        if wanted.preset.difference:
            front = job.photo + front - job.before()
        return blended(front.clamp(-1, 1), job.photo, weight, wanted.seam)[0], weight[0]

    @torch.no_grad()
    def _stats(self, job: Optimisation, wanted: Plan, image: Tensor, trace: list[Point]) -> dict[str, float]:
        after = self._networks.guide(image[None]).sigmoid()[0]
        before = job.read.sigmoid()[0]
        found = {"steps": float(len(trace)), "loss": trace[-1].total if trace else 0.0, "ended_early": float(job.early)}
        for name, column, target in zip(wanted.attributes, wanted.columns, wanted.targets, strict=True):
            key = name.lower()
            found[f"target_{key}"] = target
            found[f"before_{key}"], found[f"after_{key}"] = float(before[column]), float(after[column])
        found["area_before"], found["area_after"] = float(job.first.region.mean()), float(job.masks.region.mean())
        return found
