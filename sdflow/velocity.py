"""The velocity field of SDFlow's conditional continuous normalizing flow (arXiv 2309.05314; layers after FFJORD)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Modulation = tuple[Tensor, Tensor]


def per_sample(x: Tensor, weight: Tensor) -> Tensor:
    """``x`` (B,M,I) times the transpose of ``weight`` (O,I), each sample in a product of its own on a CPU.

    A product's last bits may depend on its number of rows, and on some processors those of a batched product on the number
    of products, so one call for all would let a sample's result depend on what else is in the batch. In training, and on
    devices where many small products are slow, all rows go together.
    """
    if x.device.type == "cpu" and not torch.is_grad_enabled():
        return torch.stack([F.linear(sample, weight) for sample in x])
    return F.linear(x, weight)


class ConcatSquash(nn.Module):
    """One layer ``(W x + b) * sigmoid(G c + g) + H c`` where c is the time followed by the condition."""

    def __init__(self, inputs: int, outputs: int, context: int) -> None:
        super().__init__()
        self._layer = nn.Linear(inputs, outputs)
        self._hyper_bias = nn.Linear(context, outputs, bias=False)
        self._hyper_gate = nn.Linear(context, outputs)

    @property
    def matrix(self) -> Tensor:
        """W (outputs,inputs)."""
        return self._layer.weight

    def modulation(self, context: Tensor) -> Modulation:
        """Gate and shift (B,T,outputs) for ``context`` (B,T,1+n): the layer is ``W x * gate + shift``."""
        gate = torch.sigmoid(per_sample(context, self._hyper_gate.weight) + self._hyper_gate.bias)
        return gate, torch.addcmul(per_sample(context, self._hyper_bias.weight), self._layer.bias, gate)


class Layers(nn.Module):
    """The list of layers under the key the authors gave it."""

    def __init__(self, widths: Sequence[int], context: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConcatSquash(a, b, context) for a, b in pairwise(widths))


class ODEFunction(nn.Module):
    """dx/dt for rows of ``width`` numbers under a condition of ``attributes`` numbers; tanh between the layers.

    Each row is moved on its own: no term couples the rows of a W+ code or knows their index.
    """

    def __init__(self, width: int, hidden: Sequence[int], attributes: int) -> None:
        super().__init__()
        self.diffeq = Layers((width, *hidden, width), 1 + attributes)
        # In the published files; evaluations are counted per solve instead, so that two threads can share a flow.
        self.register_buffer("_num_evals", torch.zeros(()))

    def _list(self) -> list[ConcatSquash]:
        return [layer for layer in self.diffeq.layers if isinstance(layer, ConcatSquash)]

    def modulations(self, times: Tensor, condition: Tensor) -> list[Modulation]:
        """Gates and shifts (B,T,H) of every layer for ``times`` (T,) and ``condition`` (B,n)."""
        shape = (condition.shape[0], times.shape[0])
        context = torch.cat([times[None, :, None].expand(*shape, 1), condition[:, None].expand(*shape, -1)], 2)
        return [layer.modulation(context) for layer in self._list()]

    def velocity(self, x: Tensor, modulations: Sequence[Modulation]) -> Tensor:
        """dx/dt (B,L,D) at ``x`` (B,L,D) with ``modulations`` (B,1,H) per layer."""
        for index, (layer, (gate, shift)) in enumerate(zip(self._list(), modulations, strict=True)):
            x = torch.addcmul(shift, per_sample(x if index == 0 else torch.tanh(x), layer.matrix), gate)
        return x

    def velocity_and_divergence(
        self, x: Tensor, modulations: Sequence[Modulation], probe: Tensor
    ) -> tuple[Tensor, Tensor]:
        """dx/dt (B,L,D) and Hutchinson's e.(df/dx)e (B,L,1) for ``probe`` e (B,L,D), by one forward-mode sweep.

        The tangent is carried along by hand: nothing needs autograd, so this also runs in inference mode.
        """
        batch = x.shape[0]
        tangent = probe
        for index, (layer, (gate, shift)) in enumerate(zip(self._list(), modulations, strict=True)):
            if index:
                x = torch.tanh(x)
                tangent = tangent * (1 - x * x)
            both = per_sample(torch.cat([x, tangent]), layer.matrix)
            x, tangent = torch.addcmul(shift, both[:batch], gate), both[batch:] * gate
        return x, (tangent * probe).sum(-1, keepdim=True)


def _nothing() -> None:
    """A tick that does nothing."""


@dataclass(frozen=True, eq=False)
class Field:
    """The velocity field of one solve: a condition (B,n) per sample, and the probe (B,L,D) that belongs to this solve.

    ``tick`` is called once per evaluation and may raise to stop the solve.
    """

    function: ODEFunction
    condition: Tensor
    probe: Tensor | None = None
    tick: Callable[[], None] = _nothing

    def select(self, samples: Tensor) -> Field:
        """The field of some of the samples, given by index."""
        probe = None if self.probe is None else self.probe[samples]
        return Field(self.function, self.condition[samples], probe, self.tick)

    def prepare(self, times: Tensor) -> PreparedField:
        """Gates and shifts for all ``times`` (T,) at once: a fixed-step solver knows them beforehand."""
        return PreparedField(self, self.function.modulations(times, self.condition))


@dataclass(frozen=True, eq=False)
class PreparedField:
    """A field at a table of times. ``at`` names the time of each chunk of B samples in x (len(at)*B,L,D)."""

    field: Field
    table: list[Modulation]

    def _at(self, at: tuple[int, ...]) -> list[Modulation]:
        if len(at) == 1:
            return [(gate[:, at[0], None], shift[:, at[0], None]) for gate, shift in self.table]
        return [(torch.cat([g[:, i, None] for i in at]), torch.cat([s[:, i, None] for i in at])) for g, s in self.table]

    def velocity(self, x: Tensor, at: tuple[int, ...]) -> Tensor:
        """dx/dt, shaped like ``x``."""
        self.field.tick()
        return self.field.function.velocity(x, self._at(at))

    def velocity_and_divergence(self, x: Tensor, at: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """dx/dt shaped like ``x`` and the divergence estimate (len(at)*B,L,1). Raises ValueError without a probe."""
        self.field.tick()
        if self.field.probe is None:
            raise ValueError("the log-density of a solve needs a probe")
        probe = self.field.probe.repeat(len(at), 1, 1)
        return self.field.function.velocity_and_divergence(x, self._at(at), probe)
