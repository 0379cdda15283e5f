"""One training step of SDFlow's estimator and flow, apart from any loop (arXiv 2309.05314, its code's defects mended).

``faithful`` is the published setting. ``default`` differs where the published code hurts itself: exact gradients
through RK4 instead of an adjoint, pictures shrunk by area, both passes on the same statistics, and the estimator's
statistics from photos alone. In both, the generator is frozen and every solve keeps its own probe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.attributes import CELEBA_ATTRIBUTES
from sdflow import losses
from sdflow.estimator import SemanticEstimator
from sdflow.model import ConditionalFlow, Pending
from sdflow.solver import Solver


@dataclass(frozen=True)
class SDFlowConfig:
    """Settings of the step.

    kd, nll, mi, reg: weights of the paper's losses. attr, keep, identity, natural: weights of ours (guidance by a frozen
    classifier: the change and the other attributes; face embedding; how far the move leaves the direction photos differ in), off by
    default. reach: goals are drawn from [-reach, 1 + reach], the ends among them, because the editor goes to -0.2 and
    1.2; 0 draws them evenly from [0, 1] as published. render_every: pictures are
    rendered, and the losses on them taken, on every such step; in the others only ``rows`` random rows of a code are
    used (None: all).
    """

    attributes: tuple[str, ...] = ("Eyeglasses", "Male", "Smiling", "Wavy_Hair", "Young")
    kd: float = 1.0
    nll: float = 1.0
    mi: float = 1.0
    reg: float = 1.0
    attr: float = 0.0
    keep: float = 0.0
    identity: float = 0.0
    natural: float = 0.0
    reach: float = 0.0
    gradient: Literal["unroll", "adjoint"] = "unroll"
    steps: int = 8
    tolerance: float = 1e-5
    resize: Literal["area", "nearest"] = "area"
    same_statistics: bool = True
    render_every: int = 1
    rows: int | None = None
    learning_rate: float = 1e-4

    @property
    def solver(self) -> Solver:
        """The solver of both passes."""
        if self.gradient == "adjoint":
            return Solver("dopri5", tolerance=self.tolerance, adjoint=True)
        return Solver("rk4", steps=self.steps, check=False)


DEFAULT = SDFlowConfig()
FAITHFUL = SDFlowConfig(
    attributes=("Eyeglasses", "Male", "Young"), gradient="adjoint", resize="nearest", same_statistics=False
)
PRESETS: Mapping[str, SDFlowConfig] = {"default": DEFAULT, "faithful": FAITHFUL}


class Renderer(Protocol):
    """What the step asks of a generator."""

    def synthesis(self, codes: Tensor, /) -> Any: ...


@dataclass(frozen=True, eq=False)
class Usual:
    """How real photos' rows of W+ differ: inverse covariance ``precision`` (D,D), ``directions`` (n,D) by attribute."""

    precision: Tensor
    directions: Tensor


@dataclass(frozen=True, eq=False)
class Draws:
    """The chances of one step: entry ``chosen`` (B,) and its ``value`` (B,), probes (B,L,D) of both solves, ``rows``.

    Made for the whole batch; ``part`` takes the share of one process.
    """

    chosen: Tensor
    value: Tensor
    probe: Tensor
    probe_back: Tensor
    rows: Tensor

    def part(self, share: slice) -> Draws:
        """The draws of some of the samples."""
        return Draws(self.chosen[share], self.value[share], self.probe[share], self.probe_back[share], self.rows)


