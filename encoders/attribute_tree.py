"""The 40-attribute classifier of MaskFaceGAN: the "branched tiny" tree of arXiv 1904.02920 (``models/attribute_classifier``).

A trunk divides into ever narrower branches; each unit is a 3x3 convolution, ReLU and *then* batch norm. Eval mode: the
published network is only used frozen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.inputs import check_images

MEAN, STD = (0.5061, 0.4254, 0.3828), (0.2661, 0.2453, 0.2413)

TREE_ATTRIBUTES: tuple[str, ...] = (
    "Blurry", "Sideburns", "Wearing_Earrings", "Bald", "Goatee", "Mustache", "5_o_Clock_Shadow", "Arched_Eyebrows",
    "No_Beard", "Heavy_Makeup", "Male", "Wearing_Lipstick", "Black_Hair", "High_Cheekbones", "Smiling",
    "Mouth_Slightly_Open", "Oval_Face", "Bushy_Eyebrows", "Attractive", "Young", "Gray_Hair", "Brown_Hair",
    "Blond_Hair", "Pale_Skin", "Chubby", "Double_Chin", "Big_Nose", "Bags_Under_Eyes", "Wearing_Necklace",
    "Wearing_Necktie", "Rosy_Cheeks", "Bangs", "Wavy_Hair", "Straight_Hair", "Wearing_Hat", "Big_Lips", "Narrow_Eyes",
    "Pointy_Nose", "Receding_Hairline", "Eyeglasses",
)  # fmt: skip
"""CelebA names in the order of the tree's outputs."""

# Layers of one branch of each convolutional level: a number is a unit with that many input widths, "pool" halves.
LEVELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("01-06", ("conv", "conv", "pool", "conv", "conv", "pool", "conv", "conv")),
    ("06-11", ("conv", "pool", "conv", "conv", "conv", "pool", "conv")),
    ("11-12", ("conv",)),
    ("12-13", ("conv", "pool")),
)
# For every node its parent on the level above.
PARENTS: dict[str, tuple[int, ...]] = {
    "01-06": (0,),
    "06-11": (0, 0),
    "11-12": (0, 0, 1),
    "12-13": (0, 0, 0, 0, 1, 1, 1, 1, 1, 2),
    "13-14": (0, 1, 1, 1, 2, 2, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 8, 9),
    "14-15": (
        0, 1, 2, 2, 3, 3, 3, 3, 4, 4, 5, 6, 7, 7, 7, 8, 8, 9, 9, 9, 10, 10, 11, 11, 11, 12, 13, 13, 14, 15, 16, 16, 17,
    ),
    "15-16": (
        0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 7, 7, 8, 8, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
        26, 27, 28, 29, 29, 30, 31, 32,
    ),
}  # fmt: skip
DENSE = ("13-14", "14-15", "15-16")


def _branch(layers: Sequence[str], inputs: int, width: int) -> nn.Sequential:
    made: list[nn.Module] = []
    for layer in layers:
        if layer == "pool":
            made.append(nn.MaxPool2d(2))
        else:
            made += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(width)]
            inputs = width
    return nn.Sequential(*made)


class AttributeTree(nn.Module):
    """40 CelebA attributes: ``image`` (B,3,H,W) RGB in [-1,1] -> logits (B,40) in CelebA's order.

    The image is brought to ``input_size`` px by area averaging. ``tree_logits`` gives the published order and can leave out the
    branches that the wanted attributes do not need. ``width`` and ``dense`` are 64 and 128 in the published network.
    """

    def __init__(self, width: int = 64, input_size: int = 224, dense: int = 128) -> None:
        super().__init__()
        self.input_size = input_size
        self.register_buffer("celeba_mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("celeba_std", torch.tensor(STD).view(1, 3, 1, 1))
        self.conv_layers, self.fc_layers = nn.ModuleDict(), nn.ModuleDict()
        for name, layers in LEVELS:
            inputs = 3 if name == "01-06" else width
            self.conv_layers[name] = nn.ModuleList(_branch(layers, inputs, width) for _ in PARENTS[name])
        flat = width * (input_size // 32) ** 2
        for name, inputs in (("13-14", flat), ("14-15", dense)):
            units = ([nn.Linear(inputs, dense), nn.ReLU(), nn.BatchNorm1d(dense)] for _ in PARENTS[name])
            self.fc_layers[name] = nn.ModuleList(nn.Sequential(*unit) for unit in units)
        self.fc_layers["15-16"] = nn.ModuleList(nn.Sequential(nn.Linear(dense, 1)) for _ in PARENTS["15-16"])
        self.order = [TREE_ATTRIBUTES.index(name) for name in CELEBA_ATTRIBUTES]

    def _node(self, level: str, index: int, image: Tensor, known: dict[tuple[str, int], Tensor]) -> Tensor:
        key = (level, index)
        if key not in known:
            levels = list(PARENTS)
            above = levels.index(level) - 1
            x = image if above < 0 else self._node(levels[above], PARENTS[level][index], image, known)
            if level == "13-14":
                x = x.flatten(1)
            group = (self.fc_layers if level in DENSE else self.conv_layers).get_submodule(level)
            known[key] = group.get_submodule(str(index))(x)
        return known[key]

    def tree_logits(self, image: Tensor, columns: Sequence[int] | None = None) -> Tensor:
        """Logits (B,n) of ``columns`` (default all 40) in TREE_ATTRIBUTES's order, of ``image`` (B,3,H,W) in [-1,1]."""
        check_images(image)
        if tuple(image.shape[2:]) != (self.input_size, self.input_size):
            image = F.interpolate(image, (self.input_size, self.input_size), mode="area")
        x = (image.add(1).div(2) - self.get_buffer("celeba_mean")) / self.get_buffer("celeba_std")
        known: dict[tuple[str, int], Tensor] = {}
        wanted = range(len(TREE_ATTRIBUTES)) if columns is None else columns
        return torch.cat([self._node("15-16", column, x, known) for column in wanted], 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.tree_logits(image)[:, self.order]
