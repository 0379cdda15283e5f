"""SDFlow's conditional flow over W+ codes: moving batch norm, continuous flow, moving batch norm (arXiv 2309.05314).

The keys of the state dict are those of the authors' files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from sdflow.solver import CHECKED, Density, Solution, Solver, solve
from sdflow.velocity import Field, ODEFunction, _nothing
from workbench.errors import BadCheckpoint

LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True, eq=False)
class FlowResult:
    """Result of a pass through the flow.

    ``x`` (B,L,D); ``logp`` (B,L,1): the log-density the pass started from minus the log-determinant, or None;
    ``nfe`` and ``steps`` (B,) of all solves together; ``error`` (B,) the largest error estimate, or None.
    """

    x: Tensor
    logp: Tensor | None
    nfe: Tensor
    steps: Tensor
    error: Tensor | None


@dataclass(frozen=True)
class Pending:
    """Statistics a training pass has seen and not yet taken into the running ones. ``apply`` does that, once."""

    seen: list[tuple[MovingBatchNorm, Tensor]] = field(default_factory=list)

    def apply(self) -> None:
        """Update the running statistics of every norm that was passed."""
        for norm, rows in self.seen:
            norm.update(rows)
        self.seen.clear()


def _total(value: Tensor) -> Tensor:
    """Sum of ``value`` over all processes of a distributed run."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(value)
    return value


class MovingBatchNorm(nn.Module):
    """Per-channel affine norm by running statistics, in training too; ``weight`` is the log of the scale.

    forward: ``(x - mean) / sqrt(var + eps) * exp(weight) + bias``; ``reverse`` is its exact inverse.
    """

    running_mean: Tensor
    running_var: Tensor
    step: Tensor

    def __init__(self, width: int, eps: float = 1e-4, decay: float = 0.1) -> None:
        super().__init__()
        self.eps, self.decay = eps, decay
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("step", torch.zeros(1))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def update(self, x: Tensor) -> None:
        """Move the running statistics a tenth of the way to those of ``x`` (...,D), over all processes."""
        with torch.no_grad():
            rows = x.detach().reshape(-1, x.shape[-1])
            count = _total(rows.new_tensor(float(rows.shape[0])))
            mean = _total(rows.sum(0)) / count
            var = _total((rows - mean).square().sum(0)) / (count - 1)
            self.step += 1
            self.running_mean.lerp_(mean, self.decay)
            self.running_var.lerp_(var, self.decay)

    def forward(
        self, x: Tensor, logp: Tensor | None = None, *, reverse: bool = False, pending: Pending | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Normalise ``x`` (B,L,D); ``logp`` (B,L,1) loses the log-determinant (gains it in ``reverse``).

        In training mode a forward pass updates the statistics after use, at once or when ``pending`` is applied.
        """
        mean, var = self.running_mean.clone(), self.running_var.clone()
        scale = torch.exp(self.weight) * torch.rsqrt(var + self.eps)
        change = (self.weight - 0.5 * torch.log(var + self.eps)).sum()
        if reverse:
            return (x - self.bias) / scale + mean, None if logp is None else logp + change
        if self.training:
            if pending is None:
                self.update(x)
            else:
                pending.seen.append((self, x.detach()))
        return (x - mean) * scale + self.bias, None if logp is None else logp - change


class CNF(nn.Module):
    """The continuous flow: integrates the ODE from 0 to ``sqrt_end_time`` squared, or back."""

    def __init__(self, width: int, hidden: Sequence[int], attributes: int) -> None:
        super().__init__()
        self.sqrt_end_time = nn.Parameter(torch.ones(()))
        self.odefunc = ODEFunction(width, hidden, attributes)

    def forward(
        self, x: Tensor, velocity: Field, logp: Tensor | None, reverse: bool, solver: Solver, density: Density
    ) -> Solution:
        """Solve for ``x`` (B,L,D) along ``velocity``."""
        end = self.sqrt_end_time.square()
        zero = torch.zeros_like(end)
        times = (end, zero) if reverse else (zero, end)
        return solve(velocity, x, *times, solver, logp=logp, density=density)


class ConditionalFlow(nn.Module):
    """Invertible map between rows of W+ codes and a standard normal, under a condition of ``attributes`` numbers.

    Every row of a code is mapped on its own with the same weights. ``width`` is the length of a row, ``hidden`` the
    widths inside the ODE function, ``blocks`` the number of continuous flows; the defaults are the authors'.
    """

    def __init__(
        self, attributes: int, *, width: int = 512, hidden: Sequence[int] = (512,) * 5, blocks: int = 1
    ) -> None:
        super().__init__()
        self.attributes, self.width = attributes, width
        chain: list[nn.Module] = [MovingBatchNorm(width)]
        for _ in range(blocks):
            chain += [CNF(width, tuple(hidden), attributes), MovingBatchNorm(width)]
        self.chain = nn.ModuleList(chain)

    def probe(self, shape: Sequence[int], generator: torch.Generator) -> Tensor:
        """A Hutchinson probe of ``shape`` (B,L,D) or (L,D), standard normal, on the flow's device."""
        reference = next(self.parameters())
        draw = torch.randn(tuple(shape), generator=generator, device=generator.device)
        return draw.to(device=reference.device, dtype=reference.dtype)

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        logp: Tensor | None = None,
        *,
        reverse: bool = False,
        solver: Solver = CHECKED,
        probe: Tensor | None = None,
        density: Density = "none",
        pending: Pending | None = None,
        tick: Any = _nothing,
    ) -> FlowResult:
        """Map codes to z, or with ``reverse`` z to codes: ``x`` (B,L,D), ``condition`` (B,n).

        ``logp`` (B,L,1): log-density to start from (zeros when a ``density`` is asked for). probe: (B,L,D) or (L,D),
        the same for all samples; needed for a density and for dopri5. A forward pass that starts at zero returns d,
        minus the log-determinant of the map, so that ``log p(w) = log N(z) - d``.
        Raises ValueError when a shape does not fit.
        """
        if x.ndim != 3 or x.shape[2] != self.width:
            raise ValueError(f"codes must be (B,L,{self.width}), not {tuple(x.shape)}")
        if condition.shape != (x.shape[0], self.attributes):
            raise ValueError(f"the condition must be ({x.shape[0]},{self.attributes}), not {tuple(condition.shape)}")
        if density == "none" and logp is not None:
            density = "solve"
        # The steps of a solver add up errors that bf16 cannot hold.
        with torch.autocast(x.device.type, enabled=False):
            kind = self.get_parameter("chain.0.weight").dtype
            x, condition = x.to(kind), condition.to(kind)
            if probe is not None:
                probe = probe.to(kind).expand_as(x)
            if density != "none" and logp is None:
                logp = x.new_zeros(*x.shape[:2], 1)
            nfe = torch.zeros(x.shape[0], dtype=torch.long, device=x.device)
            steps, error = nfe.clone(), None
            for module in reversed(self.chain) if reverse else self.chain:
                if isinstance(module, MovingBatchNorm):
                    x, logp = module(x, logp, reverse=reverse, pending=pending)
                elif isinstance(module, CNF):
                    found = module(x, Field(module.odefunc, condition, probe, tick), logp, reverse, solver, density)
                    x, nfe, steps = found.x, nfe + found.nfe, steps + found.steps
                    logp = logp if found.logp is None else found.logp
                    if found.error is not None:
                        error = found.error if error is None else torch.maximum(error, found.error)
            return FlowResult(x, logp, nfe, steps, error)


