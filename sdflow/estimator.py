"""The semantic estimator: a photo's attributes as the flow's condition (arXiv 2309.05314)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from encoders.inputs import resize
from encoders.resnet import ResNet
from workbench.errors import BadCheckpoint


class SemanticEstimator(nn.Module):
    """ResNet of ``depth`` with a sigmoid: one number in (0,1) per attribute. Keys as the authors' (``backbone.*``).

    The authors edit with depth 34 and train with 50, at 256 px and width 64; the starter family is slimmer.
    """

    def __init__(self, attributes: int, *, depth: int = 34, width: int = 64, input_size: int = 256) -> None:
        super().__init__()
        self.attributes, self.input_size = attributes, input_size
        self.backbone = ResNet(depth, attributes, width=width)

    def logits(self, image: Tensor) -> Tensor:
        """Values (B,n) before the sigmoid, for ``image`` (B,3,H,W) in [-1, 1] of any size."""
        # Renderings come with their channels last, and torch 2.13 then writes past its buffers in narrow networks.
        return self.backbone(resize(image, self.input_size).contiguous())

    def forward(self, image: Tensor) -> Tensor:
        """Semantic variables (B,n) in (0,1) of ``image`` (B,3,H,W) in [-1, 1] of any size."""
        return torch.sigmoid(self.logits(image).float())


def estimator_arch(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Constructor arguments of the SemanticEstimator that ``state`` belongs to, at 256 px. Raises BadCheckpoint.

    The authors' script trains another backbone than their editor loads, so the depth is read off the file.
    """
    try:
        attributes = int(state["backbone.fc.weight"].shape[0])
        width = int(state["backbone.conv1.weight"].shape[0])
    except KeyError as error:
        raise BadCheckpoint(f"This is not a state of an SDFlow estimator: it has no entry {error}.") from error
    if "backbone.layer1.0.conv3.weight" in state:
        depth = 101 if "backbone.layer3.22.conv1.weight" in state else 50
    else:
        depth = 34 if "backbone.layer3.5.conv1.weight" in state else 18
    return {"attributes": attributes, "depth": depth, "width": width, "input_size": 256}