class SDFlowTask:
    """Trains ``estimator`` and ``flow`` together on photos, their W+ codes and labels.

    generator: frozen, needed when ``mi``, ``attr``, ``keep`` or ``identity`` is on. classifier: frozen, pictures
    (B,3,H,W) to 40 logits in CelebA's order, needed by ``attr`` and ``keep``. embedder: frozen, pictures to unit rows,
    needed by ``identity``. usual: how real codes differ, needed by ``natural``. view: moves pictures
    (B,C,H,W) a little before classifier and embedder look at them, so that no edit hangs on single pixels.
    Raises ValueError when one is missing.
    """

    def __init__(
        self,
        config: SDFlowConfig,
        estimator: SemanticEstimator,
        flow: ConditionalFlow,
        generator: nn.Module | None = None,
        *,
        classifier: nn.Module | None = None,
        embedder: nn.Module | None = None,
        usual: Usual | None = None,
        view: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if (config.mi or config.attr or config.keep or config.identity) and generator is None:
            raise ValueError("losses on edited pictures need a generator")
        if (config.attr or config.keep) and classifier is None:
            raise ValueError("guidance by attributes needs a classifier")
        if config.identity and embedder is None:
            raise ValueError("the identity loss needs an embedder")
        if config.natural and usual is None:
            raise ValueError("the loss on unusual moves needs to know the usual ones")
        if not len(config.attributes) == estimator.attributes == flow.attributes:
            counts = f"{estimator.attributes} and {flow.attributes} outputs"
            raise ValueError(f"{len(config.attributes)} attributes, but {counts}")
        self.config, self.estimator, self.flow = config, estimator, flow
        self.generator, self.classifier, self.embedder = generator, classifier, embedder
        self.usual, self.view = usual, view
        for frozen in (generator, classifier, embedder):
            if frozen is not None:
                frozen.eval().requires_grad_(False)
        self.modules: dict[str, nn.Module] = {"estimator": estimator, "flow": flow}
        self._columns = [CELEBA_ATTRIBUTES.index(a) for a in config.attributes]

    def parameters(self) -> Iterator[nn.Parameter]:
        """All trained parameters."""
        for module in self.modules.values():
            yield from module.parameters()

    def optimizer(self) -> torch.optim.Adam:
        """Adam over both networks, as published."""
        return torch.optim.Adam(self.parameters(), lr=self.config.learning_rate)

    def renders(self, step_index: int) -> bool:
        """Whether this step takes the losses on edited pictures."""
        c = self.config
        return bool(c.mi or c.attr or c.keep or c.identity) and step_index % c.render_every == 0

    def draw(self, shape: Sequence[int], generator: torch.Generator) -> Draws:
        """The chances of a step for codes of ``shape`` (B,L,D), on the flow's device."""
        batch, rows, _ = shape
        where = next(self.flow.parameters()).device
        chosen = torch.randint(len(self._columns), (batch,), generator=generator, device=generator.device)
        value = torch.rand(batch, generator=generator, device=generator.device)
        reach = self.config.reach
        if reach:
            value = (value * (1 + 4 * reach) - 2 * reach).clamp(-reach, 1 + reach)
        order = torch.randperm(rows, generator=generator, device=generator.device)
        probes = [self.flow.probe(shape, generator) for _ in range(2)]
        some = order[: self.config.rows or rows].sort().values
        return Draws(chosen.to(where), value.to(where), probes[0], probes[1], some.to(where))

    def step(
        self, batch: Mapping[str, Tensor], step_index: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and numbers for the log. batch: image (B,3,H,W) in [-1, 1], code (B,L,D), labels (B,40) in [0, 1].

        An optional ``rendering`` (B,3,H,W) of the codes saves a pass when ours of the losses are on.
        """
        return self.loss(batch, step_index, self.draw(batch["code"].shape, generator))

    def loss(self, batch: Mapping[str, Tensor], step_index: int, draws: Draws) -> tuple[Tensor, dict[str, Tensor]]:
        """``step`` with given chances."""
        c, solver = self.config, self.config.solver
        self.estimator.train()
        self.flow.train()
        pending = Pending() if c.same_statistics else None
        code, probe, probe_back = batch["code"], draws.probe, draws.probe_back
        rendered = self.renders(step_index)
        if not rendered:
            code, probe, probe_back = code[:, draws.rows], probe[:, draws.rows], probe_back[:, draws.rows]
        estimate = self.estimator(batch["image"])
        there = self.flow(code, estimate, solver=solver, probe=probe, density="solve", pending=pending)
        assert there.logp is not None  # a density was asked for
        target = losses.change_one(estimate, draws.chosen, draws.value)
        back = self.flow(there.x, target, reverse=True, solver=solver, probe=probe_back)
        logs = {
            "kd": losses.kd_loss(estimate, batch["labels"][:, self._columns]),
            "nll": losses.nll_loss(there.x, there.logp),
            "reg": losses.reg_loss(back.x, code.to(back.x)),
        }
        total = c.kd * logs["kd"] + c.nll * logs["nll"] + c.reg * logs["reg"]
        if c.natural and self.usual is not None:
            directions = self.usual.directions[draws.chosen]
            logs["natural"] = losses.natural_loss(back.x, code, self.usual.precision, directions)
            total = total + c.natural * logs["natural"]
        if rendered:
            extra = self._on_pictures(batch, back.x, target, draws)
            weights = {"mi": c.mi, "attr": c.attr, "keep": c.keep, "identity": c.identity}
            for name, value in extra.items():
                total = total + weights[name] * value
            logs |= extra
        if pending is not None:
            pending.apply()
        numbers = {name: value.detach() for name, value in logs.items()}
        return total, {**numbers, "loss": total.detach(), "nfe": (there.nfe + back.nfe).float().mean()}

    def shrink(self, image: Tensor) -> Tensor:
        """Pictures (B,3,H,W) at the estimator's size, by the configured rule."""
        size = self.estimator.input_size
        if image.shape[-1] <= size:
            return image
        return F.interpolate(image, size=(size, size), mode=self.config.resize)

    def _read_edited(self, image: Tensor) -> Tensor:
        """The estimator on rendered pictures: by the statistics of photos, unless the published habit is wanted."""
        if self.config.same_statistics:
            self.estimator.eval()
        read = self.estimator(self.shrink(image))
        self.estimator.train()
        return read

    def _on_pictures(
        self, batch: Mapping[str, Tensor], edited: Tensor, target: Tensor, draws: Draws
    ) -> dict[str, Tensor]:
        c = self.config
        image = self._render(edited)
        out: dict[str, Tensor] = {}
        if c.mi:
            out["mi"] = losses.mi_loss(self._read_edited(image), target.clamp(0, 1))
        if not (c.attr or c.keep or c.identity):
            return out
        with torch.no_grad():
            # Against the rendering, not the photo: the projection's own losses are not the edit's.
            before = batch["rendering"] if "rendering" in batch else self._render(batch["code"])
        if self.view is not None:
            # Both in one draw: what is compared is seen from the same place.
            image, before = self.view(torch.cat([image, before.to(image)], 1)).chunk(2, 1)
        if self.classifier is not None and (c.attr or c.keep):
            with torch.no_grad():
                reference = torch.sigmoid(self.classifier(before).float())
            column = torch.tensor(self._columns, device=target.device)[draws.chosen]
            out["attr"], out["keep"] = losses.attribute_guidance(
                self.classifier(image).float(), reference, column, draws.value.clamp(0, 1)
            )
        if self.embedder is not None and c.identity:
            with torch.no_grad():
                original = self.embedder(before).float()
            out["identity"] = losses.identity_loss(self.embedder(image).float(), original)
        return out

    def _render(self, codes: Tensor) -> Tensor:
        return cast(Renderer, self.generator).synthesis(codes).clamp(-1, 1)

    @torch.no_grad()
    def evaluate(self, batch: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, float]:
        """Numbers on held-out data, with nothing trained and no statistics moved: kd, accuracy, nll and round trip."""
        self.estimator.eval()
        self.flow.eval()
        labels = batch["labels"][:, self._columns]
        estimate = self.estimator(batch["image"])
        probe = self.flow.probe(batch["code"].shape, generator)
        there = self.flow(batch["code"], estimate, probe=probe, density="solve")
        assert there.logp is not None  # a density was asked for
        back = self.flow(there.x, estimate, reverse=True)
        return {
            "kd": float(losses.kd_loss(estimate, labels)),
            "accuracy": float(((estimate > 0.5) == (labels > 0.5)).float().mean()),
            "nll": float(losses.nll_loss(there.x, there.logp)),
            "round_trip": float((back.x - batch["code"].to(back.x)).abs().max()),
        }
