"""The 40 attributes of CelebA, and the published attribute + age classifier of AdaTrans and SDFlow.

AdaTrans is Huang et al. 2023, arXiv 2307.07790; the file is ``r34_a40_age_256_classifier.pth``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.inputs import check_images, resize
from encoders.resnet import ResNet

CELEBA_ATTRIBUTES: tuple[str, ...] = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)
AGE_GROUPS: tuple[str, ...] = ("0-9", "10-19", "20-29", "30-39", "40-49", "50-69", "70-120")
N_ATTRIBUTES, N_AGE_BITS = len(CELEBA_ATTRIBUTES), len(AGE_GROUPS) - 1


def _head(width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(width, 1))


class StackedHeads(nn.Module):
    """All attribute heads as four batched matrix products, batch norms folded in: (B,width) -> (B,heads), eval only.

    Copies the numbers of ``heads``, so it is made anew when they change; nothing of it is in the state dict.
    """

    def __init__(self, heads: nn.ModuleList) -> None:
        super().__init__()
        layers = 4
        for layer in range(layers):
            weights, biases = zip(*(self._folded(head, layer) for head in heads), strict=True)
            self.register_buffer(f"weight{layer}", torch.stack(weights).transpose(1, 2), persistent=False)
            self.register_buffer(f"bias{layer}", torch.stack(biases)[:, None], persistent=False)
        self.layers = layers

    @staticmethod
    @torch.no_grad()
    def _folded(head: nn.Module, layer: int) -> tuple[Tensor, Tensor]:
        linear = head.get_submodule(str(3 * layer))
        assert isinstance(linear, nn.Linear)
        weight, bias = linear.weight.detach(), linear.bias.detach()
        if layer < 3:
            norm = head.get_submodule(str(3 * layer + 1))
            assert isinstance(norm, nn.BatchNorm1d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            gain = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
            weight, bias = weight * gain[:, None], (bias - norm.running_mean) * gain + norm.bias.detach()
        return weight.clone(), bias.clone()

    def forward(self, features: Tensor) -> Tensor:
        x = features[None].expand(self.get_buffer("bias0").shape[0], -1, -1)
        for layer in range(self.layers):
            x = torch.baddbmm(self.get_buffer(f"bias{layer}"), x, self.get_buffer(f"weight{layer}"))
            if layer < self.layers - 1:
                x = x.relu_()
        return x[..., 0].T


class AttributeAgeClassifier(nn.Module):
    """40 CelebA attributes and an ordinal age: forward ``image`` (B,3,H,W) RGB in [-1,1] -> logits (B,46).

    Columns 0..39 are CELEBA_ATTRIBUTES in order, 40..45 the six cumulative age bits. Images are brought to 256 px
    first, always: readouts of pictures classified at different sizes cannot be compared. One ResNet of ``depth``
    feeds the 40 heads, a second one gives the age, so ``attributes`` alone costs half.
    """

    input_size = 256

    def __init__(self, depth: int = 34) -> None:
        super().__init__()
        self.extractor = ResNet(depth, None)
        self.attr_heads = nn.ModuleList(_head(self.extractor.n_features) for _ in range(N_ATTRIBUTES))
        self.age_heads = ResNet(depth, N_AGE_BITS)
        self.stacked: StackedHeads | None = None

    def stack_heads(self) -> None:
        """From now on run the 40 heads as batched products in eval mode (copies their weights: 126 MB at depth 34).

        Fewer and larger kernels, which is what an accelerator wants; undone by ``train()`` and by loading weights.
        """
        self.stacked = StackedHeads(self.attr_heads)

    def train(self, mode: bool = True) -> AttributeAgeClassifier:
        """As nn.Module.train; training mode drops the stacked heads, because their numbers would go stale."""
        if mode:
            self.stacked = None
        return super().train(mode)

    def load_state_dict(self, *args, **named):
        """As nn.Module.load_state_dict; drops the stacked heads."""
        self.stacked = None
        return super().load_state_dict(*args, **named)

    def features(self, image: Tensor) -> Tensor:
        """Features (B,512) that the attribute heads read, of ``image`` (B,3,H,W) in [-1,1]."""
        check_images(image)
        return self.extractor(resize(image, self.input_size))

    def attributes(self, image: Tensor) -> Tensor:
        """Logits (B,40) of the attributes of ``image`` (B,3,H,W) in [-1,1]."""
        features = self.features(image)
        if self.stacked is not None and not self.training:
            return self.stacked(features)
        return torch.cat([head(features) for head in self.attr_heads], dim=1)

    def age(self, image: Tensor) -> Tensor:
        """Logits (B,6) of the cumulative age bits of ``image`` (B,3,H,W) in [-1,1]."""
        check_images(image)
        return self.age_heads(resize(image, self.input_size))

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([self.attributes(image), self.age(image)], dim=1)

    @staticmethod
    def age_group(logits: Tensor) -> Tensor:
        """Index (B,) into AGE_GROUPS of ``logits`` (B,46): the number of age bits above one half."""
        return (logits[:, N_ATTRIBUTES:] > 0).sum(dim=1)

    @staticmethod
    def decisions(logits: Tensor) -> Tensor:
        """Row (B,41) of ``logits`` (B,46): 0/1 for each attribute, then the age group, as SDFlow's editor reads it."""
        hard = (logits[:, :N_ATTRIBUTES] > 0).to(logits)
        return torch.cat([hard, AttributeAgeClassifier.age_group(logits)[:, None].to(logits)], dim=1)
