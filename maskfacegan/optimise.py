"""MaskFaceGAN's optimiser: reconstruction, edit and noise stage, one step at a time (arXiv 2103.11135; Pernuš et al. 2023).

A run is a small state machine: ``step`` does one Adam step, ``state`` and ``restore`` carry it over a restart bit for bit, and
nothing here draws a number that does not come from ``seed``.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from maskfacegan import losses
from maskfacegan.blend import FEATHER, FINE_FEATHER, alpha
from maskfacegan.moves import Moves
from maskfacegan.networks import Networks
from maskfacegan.presets import Preset, Weights
from maskfacegan.regions import MaskClasses, at_size, soft_mask
from maskfacegan.views import shaken

Stage = Literal["reconstruction", "edit", "noise", "done"]


@dataclass(frozen=True, eq=False)
class Order:
    """What is asked: ``columns`` of the guide and their ``targets`` (probabilities), the masks' classes, a factor on the edited
    part's area (None leaves it free), a factor on the in-region prior, a mask (1,1,S,S) of one's own, and whether the edit is
    about colour."""

    columns: tuple[int, ...]
    targets: tuple[float, ...]
    classes: MaskClasses
    area: float | None = None
    prior: float = 1.0
    own: Tensor | None = None
    coloured: bool = False


@dataclass(frozen=True)
class Point:
    """One step in the loss trace: its number from 0, the stage, the total and each weighted term."""

    step: int
    stage: Stage
    total: float
    terms: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Masks:
    """Soft masks (1,1,S,S): ``recon``, ``region`` (the edited part) and ``blend``, now; and the first ones."""

    recon: Tensor
    region: Tensor
    blend: Tensor

    def released(self, grown: Tensor, own: Tensor | None) -> Masks:
        """As dynamic masking moves them where the edited part has ``grown`` to; the blend follows, inside an own mask."""
        blend = (self.blend + grown).clamp(0, 1)
        blend = blend if own is None else blend * own
        return Masks((self.recon - grown).clamp(0, 1), (self.region + grown).clamp(0, 1), blend)


def masks_of(parsing: Tensor, order: Order, size: int) -> Masks:
    """The masks that ``order`` starts with, from the photo's parsing (1,9,h,w)."""
    recon = at_size(soft_mask(parsing, order.classes.recon), size)
    blend = at_size(soft_mask(parsing, order.classes.blend), size)
    region = at_size(soft_mask(parsing, order.classes.shape), size) if order.classes.local else blend
    if order.own is not None:
        # One's own mask is the edited part: it is free, all else is held, and nothing outside it is blended.
        recon = (1 - order.own) * (1 if not order.classes.local else recon)
        region, blend = order.own, order.own
    return Masks(recon.clamp(0, 1), region.clamp(0, 1), blend.clamp(0, 1))


def factor(index: int, steps: int, ramp: tuple[float, float]) -> float:
    """Factor on the learning rate: a linear rise over the first share, half a cosine down over the last."""
    rise, fall = ramp[0] * steps, ramp[1] * steps
    up = min(1.0, (index + 1) / rise) if rise >= 1 else 1.0
    left = steps - index
    down = 0.5 * (1 - math.cos(math.pi * min(1.0, left / fall))) if fall >= 1 else 1.0
    return up * down


