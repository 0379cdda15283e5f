"""The four published checkpoints as one network each, told apart by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from iafaces.model import Code
from iafaces.official import PublishedDecoder, PublishedEncoder


class PublishedAutoencoder(nn.Module):
    """Encoder and decoder as published for ``size`` 256 or 1024, under the names of their file; image -> image.

    ``legacy_boxes`` defaults to how that file was trained. Raises KeyError for another size.
    """

    def __init__(self, size: int, *, cam: bool, legacy_boxes: bool | None = None) -> None:
        super().__init__()
        self.e_ema = PublishedEncoder.published(size)
        self.g_ema = PublishedDecoder.published(size, cam=cam, legacy_boxes=legacy_boxes)
        self.size = size

    def encode(self, image: Tensor) -> Code:
        """Content and the four embeddings of ``image`` (B,3,size,size)."""
        return Code(*self.e_ema(image))

    def nodes(self, image: Tensor) -> Tensor:
        """The four embeddings (B,4,D) of ``image`` alone."""
        return self.e_ema.nodes(image)

    def decode(self, code: Code) -> Tensor:
        """The picture of ``code``, with the stored noise."""
        return self.g_ema(code.content, code.nodes)

    def forward(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image))


def variant(encoder: Mapping[str, Tensor], decoder: Mapping[str, Tensor]) -> tuple[int, bool]:
    """(256 or 1024, whether CAM) of two published states."""
    return 1024 if "stem3.conv1.1.weight" in encoder else 256, "conv1.conv.layers2.0.weight" in decoder


def encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with the heads of the 1024 encoder under the evaluation code's name, whichever code saved it."""
    if "stem3.conv1.1.weight" not in state:
        return dict(state)
    return {f"layers2.{k.removeprefix('layers.')}" if k.startswith("layers.") else k: v for k, v in state.items()}


def from_state(body: Mapping[str, Any], *, legacy_boxes: bool | None = None) -> PublishedAutoencoder:
    """The network of a published file's table (``e_ema``, ``g_ema``; anything else in it is left aside).

    ``legacy_boxes`` defaults to how that file was trained. Raises KeyError or RuntimeError when the tables do not fit.
    """
    encoder, decoder = dict(body["e_ema"]), dict(body["g_ema"])
    size, cam = variant(encoder, decoder)
    with torch.device("meta"):
        made = PublishedAutoencoder(size, cam=cam, legacy_boxes=legacy_boxes)
    made.e_ema.load_state_dict(encoder_state(encoder), strict=True, assign=True)
    made.g_ema.load_state_dict(decoder, strict=True, assign=True)
    return made.eval().requires_grad_(False)
