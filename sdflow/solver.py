"""Solvers of the flow: fixed-step RK4 checked by halving the step, and the authors' adaptive dopri5.

RK4 integrates the velocity alone unless a log-density is asked for. Its check compares each *sample* with the solution
of half as many steps, and only samples that fail go on with twice as many; so a sample's numbers do not depend on
what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sdflow.velocity import Field, PreparedField

Density = Literal["none", "solve", "quadrature"]


@dataclass(frozen=True)
class Solver:
    """How to integrate.

    rk4: ``steps`` steps (even when ``check`` is on); with ``check`` the error estimate, the largest absolute difference
    to the solution with half the steps over 15, must not exceed ``tolerance``, or the steps are doubled, up to
    ``max_steps``. The default tolerance is half of the published solver's own scatter (2e-3).
    dopri5: relative and absolute ``tolerance``, log-density always part of the state, as the authors run it.
    ``adjoint`` (dopri5 only) takes gradients by the adjoint method instead of through the solver.
    """

    method: Literal["rk4", "dopri5"] = "rk4"
    steps: int = 2
    check: bool = True
    tolerance: float = 1e-3
    max_steps: int = 256
    adjoint: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("rk4", "dopri5"):
            raise ValueError(f"solver must be 'rk4' or 'dopri5', not '{self.method}'")
        if self.steps < 1 or self.tolerance <= 0 or self.max_steps < self.steps:
            raise ValueError("a solver needs steps >= 1, tolerance > 0 and max_steps >= steps")
        if self.method == "rk4" and self.check and self.steps % 2:
            raise ValueError("the step-halving check needs an even number of steps")
        if self.adjoint and self.method != "dopri5":
            raise ValueError("the adjoint method goes with dopri5; RK4 is differentiated through its steps")


CHECKED = Solver()
OFFICIAL = Solver("dopri5", tolerance=1e-5)
UNROLLED = Solver("rk4", steps=8, check=False)
ADJOINT = Solver("dopri5", tolerance=1e-5, adjoint=True)


@dataclass(frozen=True, eq=False)
class Solution:
    """End state ``x`` (B,L,D) of a solve.

    ``logp`` (B,L,1): minus the integral of the divergence, or None; ``nfe`` (B,) evaluations spent on each sample;
    ``steps`` (B,) of the accepted solution; ``error`` (B,) its estimate, or None where nothing was checked.
    """

    x: Tensor
    logp: Tensor | None
    nfe: Tensor
    steps: Tensor
    error: Tensor | None


@dataclass(frozen=True, eq=False)
class _Path:
    states: list[Tensor]
    logp: Tensor | None
    half: Tensor | None


def _rk4(field: PreparedField, x: Tensor, size: Tensor, steps: int, density: bool, pair: bool) -> _Path:
    """Run ``steps`` steps of ``size``; with ``pair`` also, in the same evaluations, half as many of twice the size."""
    batch = x.shape[0]
    logp = x.new_zeros(*x.shape[:2], 1)
    h: Tensor = size.expand(batch).view(-1, 1, 1)
    half: Tensor | None = None
    states = [x]
    if pair:
        x, logp, h = torch.cat([x, x]), torch.cat([logp, logp]), torch.cat([h, 2 * h])
    for n in range(steps):
        if pair and n == steps // 2:
            half, pair = x[batch:], False
            x, logp, h = x[:batch], logp[:batch], h[:batch]
        slopes: list[Tensor] = []
        divergences: list[Tensor] = []
        for stage in (0, 1, 1, 2):
            at = (2 * n + stage, 4 * n + 2 * stage) if pair else (2 * n + stage,)
            point = x if not slopes else torch.addcmul(x, h * (0.5 * stage), slopes[-1])
            if density:
                slope, divergence = field.velocity_and_divergence(point, at)
                divergences.append(divergence)
            else:
                slope = field.velocity(point, at)
            slopes.append(slope)
        x = x + h / 6 * (slopes[0] + 2 * (slopes[1] + slopes[2]) + slopes[3])
        if density:
            d = divergences
            logp = logp - h / 6 * (d[0] + 2 * (d[1] + d[2]) + d[3])
        states.append(x[:batch])
    return _Path(states, logp if density else None, half)


def _simpson(field: PreparedField, states: Sequence[Tensor], size: Tensor) -> Tensor:
    """Minus the integral of the divergence (B,L,1) along a solved path: Simpson's rule in one batched evaluation."""
    steps = len(states) - 1
    _, values = field.velocity_and_divergence(torch.cat(list(states)), tuple(range(0, 2 * steps + 1, 2)))
    values = values.view(steps + 1, states[0].shape[0], -1, 1)
    weights = values.new_tensor([1, *[4, 2] * (steps // 2 - 1), 4, 1])
    return -(weights.view(-1, 1, 1, 1) * values).sum(0) * size / 3


def _solve_rk4(field: Field, x: Tensor, start: Tensor, end: Tensor, solver: Solver, density: Density) -> Solution:
    batch = x.shape[0]
    steps = solver.steps
    out, logp, half = x.clone(), None, None
    nfe = torch.zeros(batch, dtype=torch.long, device=x.device)
    taken, error = torch.full_like(nfe, steps), x.new_full((batch,), float("nan"))
    if density != "none":
        logp = x.new_zeros(*x.shape[:2], 1)
    todo = torch.arange(batch, device=x.device)
    while True:
        everything = todo.shape[0] == batch
        part, begin = (field, x) if everything else (field.select(todo), x[todo])
        fractions = torch.arange(2 * steps + 1, device=x.device, dtype=x.dtype) / (2 * steps)
        prepared = part.prepare(start + (end - start) * fractions)
        size = (end - start) / steps
        pair = solver.check and half is None
        path = _rk4(prepared, begin, size, steps, density == "solve", pair)
        half = path.half if pair else half
        last = path.states[-1]
        nfe[todo] += 6 * steps if pair else 4 * steps
        if half is None:
            estimate, good = None, torch.ones(len(todo), dtype=torch.bool, device=x.device)
        else:
            estimate = (last - half).detach().abs().flatten(1).amax(1) / 15
            good = estimate <= solver.tolerance
            if 2 * steps > solver.max_steps:
                good = torch.ones_like(good)
        delta = path.logp
        if density == "quadrature" and bool(good.any()):
            delta = _simpson(prepared, path.states, size)
            nfe[todo] += steps + 1
        if everything and bool(good.all()):
            return Solution(last, delta, nfe, taken.fill_(steps), estimate)
        done = todo[good]
        out = out.index_copy(0, done, last[good])
        taken[done] = steps
        if estimate is not None:
            error[done] = estimate[good]
        if logp is not None and delta is not None:
            logp = logp.index_copy(0, done, delta[good])
        if bool(good.all()):
            return Solution(out, logp, nfe, taken, error)
        todo, half, steps = todo[~good], last[~good], 2 * steps


def _solve_dopri5(field: Field, x: Tensor, logp: Tensor, start: Tensor, end: Tensor, solver: Solver) -> Solution:
    # The library builds its tables when it is imported; built in inference mode they could never be trained through.
    with torch.inference_mode(False):
        import torchdiffeq

    if field.probe is None:
        raise ValueError("dopri5 integrates the log-density as well and needs a probe")
    probe, function = field.probe, field.function
    count = 0

    def derivative(time: Tensor, state: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        nonlocal count
        count += 1
        field.tick()
        table = function.modulations(time.reshape(1), state[2])
        velocity, divergence = function.velocity_and_divergence(state[0], table, probe)
        return velocity, -divergence, torch.zeros_like(state[2])

    state, times = (x, logp, field.condition), torch.stack([start, end])
    tolerance = solver.tolerance
    if solver.adjoint:
        paths = torchdiffeq.odeint_adjoint(
            derivative, state, times, rtol=tolerance, atol=tolerance, method="dopri5",
            adjoint_params=tuple(function.parameters()),
        )  # fmt: skip
    else:
        paths = torchdiffeq.odeint(derivative, state, times, rtol=tolerance, atol=tolerance, method="dopri5")
    nfe = torch.full((x.shape[0],), count, dtype=torch.long, device=x.device)
    return Solution(paths[0][-1], paths[1][-1], nfe, torch.zeros_like(nfe), None)


def solve(
    field: Field,
    x: Tensor,
    start: Tensor,
    end: Tensor,
    solver: Solver = CHECKED,
    *,
    logp: Tensor | None = None,
    density: Density = "none",
) -> Solution:
    """Integrate ``x`` (B,L,D) along ``field`` from time ``start`` () to ``end`` ().

    density: "none"; "solve" integrates the log-density with the codes; "quadrature" adds it afterwards along the
    accepted path, which costs one batched evaluation. ``logp`` (B,L,1) is the value to start from. Raises ValueError
    when the density is asked for without a probe.
    """
    if solver.method == "dopri5":
        begin = x.new_zeros(*x.shape[:2], 1) if logp is None else logp
        found = _solve_dopri5(field, x, begin, start, end, solver)
        return found if density != "none" else Solution(found.x, None, found.nfe, found.steps, None)
    if density == "quadrature" and solver.steps % 2:
        raise ValueError("the quadrature of the log-density needs an even number of steps")
    found = _solve_rk4(field, x, start, end, solver, density)
    if found.logp is None:
        return found
    total = found.logp if logp is None else logp + found.logp
    return Solution(found.x, total, found.nfe, found.steps, found.error)
