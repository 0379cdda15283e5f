"""Give a trained generator more channels without changing a picture: new ones are heard by nobody until training listens."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from stylegan2.generator import Generator
from workbench.errors import BadCheckpoint


def fitted(old: Tensor, new: Tensor, key: str) -> Tensor:
    """``old`` in the shape of ``new``: further outputs keep ``new``'s fresh values, further inputs begin at zero."""
    if old.shape == new.shape:
        return old
    if old.ndim != new.ndim or any(a > b for a, b in zip(old.shape, new.shape, strict=True)):
        raise BadCheckpoint(
            f"The generator to start from has more channels than the settings ('{key}' is {tuple(old.shape)}, "
            f"not {tuple(new.shape)}); a network can only be widened."
        )
    out = new.clone()
    if key.endswith("modulation.weight"):
        # New channels are scaled alike whatever the code is, as at the start of a run.
        out.zero_()
    if key.endswith("conv.weight"):
        outputs, inputs = old.shape[1:3]
        out[:, :outputs, inputs:] = 0
        # The run-time scale is 1 / sqrt(inputs k^2).
        old = old * math.sqrt(new.shape[2] / inputs)
    out[tuple(slice(0, n) for n in old.shape)] = old
    return out


@torch.no_grad()
def start_wider(generator: Generator, state: Mapping[str, Tensor]) -> None:
    """Load ``state`` of a generator of the same size and at most as many channels. Raises BadCheckpoint."""
    own = generator.state_dict()
    if "style.1.weight" in state and own["style.1.weight"].shape != state["style.1.weight"].shape:
        raise BadCheckpoint("The generator to start from has codes of another width than the settings say.")
    if own.keys() != state.keys():
        raise BadCheckpoint("The generator to start from has another size or mapping network than the settings say.")
    generator.load_state_dict({key: fitted(state[key], own[key], key) for key in own})