class Optimisation:
    """One edit of one photo.

    photo (1,3,S,S) in [-1, 1]; projected (1,L,D): the photo's code; reconstructed (1,L,D): the code of a finished
    reconstruction stage of this photo and mask, which is then left out; all on the networks' device. ``reduced`` optimises
    at half the size, for devices with little memory.
    """

    def __init__(
        self,
        networks: Networks,
        preset: Preset,
        order: Order,
        photo: Tensor,
        projected: Tensor,
        *,
        reconstructed: Tensor | None = None,
        reduced: bool = False,
        seed: int = 0,
    ) -> None:
        self.networks, self.preset, self.order, self.photo = networks, preset, order, photo
        self.local = order.classes.local
        self.weights: Weights = preset.weights if self.local else preset.everywhere
        self.size = photo.shape[-1] // (2 if reduced else 1)
        spread = (projected - networks.mean).square().mean().sqrt().clamp_min(1e-3)
        self.spread = spread if preset.relative else torch.ones_like(spread)
        start = projected if reconstructed is None else reconstructed
        if preset.start == "mean" and self.local and reconstructed is None:
            start = networks.mean[None].expand_as(projected)
        self.moves = Moves(start.detach().clone(), networks.axes if preset.whitened else None, preset.rows)
        with torch.no_grad():
            self.parsing = networks.parsing(photo)
            self.first = masks_of(self.parsing, order, photo.shape[-1])
            self.masks = self.first
            self.hair = soft_mask(self.parsing, order.classes.shape) if "hair" in order.classes.shape else None
            self.read = networks.guide(photo)
            self.wanted = networks.perceptual.features(photo)
        self.targets = torch.tensor([order.targets], device=photo.device)
        self.steps: dict[Stage, int] = {
            "reconstruction": 0 if reconstructed is not None or not self.local else self._reconstruction(),
            "edit": preset.edit if self.local else preset.edit_global,
            "noise": preset.noise,
        }
        self.stage: Stage = "reconstruction" if self.steps["reconstruction"] else "edit"
        self.index, self.done_steps = 0, 0
        self.early = False
        self.draws = torch.Generator().manual_seed(seed)
        self.noise = self._silent() if preset.drawn_noise else None
        self.adam = self._adam()
        self.begun = self.code.detach().clone()
        self.image = photo
        self.rendered: Tensor | None = None

    @property
    def code(self) -> Tensor:
        """The code (1,L,D) now."""
        return self.moves.code

    def _reconstruction(self) -> int:
        return self.preset.reconstruction if self.preset.start == "mean" else self.preset.from_projection

    @property
    def total(self) -> int:
        """Steps of all stages, if none ends early."""
        return sum(self.steps.values())

    @property
    def finished(self) -> bool:
        return self.stage == "done"

    def _silent(self) -> list[Tensor]:
        return [torch.zeros_like(n) for n in self.networks.generator.noise_maps(None, 1)]

    def _drawn(self) -> list[Tensor]:
        return [torch.randn(n.shape, generator=self.draws).to(n) for n in self.networks.generator.noise_maps(None, 1)]

    def _adam(self) -> torch.optim.Optimizer:
        if self.stage == "noise":
            assert self.noise is not None
            return torch.optim.Adam(self.noise, lr=self.preset.rate_noise)
        return self.moves.optimiser(self.preset.rate)

    # rendering and terms

    def render(self, size: int | None = None) -> Tensor:
        """The picture (1,3,S,S) of the code and noise now."""
        full = self.networks.generator.size
        until = size if size is not None and size < full else None
        return self.networks.generator.synthesis(self.code, self.noise, until=until)

    @torch.no_grad()
    def weight(self) -> Tensor:
        """Blend weights (1,1,S,S) now, exactly 0 where the photo's pixels stay."""
        feather = FINE_FEATHER if "hair" in self.order.classes.blend else FEATHER
        found = alpha(self.masks.blend, hardened=self.preset.hardened, feather=feather)
        # A hand-drawn mask is a promise: the feather goes inwards only.
        return found if self.order.own is None else found * (self.order.own > 0)

    @torch.no_grad()
    def before(self) -> Tensor:
        """The rendering (1,3,S,S) of the code with which the edit began, under the noise of now."""
        if self.preset.drawn_noise:
            return self.networks.generator.synthesis(self.begun, self.noise)
        if self.rendered is None:
            self.rendered = self.networks.generator.synthesis(self.begun, self.noise)
        return self.rendered

    def composed(self, image: Tensor) -> Tensor:
        """``image`` (1,3,s,s) in the photo, without a seam: what the edit will look like."""
        size = image.shape[-1]
        photo, weight = at_size(self.photo, size), at_size(self.weight(), size)
        front = photo + image - at_size(self.before(), size) if self.preset.difference else image
        return weight * front + (1 - weight) * photo

    def _size(self) -> int:
        coarse = self.stage == "reconstruction" and self.index < self.preset.coarse * self.steps["reconstruction"]
        return min(self.size, self.photo.shape[-1] // 2) if coarse else self.size

    def _held(self) -> Tensor:
        """Where the picture must be the photo in this stage."""
        if self.stage == "reconstruction" and self.preset.whole:
            return at_size(1 - self.parsing[:, :1], self.photo.shape[-1])
        return self.masks.recon

    def _guided(self, image: Tensor) -> Tensor:
        """The guide's logits (1,40), mean over the preset's views of ``image``."""
        seen = [image] if self.preset.views < 2 else [image, image.flip(3)]
        seen += [shaken(image, self.draws) for _ in range(self.preset.views - 2)]
        return self.networks.guide(torch.cat(seen)).mean(0, keepdim=True)

    def _latent_terms(self, image: Tensor) -> tuple[dict[str, Tensor], Tensor | None]:
        w, size = self.weights, image.shape[-1]
        photo, held = at_size(self.photo, size), at_size(self._held(), size)
        perceptual = self.networks.perceptual
        terms: dict[str, Tensor] = {}
        mse = w.mse if self.local else w.global_mse
        if mse:
            # Of an edit that is added as a difference only what it changes counts, not what the rendering lacks.
            aim = at_size(self.before(), size) if self.preset.difference and self.stage == "edit" else photo
            terms["mse"] = mse * losses.masked_mse(image / 2, aim / 2, held)
        rendering = image
        if self.preset.composed and self.stage == "edit":
            image = self.composed(image)
        region = w.region * self.order.prior if self.stage == "edit" and self.local else 0.0
        if not self.local or region:
            seen, wanted = perceptual.features(image), self.wanted
            if not self.local:
                scale = w.lpips if perceptual.name == "lpips" else w.features
                terms[perceptual.name] = scale * perceptual.distance(seen, wanted, held)
            if region:
                terms["region"] = region * perceptual.distance(seen, wanted, at_size(self.first.region, size))
        if self.stage != "edit":
            return terms, None
        logits = self._guided(image)
        terms["classifier"] = w.classifier * losses.classifier_loss(logits[:, list(self.order.columns)], self.targets)
        if w.others:
            rest = [c for c in range(logits.shape[1]) if c not in self.order.columns]
            terms["others"] = w.others * losses.classifier_loss(logits[:, rest], self.read[:, rest].sigmoid())
        if w.tint and not self.order.coloured:
            terms["tint"] = w.tint * losses.tint_loss(image / 2, photo / 2, at_size(self.masks.blend, size))
        if w.delta:
            terms["delta"] = w.delta * self.order.prior * self.moves.length(float(self.spread))
        terms.update(self._shape_terms(rendering))
        return terms, logits

    def _shape_terms(self, image: Tensor) -> dict[str, Tensor]:
        """Hair keeps its shape; the edited part takes the area that was asked for."""
        looking = self.index % self.preset.look_every == 0
        area = self.order.area if self.local else None
        if not looking or (self.hair is None and area is None):
            return {}
        w, parsing, found = self.weights, self.networks.parsing(image), {}
        now = soft_mask(parsing, self.order.classes.shape)
        # Looking less often and counting each look more keeps the balance of the terms.
        often = float(self.preset.look_every)
        if self.hair is not None and area is None:
            found["shape"] = often * w.shape * losses.shape_loss(now, self.hair)
        if area is not None:
            start = soft_mask(self.parsing, self.order.classes.shape)
            found["size"] = often * w.size * losses.size_loss(now, start, area)
        return found

    def _noise_terms(self, image: Tensor) -> dict[str, Tensor]:
        assert self.noise is not None
        w = self.weights
        scale = w.mse if self.local else w.lpips
        photo, held = at_size(self.photo, image.shape[-1]), at_size(self.masks.recon, image.shape[-1])
        terms = {"mse": scale * losses.masked_mse(image / 2, photo / 2, held)}
        terms["noise"] = w.noise * losses.noise_regularize(self.noise)
        return terms

    # steps

    def step(self) -> Point:
        """One step of the stage that is on. Raises RuntimeError once finished."""
        if self.finished:
            raise RuntimeError("the optimisation has ended")
        stage, steps = self.stage, self.steps[self.stage]
        if stage == "edit" and self.preset.drawn_noise and self.index == self._noise_from():
            self.noise = self._drawn()
        base = self.preset.rate_noise if stage == "noise" else self.preset.rate * self.moves.unit(float(self.spread))
        for group in self.adam.param_groups:
            group["lr"] = base * factor(self.index, steps, self.preset.ramp)
        with torch.enable_grad():
            image = self.render(self._size())
            terms, logits = (self._noise_terms(image), None) if stage == "noise" else self._latent_terms(image)
            total = torch.stack([term.sum() for term in terms.values()]).sum()
            variables = self.noise if stage == "noise" and self.noise is not None else self.moves.variables
            grads = torch.autograd.grad(total, variables, allow_unused=True)
        for variable, grad in zip(variables, grads, strict=True):
            variable.grad = grad
        self.adam.step()
        if stage == "noise":
            self._normalise()
        self.image = image.detach()
        if stage == "edit" and self.local and self.index < self.preset.dynamic:
            self._release()
        values = {name: float(term.detach().sum()) for name, term in terms.items()}
        point = Point(self.done_steps, stage, float(total.detach()), values)
        self._advance(logits)
        return point

    def _noise_from(self) -> int:
        """When the edit's noise maps are drawn: the release does so after dynamic masking, or after as many global steps."""
        return self.preset.dynamic if self.local else self.steps["edit"]

    @torch.no_grad()
    def _normalise(self) -> None:
        assert self.noise is not None
        for noise in self.noise:
            noise.copy_(losses.noise_normalized(noise))

    @torch.no_grad()
    def _release(self) -> None:
        """Dynamic masking: where the edited part has grown to, the picture is free and the blend follows."""
        if self.index % self.preset.look_every:
            return
        grown = at_size(soft_mask(self.networks.parsing(self.image), self.order.classes.shape), self.photo.shape[-1])
        self.masks = self.first.released(grown, self.order.own)
        if self.hair is not None and "ears" in self.order.classes.shape:
            small = at_size(grown, self.hair.shape[-1])
            self.hair = (soft_mask(self.parsing, self.order.classes.shape) + small).clamp(0, 1)

    def _advance(self, logits: Tensor | None) -> None:
        self.index += 1
        self.done_steps += 1
        if logits is not None and self.preset.patience and self.index >= self.steps["edit"] // 3:
            near = (logits[:, list(self.order.columns)].sigmoid() - self.targets).abs().max()
            self.early = bool(near < self.preset.patience)
        if self.index >= self.steps[self.stage] or (self.stage == "edit" and self.early):
            self._next()

    def _next(self) -> None:
        order: tuple[Stage, ...] = ("reconstruction", "edit", "noise", "done")
        following = order[order.index(self.stage) + 1]
        self.index = 0
        if following == "noise" and not self.steps["noise"]:
            following = "done"
        self.stage = following
        if following == "done":
            return
        if following == "edit":
            self.begun = self.code.detach().clone()
            self.moves = self.moves.onward()
        if following == "noise":
            drawn = self.noise if self.noise is not None and any(bool(n.any()) for n in self.noise) else self._drawn()
            self.noise = [n.detach().clone().requires_grad_(True) for n in drawn]
        self.adam = self._adam()

    # restart

    def state(self) -> dict[str, Any]:
        """Everything that ``restore`` needs, tensors on the CPU; for ``torch.save`` and ``weights_only`` loading."""
        noise = None if self.noise is None else [n.detach().cpu().clone() for n in self.noise]
        named = {name: getattr(self.masks, name).cpu().clone() for name in ("recon", "region", "blend")}
        return {
            "stage": self.stage,
            "index": self.index,
            "done_steps": self.done_steps,
            "moves": self.moves.state(),
            "begun": self.begun.cpu().clone(),
            "noise": noise,
            "masks": named,
            "hair": None if self.hair is None else self.hair.cpu().clone(),
            "draws": self.draws.get_state(),
            "adam": copy.deepcopy(self.adam.state_dict()),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken, with the same photo, order and preset."""
        device = self.photo.device
        self.stage, self.index, self.done_steps = state["stage"], int(state["index"]), int(state["done_steps"])
        self.moves.restore(state["moves"])
        self.rendered = None
        self.begun = state["begun"].to(device)
        grows = self.stage == "noise"
        self.noise = None if state["noise"] is None else [
            n.to(device).clone().requires_grad_(grows) for n in state["noise"]
        ]  # fmt: skip
        self.masks = replace(self.masks, **{name: mask.to(device) for name, mask in state["masks"].items()})
        self.hair = None if state["hair"] is None else state["hair"].to(device)
        self.draws.set_state(state["draws"])
        if not self.finished:
            self.adam = self._adam()
            self.adam.load_state_dict(state["adam"])