def standard_normal_logp(z: Tensor) -> Tensor:
    """Log-density (B,L,1) of each row of ``z`` (B,L,D) under a standard normal, in nats."""
    return -0.5 * (z.square().sum(-1, keepdim=True) + z.shape[-1] * LOG_2PI)


def log_likelihood(z: Tensor, forward_logp: Tensor) -> Tensor:
    """Log-likelihood per dimension (B,L) of codes with prior point ``z`` (B,L,D) and forward pass ``logp`` (B,L,1)."""
    return ((standard_normal_logp(z) - forward_logp) / z.shape[-1]).squeeze(-1)


def flow_arch(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Constructor arguments of the ConditionalFlow that ``state`` belongs to. Raises BadCheckpoint."""
    prefix = "chain.1.odefunc.diffeq.layers."
    try:
        context = state[f"{prefix}0._hyper_gate.weight"].shape[1]
        layers = 0
        while f"{prefix}{layers}._layer.weight" in state:
            layers += 1
        hidden = [int(state[f"{prefix}{i}._layer.weight"].shape[0]) for i in range(layers - 1)]
        width = int(state["chain.0.weight"].shape[0])
    except KeyError as error:
        raise BadCheckpoint(f"This is not a state of an SDFlow flow: it has no entry {error}.") from error
    blocks = sum(1 for key in state if key.endswith("sqrt_end_time"))
    return {"attributes": int(context) - 1, "width": width, "hidden": hidden, "blocks": blocks}
