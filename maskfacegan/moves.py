"""How a code may move: freely in W+, or along W's principal axes in units of its spread.

Adam steps of one length in every direction leave W where it is thin: the last of 512 axes of a trained generator is a
twentieth of the first. In whitened coordinates every step is as likely as any other, the rows of W+ move together but for a
small part of their own, and ``Even`` spends the step on the axes that matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

DRAWS = 4096
AXES = 200
"""How many axes an edit moves along; the others hold little of a face and much that only a classifier sees."""


@torch.no_grad()
def principal_axes(map_to_w: Callable[[Tensor], Tensor], width: int, device: torch.device | str = "cpu") -> Tensor:
    """(K,D) principal axes of ``map_to_w`` (N,width) -> (N,D) over DRAWS normal draws, the longest first."""
    z = torch.randn(DRAWS, width, generator=torch.Generator().manual_seed(0)).to(device)
    w = map_to_w(z).float().cpu()
    values, vectors = torch.linalg.eigh((w - w.mean(0)).T @ (w - w.mean(0)) / (len(w) - 1))
    lengths = values.clamp_min(0).sqrt().flip(0)
    kept = lengths > 1e-3 * lengths[0]
    return (vectors.T.flip(0) * lengths[:, None])[kept][:AXES].contiguous().to(device)


class Even(torch.optim.Optimizer):
    """Adam with one second moment per tensor: the step has the gradient's direction and a length of ``lr`` per coordinate (RMS).

    Adam proper gives every coordinate the same step, also those whose gradient is next to nothing.
    """

    def __init__(self, variables: list[Tensor], lr: float, betas: tuple[float, float] = (0.8, 0.95)) -> None:
        super().__init__(variables, {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step along the gradients' running mean."""
        for group in self.param_groups:
            first, second = group["betas"]
            for variable in group["params"]:
                if variable.grad is None:
                    continue
                kept = self.state[variable]
                if not kept:
                    kept |= {"step": 0, "mean": torch.zeros_like(variable), "square": variable.new_zeros(())}
                kept["step"] += 1
                kept["mean"].lerp_(variable.grad, 1 - first)
                kept["square"].lerp_(variable.grad.square().mean(), 1 - second)
                mean = kept["mean"] / (1 - first ** kept["step"])
                length = (kept["square"] / (1 - second ** kept["step"])).sqrt()
                variable.sub_(group["lr"] * mean / (length + 1e-12))


class Moves:
    """A code (1,L,D) as where it ``begun`` plus a move, whose ``variables`` an optimiser changes.

    axes (K,D): the move is (shared + rows * own) @ axes, with shared (1,1,K) and own (1,L,K); None: it is own (1,L,D) itself.
    """

    def __init__(self, begun: Tensor, axes: Tensor | None, rows: float) -> None:
        self._begun, self._axes, self._rows = begun, axes, rows
        own = torch.zeros_like(begun if axes is None else begun.new_zeros(1, begun.shape[1], len(axes)))
        shared = [] if axes is None else [begun.new_zeros(1, 1, len(axes))]
        self.variables: list[Tensor] = [part.requires_grad_(True) for part in (*shared, own)]

    def _move(self) -> Tensor:
        if self._axes is None:
            return self.variables[0]
        shared, own = self.variables
        return shared + self._rows * own

    def optimiser(self, rate: float) -> torch.optim.Optimizer:
        """What changes the variables."""
        kind = torch.optim.Adam if self._axes is None else Even
        return kind(self.variables, lr=rate)

    @property
    def code(self) -> Tensor:
        """Where the code is (1,L,D)."""
        move = self._move()
        return self._begun + (move if self._axes is None else move @ self._axes)

    def unit(self, spread: float) -> float:
        """What a learning rate relative to W's ``spread`` is to be multiplied by."""
        return spread if self._axes is None else 1.0

    def length(self, spread: float) -> Tensor:
        """(1,) mean square of the move in units of W's spread: ``spread`` itself, or along each axis its own."""
        move = self._move() / (spread if self._axes is None else 1.0)
        return move.square().mean((1, 2))

    def onward(self) -> Moves:
        """The same code as a new beginning."""
        return Moves(self.code.detach().clone(), self._axes, self._rows)

    def state(self) -> dict[str, Any]:
        """For ``restore``, on the CPU."""
        return {"begun": self._begun.cpu().clone(), "variables": [v.detach().cpu().clone() for v in self.variables]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put ``state`` of the same kind of move in place of this one's."""
        device = self._begun.device
        self._begun = state["begun"].to(device)
        self.variables = [v.to(device).clone().requires_grad_(True) for v in state["variables"]]
