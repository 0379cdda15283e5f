"""The component editor: aligned photo -> content and embeddings (once per photo) -> changed embeddings -> picture."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from encoders.compact import resized
from iafaces.controls import order, spec
from iafaces.directions import Direction
from iafaces.editing import Autoencoder, blended, changed, composed, edit_mask, moved
from iafaces.model import Code
from workbench.editor import Cancel, EditRequest, EditResult, Progress, never, quiet
from workbench.errors import BadRequest, Cancelled
from workbench.face import Face, content_hash

KEPT_PHOTOS = 16
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Parts:
    """A photo's code (batch of one) and the network's picture of it (3,s,s)."""

    code: Code
    recon: Tensor


class ComponentsEditor:
    """Edits and borrows single components of a face.

    model: a component auto-encoder on ``device``, ours or a published one. directions: attributes fitted for it. weights: ids
    of the weights. The photo is read, not its projection; with the output "residual" the change is added to the face that
    is edited, so the picture beyond the edited components stays that face's, bit for bit.
    """

    def __init__(
        self,
        model: Autoencoder,
        directions: Mapping[str, Direction],
        weights: tuple[str, ...],
        device: torch.device | str = "cpu",
    ) -> None:
        self._model, self._directions, self._weights = model, dict(directions), weights
        self._device = torch.device(device)
        self.spec = spec(self._directions)
        self._codes, self._recons = OrderedDict[str, Code](), OrderedDict[str, Tensor]()
        self._lock = threading.Lock()

    def edit(
        self,
        face: Face,
        request: EditRequest,
        *,
        reference: Tensor | None = None,
        progress: Progress = quiet,
        cancel: Cancel = never,
    ) -> EditResult:
        """Carry out ``request``; ``reference`` (3,H,W) in [-1, 1] is the aligned face that components are borrowed from.

        Raises BadRequest when components are borrowed without a reference, and Cancelled.
        """
        asked = order(self.spec.validate(request), self._directions)
        began = time.perf_counter()
        if asked.neutral and asked.output == "residual":
            progress(1.0, "Done")
            code = face.latent.code if face.latent.code.numel() else None
            return EditResult(face.image, code, None, request, {"seconds": 0.0}, self._weights)
        if any(asked.blends) and reference is None:
            raise BadRequest("Borrowing a component needs a reference face; choose one first.")

        def tell(fraction: float, message: str) -> None:
            if cancel():
                raise Cancelled("The edit was stopped before it was finished; the face is as it was.")
            progress(fraction, message)

        with torch.no_grad():
            tell(0.0, "Reading the face")
            parts = self._read(face.target)
            tell(0.3, "Reading the reference")
            nodes = parts.code.nodes
            if reference is not None and any(asked.blends):
                nodes = blended(nodes, self._code(reference).nodes, asked.blends)
            tell(0.5, "Moving the components")
            lent, nodes = nodes, moved(nodes, self._directions, asked.strengths)
            rows = changed(parts.code.nodes, nodes)
            tell(0.6, "Drawing")
            edited = self._model.decode(Code(parts.code.content, nodes))[0] if rows else parts.recon
            tell(0.9, "Composing")
            borrowed, level = (
                None,
                changed(parts.code.nodes, lent) if asked.level and asked.output == "residual" else (),
            )
            if level:
                borrowed = edited if torch.equal(lent, nodes) else self._model.decode(Code(parts.code.content, lent))[0]
            image = composed(face.image.to(self._device), edited, parts.recon, rows, asked.output, borrowed, level)
            mask = edit_mask(rows, face.image.shape[1]) if asked.output == "residual" else None
            tell(0.95, "Composing")
        image = image.to(face.image)
        stats = {
            "seconds": time.perf_counter() - began,
            "change": float((edited - parts.recon).abs().mean()),
            "reconstruction_l1": float(self._recon_error(face.target, parts.recon)),
        }
        for name, direction in self._directions.items():
            before, after = direction.score(parts.code.nodes), direction.score(nodes)
            stats[f"moved_{name}"] = float((after - before)[0]) / direction.deviation
        progress(1.0, "Done")
        return EditResult(image, None, mask, request, stats, self._weights)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of the attributes that there are directions for."""
        return tuple(self._directions)

    @property
    def weights(self) -> tuple[str, ...]:
        """Ids of the weights that take part."""
        return self._weights

    def _recon_error(self, target: Tensor, recon: Tensor) -> Tensor:
        return (self._sized(target)[0] - recon).abs().mean()

    def reconstruct(self, image: Tensor) -> Tensor:
        """The network's own picture (3,s,s) of an aligned face (3,H,W)."""
        with torch.no_grad():
            return self._read(image).recon

    def scores(self, image: Tensor) -> dict[str, float]:
        """Where an aligned face (3,H,W) stands on every attribute, in standard deviations from the mean photo."""
        with torch.no_grad():
            nodes = self._code(image).nodes
        return {name: (float(d.score(nodes)[0]) - d.center) / d.deviation for name, d in self._directions.items()}

    def strength_to(self, image: Tensor, name: str, target: float) -> float:
        """Strength of attribute ``name`` that brings this face to ``target`` standard deviations. Raises BadRequest."""
        if name not in self._directions:
            raise BadRequest(f"There is no attribute '{name}'; there are: {', '.join(self._directions)}.")
        with torch.no_grad():
            nodes = self._code(image).nodes
        return float(self._directions[name].strength_to(nodes, target)[0])

    def _sized(self, image: Tensor) -> Tensor:
        return resized(image[None].to(self._device), self._model.size)

    def _read(self, image: Tensor) -> Parts:
        code = self._code(image)
        recon = self._kept(self._recons, content_hash(image), lambda: self._model.decode(code)[0])
        return Parts(code, recon)

    def _code(self, image: Tensor) -> Code:
        """The code alone: a face that is only borrowed from, or only scored, need not be drawn."""
        return self._kept(self._codes, content_hash(image), lambda: self._model.encode(self._sized(image)))

    def _kept(self, store: OrderedDict[str, T], key: str, make: Callable[[], T]) -> T:
        with self._lock:
            if key in store:
                store.move_to_end(key)
                return store[key]
        made = make()
        with self._lock:
            store[key] = made
            while len(store) > KEPT_PHOTOS:
                store.popitem(last=False)
        return made
