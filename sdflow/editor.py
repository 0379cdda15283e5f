"""The SDFlow editor: photo -> semantic variables and z (once per photo) -> codes under another condition -> picture."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from sdflow.controls import Order, attribute_of, conditions, control_name, order, spec
from sdflow.estimator import SemanticEstimator
from sdflow.model import ConditionalFlow, log_likelihood, standard_normal_logp
from sdflow.solver import Density, Solver
from workbench.editor import Cancel, EditRequest, EditResult, Progress, never, quiet
from workbench.errors import BadRequest, Cancelled, WrongSpace
from workbench.face import Face

KEPT_PHOTOS = 16


class Renderer(Protocol):
    """What the editor asks of a generator."""

    @property
    def n_latent(self) -> int: ...

    def synthesis(self, codes: Tensor, /) -> Any: ...


class Sheet(NamedTuple):
    """Pictures (N,3,H,W) in [-1, 1] and their codes (N,L,D)."""

    images: Tensor
    codes: Tensor


@dataclass(frozen=True, eq=False)
class Start:
    """What a photo's edits start from: semantic variables (n,), code, z (L,D) each and log-likelihood per row (L,)."""

    source: Tensor
    code: Tensor
    z: Tensor
    likelihood: Tensor
    nfe: int


class _Starts:
    """The starts of the photos used last; shared by threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity, self._items, self._lock = capacity, OrderedDict[tuple[str, Solver], Start](), threading.Lock()

    def get(self, key: tuple[str, Solver]) -> Start | None:
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: tuple[str, Solver], start: Start) -> None:
        with self._lock:
            self._items[key] = start
            while len(self._items) > self._capacity:
                self._items.popitem(last=False)


class _Meter:
    """Progress over the parts of an edit; stops it when the user has cancelled."""

    def __init__(self, progress: Progress, cancel: Cancel) -> None:
        self._progress, self._cancel = progress, cancel
        self._low, self._high, self._message, self._ticks = 0.0, 0.0, "", 0

    def part(self, end: float, message: str) -> None:
        """Begin the part that ends at ``end``."""
        self._low, self._high, self._message, self._ticks = self._high, end, message, 0
        self._stop_if_cancelled()
        self._progress(self._low, message)

    def __call__(self) -> None:
        """One more step of a part whose length is not known beforehand."""
        self._stop_if_cancelled()
        self._ticks += 1
        if self._ticks % 8 == 0:
            self._progress(self._low + (self._high - self._low) * (1 - 0.5 ** (self._ticks / 16)), self._message)

    def _stop_if_cancelled(self) -> None:
        if self._cancel():
            raise Cancelled("The edit was stopped before it was finished; the face is as it was.")


class SDFlowEditor:
    """Edits several attributes of a projected face at once with SDFlow.

    generator, estimator, flow: networks of one family on ``device``. attributes: CelebA names in the order of the
    flow's condition. weights: ids of the weights; the first is the generator's, and codes of another one are refused.
    """

    def __init__(
        self,
        generator: Renderer,
        estimator: SemanticEstimator,
        flow: ConditionalFlow,
        attributes: tuple[str, ...],
        weights: tuple[str, ...],
        device: torch.device | str = "cpu",
    ) -> None:
        if len(attributes) != flow.attributes or len(attributes) != estimator.attributes:
            counts = f"the estimator has {estimator.attributes}, the flow {flow.attributes}"
            raise ValueError(f"{len(attributes)} attributes are named, {counts}")
        self.spec = spec(attributes, generator.n_latent)
        self._generator, self._estimator, self._flow = generator, estimator.eval(), flow.eval()
        self._attributes, self._weights, self._device = attributes, weights, torch.device(device)
        self._starts = _Starts(KEPT_PHOTOS)
        # One probe for every solve, so that likelihoods of two edits can be compared.
        self._probe = flow.probe((generator.n_latent, flow.width), torch.Generator().manual_seed(0))

    def edit(
        self, face: Face, request: EditRequest, *, progress: Progress = quiet, cancel: Cancel = never
    ) -> EditResult:
        """Carry out ``request`` on ``face``; a neutral one gives back ``face.image`` and its code themselves.

        ``stats``: nfe (and nfe_forward, nfe_reverse), steps, solver_error, log_likelihood_before and _after (nats per
        dimension, each under its own condition), the estimate and target of each attribute, seconds per stage.
        Raises BadRequest, WrongSpace, Cancelled.
        """
        return self.edit_many([(face, request)], progress=progress, cancel=cancel)[0]

    def edit_many(
        self, orders: Sequence[tuple[Face, EditRequest]], *, progress: Progress = quiet, cancel: Cancel = never
    ) -> list[EditResult]:
        """Carry out many requests, on one face or several, in one batched solve per layer range; results in order."""
        read = [(f, r, order(self._attributes, self.spec.validate(r))) for f, r in orders]
        for face, _, _ in read:
            self._check(face)
        meter = _Meter(progress, cancel)
        active = [(i, face, o) for i, (face, _, o) in enumerate(read) if not o.neutral]
        results: dict[int, EditResult] = {}
        with torch.no_grad():
            meter.part(0.4, "Reading the face")
            starts, seconds, fresh = self._begin([(face, o.solver) for _, face, o in active], meter)
            meter.part(0.7, "Moving the code")
            groups: dict[tuple[int, int, Solver, int], list[int]] = {}
            for n, (_, _, o) in enumerate(active):
                # The steps of dopri5 depend on all samples it solves together, so there each goes alone.
                alone = n if o.solver.method == "dopri5" else -1
                groups.setdefault((o.first, o.last, o.solver, alone), []).append(n)
            moved: dict[int, tuple[Tensor, dict[str, float]]] = {}
            for members in groups.values():
                part = self._move([active[n][2] for n in members], [starts[n] for n in members], meter)
                moved.update(zip(members, part, strict=True))
            meter.part(1.0, "Rendering")
            codes = torch.stack([moved[n][0] for n in range(len(active))]) if active else None
            began = time.perf_counter()
            images = [] if codes is None else self._render(codes, meter)
            render = (time.perf_counter() - began) / max(len(active), 1)
            for n, (i, face, _) in enumerate(active):
                code, stats = moved[n]
                stats["seconds_forward"] = seconds if fresh[n] else 0.0
                stats["nfe_forward"] = float(starts[n].nfe if fresh[n] else 0)
                stats["seconds_render"] = render
                stats["nfe"] = stats["nfe_forward"] + stats["nfe_reverse"]
                stats["seconds"] = stats["seconds_forward"] + stats["seconds_reverse"] + render
                image = images[n].to(face.image.device, face.image.dtype)
                results[i] = EditResult(image, code.to(face.latent.code.device), None, read[i][1], stats, self._weights)
        for i, (face, request, _) in enumerate(read):
            if i not in results:
                stats = {"nfe": 0.0, "seconds": 0.0}
                results[i] = EditResult(face.image, face.latent.code, None, request, stats, self._weights)
        progress(1.0, "Done")
        return [results[i] for i in range(len(read))]

    def strip(
        self, face: Face, control: str, strengths: Sequence[float], *, base: EditRequest | None = None,
        progress: Progress = quiet, cancel: Cancel = never,
    ) -> Sheet:  # fmt: skip
        """The face at N ``strengths`` in [-1, 1] of one attribute, on top of ``base``, in one batched solve."""
        name = attribute_of(self.spec, control)
        return self._sheet(face, [{name: s} for s in strengths], base, progress, cancel)

    def grid(
        self, face: Face, a: str, b: str, strengths_a: Sequence[float], strengths_b: Sequence[float], *,
        base: EditRequest | None = None, progress: Progress = quiet, cancel: Cancel = never,
    ) -> Sheet:  # fmt: skip
        """Two attributes against each other: N = len(a)*len(b) pictures, row by row of ``a``, in one batched solve."""
        name_a, name_b = attribute_of(self.spec, a), attribute_of(self.spec, b)
        if name_a == name_b:
            raise BadRequest(f"A grid needs two different attributes, not '{name_a}' twice.")
        return self._sheet(
            face, [{name_a: s, name_b: t} for s in strengths_a for t in strengths_b], base, progress, cancel
        )

    def _sheet(
        self,
        face: Face,
        changes: Sequence[dict[str, float]],
        base: EditRequest | None,
        progress: Progress,
        cancel: Cancel,
    ) -> Sheet:
        if not changes:
            raise BadRequest("A strip needs at least one strength.")
        first = base if base is not None else self.spec.neutral()
        requests = [replace(first, values={**first.values, **change}) for change in changes]
        results = self.edit_many([(face, r) for r in requests], progress=progress, cancel=cancel)
        codes = [r.code if r.code is not None else face.latent.code for r in results]
        return Sheet(torch.stack([r.image for r in results]), torch.stack(codes))

    def _check(self, face: Face) -> None:
        latent = face.latent
        if self._weights and latent.generator != self._weights[0]:
            raise WrongSpace(
                f"This face's code belongs to the generator '{latent.generator}', not to '{self._weights[0]}'; "
                "project the photo again with this family of weights."
            )
        shape = (self._generator.n_latent, self._flow.width)
        if tuple(latent.code.shape) != shape:
            raise WrongSpace(
                f"A code here has the shape {shape}, this one {tuple(latent.code.shape)}; project the photo again."
            )

    def _begin(self, wanted: Sequence[tuple[Face, Solver]], meter: _Meter) -> tuple[list[Start], float, list[bool]]:
        """Starts for ``wanted``, seconds per new start, and which were new; the new ones are solved together."""
        began = time.perf_counter()
        keys = [(face.hash, solver) for face, solver in wanted]
        found = {key: self._starts.get(key) for key in keys}
        new = {key: face for key, (face, _) in zip(keys, wanted, strict=True) if found[key] is None}
        ready = {key: start for key, start in found.items() if start is not None}
        for solver in {solver for _, solver in new}:
            group = [(key, face) for key, face in new.items() if key[1] == solver]
            size = 1 if solver.method == "dopri5" else 64
            for at in range(0, len(group), size):
                part = group[at : at + size]
                codes = torch.stack([face.latent.code for _, face in part]).to(self._device)
                # One picture at a time: a convolution's last bits may depend on the size of the batch.
                source = torch.cat([self._estimator(face.target[None].to(self._device)) for _, face in part])
                density: Density = "quadrature" if solver.method == "rk4" else "solve"
                out = self._flow(codes, source, solver=solver, probe=self._probe, density=density, tick=meter)
                assert out.logp is not None  # a density was asked for
                likelihood = log_likelihood(out.x, out.logp)
                for n, (key, _) in enumerate(part):
                    start = Start(source[n], codes[n], out.x[n], likelihood[n], int(out.nfe[n]))
                    self._starts.put(key, start)
                    ready[key] = start
        seconds = (time.perf_counter() - began) / max(len(new), 1)
        return [ready[key] for key in keys], seconds, [key in new for key in keys]

    def _move(
        self, orders: Sequence[Order], starts: Sequence[Start], meter: _Meter
    ) -> list[tuple[Tensor, dict[str, float]]]:
        """Codes (L,D) and stats of orders that share layers and solver, by one reverse solve."""
        began = time.perf_counter()
        rows, solver = slice(orders[0].first, orders[0].last + 1), orders[0].solver
        z = torch.stack([s.z[rows] for s in starts])
        condition = conditions(orders, [s.source for s in starts])
        density: Density = "quadrature" if solver.method == "rk4" else "solve"
        probe = self._probe[rows]
        out = self._flow(z, condition, reverse=True, solver=solver, probe=probe, density=density, tick=meter)
        assert out.logp is not None  # a density was asked for
        # The way back returns the opposite sign of the way there.
        after = ((standard_normal_logp(z) + out.logp) / z.shape[2]).squeeze(2)
        seconds = (time.perf_counter() - began) / len(orders)
        moved: list[tuple[Tensor, dict[str, float]]] = []
        for n, start in enumerate(starts):
            code, likelihood = start.code.clone(), start.likelihood.clone()
            code[rows], likelihood[rows] = out.x[n], after[n]
            stats = {
                "nfe_reverse": float(out.nfe[n]),
                "steps": float(out.steps[n]),
                "log_likelihood_before": float(start.likelihood.mean()),
                "log_likelihood_after": float(likelihood.mean()),
                "seconds_reverse": seconds,
            }
            if out.error is not None:
                stats["solver_error"] = float(out.error[n])
            for index, attribute in enumerate(self._attributes):
                stats[f"estimate_{control_name(attribute)}"] = float(start.source[index])
                stats[f"target_{control_name(attribute)}"] = float(condition[n, index])
            moved.append((code, stats))
        return moved

    def _render(self, codes: Tensor, meter: _Meter) -> list[Tensor]:
        """Pictures (3,H,W) of ``codes`` (N,L,D): one by one on a CPU, where a batch changes the last bits."""
        size = 1 if codes.device.type == "cpu" else 8
        images: list[Tensor] = []
        for part in codes.split(size):
            meter()
            images += list(self._generator.synthesis(part).clamp(-1, 1))
        return images
