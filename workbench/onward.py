"""A code for an edited picture whose editor gave none, so that other editors can go on from it."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench import project as projection
from workbench.devices import lock
from workbench.face import Face
from workbench.weights import Store


@torch.no_grad()
def moved_code(store: Store, device: torch.device, face: Face, target: Tensor) -> Tensor:
    """The code (L,512) of ``face`` moved by what the projector sees change from its photo to ``target`` (3,S,S).

    The projector's own error cancels: an unchanged picture gives the face's own code, refined or exact as it was.
    """
    generator, projector = store.generator(), store.module("projector")
    with lock(device):
        before, after = (
            projection.encode(generator, projector, x.to(device)).float().cpu() for x in (face.target, target)
        )
    return face.latent.code + (after - before)
