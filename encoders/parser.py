"""The published face parser of MaskFaceGAN: DeepLabV3 (arXiv 1706.05587) on a dilated ResNet-50, nine classes.

Keys are those of the authors' ``models/face_parser/state.pt`` (``model.*``; its ``loss.weight`` is dropped by
``strip``). Written without torchvision.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.inputs import check_images
from encoders.resnet import Bottleneck, ResNet

FACE_CLASSES: tuple[str, ...] = (
    "background", "mouth", "eyebrows", "eyes", "hair", "nose", "skin", "ears", "belowface",
)  # fmt: skip
"""The nine classes, in the order of the published parser's outputs; every parser of ours has them too."""

RATES = (12, 24, 36)


def _unit(inputs: int, outputs: int, kernel: int, rate: int = 1) -> list[nn.Module]:
    padding = rate if kernel == 3 else 0
    conv = nn.Conv2d(inputs, outputs, kernel, padding=padding, dilation=rate, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _dilate(stage: nn.Module, first: int, rest: int) -> None:
    """Replace the stride of a ResNet stage by dilation: ``first`` in its first block, ``rest`` in the others."""
    blocks = [block for block in stage.children() if isinstance(block, Bottleneck)]
    for index, block in enumerate(blocks):
        rate = first if index == 0 else rest
        block.conv2.stride, block.conv2.padding, block.conv2.dilation = (1, 1), (rate, rate), (rate, rate)
        if block.downsample is not None:
            shortcut = block.downsample.get_submodule("0")
            assert isinstance(shortcut, nn.Conv2d)
            shortcut.stride = (1, 1)


class PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling: (B,inputs,h,w) -> (B,width,h,w)."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        branches = [nn.Sequential(*_unit(inputs, width, 1))]
        branches += [nn.Sequential(*_unit(inputs, width, 3, rate)) for rate in RATES]
        branches.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *_unit(inputs, width, 1)))
        self.convs = nn.ModuleList(branches)
        self.project = nn.Sequential(*_unit(len(branches) * width, width, 1), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        levels = [branch(x) for branch in self.convs]
        levels[-1] = levels[-1].expand(-1, -1, *size)
        return self.project(torch.cat(levels, 1))


class _DeepLab(nn.Module):
    def __init__(self, classes: int, width: int, head: int) -> None:
        super().__init__()
        self.backbone = ResNet(50, None, width=width)
        _dilate(self.backbone.layer3, 1, 2)
        _dilate(self.backbone.layer4, 2, 4)
        pyramid = PyramidPooling(self.backbone.n_features, head)
        self.classifier = nn.Sequential(pyramid, *_unit(head, head, 3), nn.Conv2d(head, classes, 1))

    def forward(self, x: Tensor) -> Tensor:
        net = self.backbone
        features = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
        logits = self.classifier(net.layer4(net.layer3(features)))
        return F.interpolate(logits, x.shape[2:], mode="bilinear", align_corners=False)


class FaceParser(nn.Module):
    """Soft parsing of an aligned face: ``image`` (B,3,H,W) RGB in [-1,1] -> logits (B,9,input_size,input_size).

    The image is brought to ``input_size`` by area averaging first, as the authors do; classes are FACE_CLASSES. ``width``
    and ``head`` are 64 and 256 in the published network; small ones are for tests.
    """

    def __init__(self, input_size: int = 512, *, width: int = 64, head: int = 256) -> None:
        super().__init__()
        self.input_size = input_size
        self.model = _DeepLab(len(FACE_CLASSES), width, head)

    def forward(self, image: Tensor) -> Tensor:
        check_images(image)
        if tuple(image.shape[2:]) != (self.input_size, self.input_size):
            image = F.interpolate(image, (self.input_size, self.input_size), mode="area")
        return self.model(image)

    @staticmethod
    def strip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The authors' state dict without the entry of their training loss."""
        return {key: value for key, value in state.items() if not key.startswith("loss.")}
