"""``torch.compile`` for the synthesis network, where a compiler is there."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from stylegan2.generator import Generator

Synthesis = Callable[[Tensor], Tensor]


def compiled_synthesis(generator: Generator, *, backend: str = "inductor") -> Synthesis:
    """The compiled ``codes (B,n_latent,style_dim) -> image (B,3,S,S)``, or the plain one with a warning.

    Compiles for one code on the generator's device at once, so that a missing compiler shows here and not at the
    first picture; another batch size compiles anew. The registered noise maps are used.
    """

    def plain(codes: Tensor) -> Tensor:
        return generator.synthesis(codes)

    try:
        compiled = torch.compile(plain, backend=backend)
        with torch.no_grad():
            compiled(torch.zeros(1, generator.n_latent, generator.style_dim, device=generator.conv1.conv.weight.device))
    except Exception as error:  # The compiler's own errors have no common class below Exception.
        warnings.warn(f"torch.compile does not work here, rendering without it: {error!s:.200}", stacklevel=2)
        return plain
    return compiled
