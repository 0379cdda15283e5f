"""The networks of IA-FaceS as published (Huang, Tu, Xu, arXiv 2203.13097), at 256 and 1024, with their authors' keys.

Encoder: image -> content tensor and four embeddings read from fixed boxes of a feature map. Decoder: a StyleGAN2 synthesis that
starts from the content, styled by all embeddings at once (plain), gated by each inside its box (CAM at 256), or both (CAM at
1024). Discriminator: StyleGAN2's without the minibatch statistic.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from iafaces.regions import COMPONENTS, grid_boxes
from stylegan2 import ops
from stylegan2.discriminator import conv_layer
from stylegan2.layers import BiasLeakyReLU, EqualConv2d, EqualLinear, Filter, NoiseInjection
from workbench.errors import BadImage

HEADS = (0, 0, 1, 2)
"""Which of the three heads (eye, nose, mouth) serves each component."""

Style = Literal["global", "none", "wrapped"]


def reflecting(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution with reflected borders, bias and leaky ReLU; index 0 of the keys is the border."""
    return nn.Sequential(nn.ReflectionPad2d(1), EqualConv2d(inputs, outputs, 3, bias=False), BiasLeakyReLU(outputs))


class Block(nn.Module):
    """Residual block that widens in its first convolution; ``down`` halves the size, ``reflect`` mirrors borders."""

    def __init__(self, inputs: int, outputs: int, *, down: bool = True, reflect: bool = True) -> None:
        super().__init__()
        self.conv1 = reflecting(inputs, outputs) if reflect else conv_layer(inputs, outputs, 3)
        self.conv2 = conv_layer(outputs, outputs, 3, down=True) if down else reflecting(outputs, outputs)
        self.skip = conv_layer(inputs, outputs, 1, down=down, activate=False, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x)) + self.skip(x)) / math.sqrt(2)


class PublishedEncoder(nn.Module):
    """Image (B,3,size,size) in [-1, 1] -> content (B,C,h,w) and embeddings (B,4,feats_dim).

    ``widths``: channels at size, size/2, ...; ``components``: channels of a map of its own that the embeddings are read from
    (1024), or None for the trunk's last one (256). Raises BadImage for a picture of another size: the boxes would be misplaced.
    """

    def __init__(
        self,
        size: int = 256,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        *,
        content: int = 512,
        components: int | None = None,
        feats_dim: int = 256,
    ) -> None:
        super().__init__()
        self.size = size
        blocks = [Block(a, b) for a, b in itertools.pairwise(widths)]
        self.stem = nn.Sequential(conv_layer(3, widths[0], 1), *blocks)
        head = Block(widths[-1], content)
        self.box = grid_boxes(size >> len(blocks))
        areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in self.box[1:]]
        self.separate = components is not None
        channels = components if components is not None else widths[-1]
        heads = nn.ModuleList(EqualLinear(a * channels, feats_dim, activate=True) for a in areas)
        if components is not None:
            self.stem2, self.stem3, self.layers2 = head, Block(widths[-1], components, down=False), heads
        else:
            self.stem2, self.layers = nn.Sequential(head), heads

    @classmethod
    def published(cls, size: int) -> PublishedEncoder:
        """The encoder of the published files for ``size`` 256 or 1024."""
        return cls(**ENCODERS[size])

    def forward(self, image: Tensor, holes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``holes`` (B,1,H,W): 0 where the image is erased (training)."""
        self._check(image)
        seen = self.stem(image if holes is None else image * holes)
        if not self.separate:
            return self.stem2(seen), self.read(seen)
        whole = seen if holes is None else self.stem(image)
        return self.stem2(seen), self.read(self.stem3(whole))

    def nodes(self, image: Tensor) -> Tensor:
        """The embeddings (B,4,feats_dim) of an unmasked ``image`` alone."""
        self._check(image)
        seen = self.stem(image)
        return self.read(self.stem3(seen) if self.separate else seen)

    def _check(self, image: Tensor) -> None:
        if image.shape[2:] != (self.size, self.size):
            shape = "x".join(str(n) for n in image.shape[2:])
            raise BadImage(
                f"This network reads faces of {self.size}x{self.size} pixels, not {shape}; resize them first."
            )

    def read(self, features: Tensor) -> Tensor:
        """Embeddings (B,4,feats_dim) of a component map (B,C,h,w)."""
        heads = self.layers2 if self.separate else self.layers
        parts = [features[:, :, y0:y1, x0:x1].flatten(1) for x0, y0, x1, y1 in self.box]
        return torch.stack([heads[index](part) for index, part in zip(HEADS, parts, strict=True)], 1)


class Wrapped(nn.Module):
    """Holds the style's linear map one key deeper, as the CAM decoder at 1024 does."""

    def __init__(self, style_dim: int, outputs: int) -> None:
        super().__init__()
        self.modulation = EqualLinear(style_dim, outputs, bias_init=1.0)

    def forward(self, style: Tensor) -> Tensor:
        return self.modulation(style)


class PublishedConv(nn.Module):
    """Convolution with an optional global style and optional gates in boxes; ``up`` doubles the size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        style: Style,
        style_dim: int,
        feats_dim: int | None = None,
        gate_side: int = 0,
        demodulate: bool = True,
        up: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, kernel, kernel))
        self.scale = 1 / math.sqrt(inputs * kernel**2)
        self.demodulate, self.up, self.gate_side = demodulate, up, gate_side
        self.modulation_new: nn.Module | None = None
        if style != "none":
            wrapped = style == "wrapped"
            self.modulation_new = (
                Wrapped(style_dim, inputs) if wrapped else EqualLinear(style_dim, inputs, bias_init=1.0)
            )
        self.layers2: nn.ModuleList | None = None
        if feats_dim is not None:
            self.layers2 = nn.ModuleList(EqualLinear(feats_dim, inputs, activate=True) for _ in range(3))
        self.blur = Filter(pad=(1, 1), gain=4.0) if up else None

    def gates(self, x: Tensor, nodes: Tensor) -> Tensor:
        """(B,C,h,w): 1 outside the boxes, each component's factor inside; a later component overwrites an earlier one."""
        assert self.layers2 is not None
        gates = torch.ones_like(x)
        for index, (x0, y0, x1, y1) in enumerate(grid_boxes(self.gate_side)):
            gates[:, :, y0:y1, x0:x1] = self.layers2[HEADS[index]](nodes[:, index])[:, :, None, None]
        return gates

    def forward(self, x: Tensor, nodes: Tensor) -> Tensor:
        if self.layers2 is not None:
            x = x * self.gates(x, nodes)
        style = x.new_ones(len(x), x.shape[1])
        if self.modulation_new is not None:
            style = self.modulation_new(nodes.flatten(1))
        style = style * self.scale
        out = ops.modulated_conv2d(x, self.weight[0], style, demodulate=self.demodulate, up=self.up)
        return out if self.blur is None else self.blur(out)


class PublishedStyledConv(nn.Module):
    """PublishedConv, noise, bias and leaky ReLU."""

    def __init__(self, conv: PublishedConv) -> None:
        super().__init__()
        self.conv = conv
        self.noise = NoiseInjection()
        self.activate = BiasLeakyReLU(conv.weight.shape[1])

    def forward(self, x: Tensor, nodes: Tensor, noise: Tensor) -> Tensor:
        return self.activate(self.noise(self.conv(x, nodes), noise))


class PublishedToRGB(nn.Module):
    """1x1 convolution to RGB with the global style, added to the upsampled picture of the level below."""

    def __init__(self, inputs: int, style_dim: int, *, up: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.upsample = Filter(pad=(2, 1), up=2, gain=4.0) if up else None
        self.conv = PublishedConv(inputs, 3, 1, style="global", style_dim=style_dim, demodulate=False)

    def forward(self, x: Tensor, nodes: Tensor, skip: Tensor | None = None) -> Tensor:
        out = self.conv(x, nodes) + self.bias
        return out if skip is None or self.upsample is None else out + self.upsample(skip)


class PublishedDecoder(nn.Module):
    """Content (B,C,start,start) and embeddings (B,4,feats_dim) -> image (B,3,size,size), about [-1, 1].

    ``widths``: channels at ``start`` and at every doubling of it. ``cam``: gates per component, with ``style`` the way the global
    style reaches the 3x3 convolutions. ``legacy_boxes``: gates at half the coordinates from the second level on, as in the
    published CAM weights at 256.
    """

    def __init__(
        self,
        start: int = 8,
        widths: Sequence[int] = (512, 512, 512, 512, 512, 256),
        *,
        content: int = 512,
        cam: bool = False,
        style: Style = "global",
        feats_dim: int = 256,
        legacy_boxes: bool = False,
    ) -> None:
        super().__init__()
        self.start, self.size = start, start << (len(widths) - 1)
        dim = feats_dim * len(COMPONENTS)

        def conv(inputs: int, outputs: int, side: int, *, up: bool = False) -> PublishedStyledConv:
            gate = max(start, side // 2) if legacy_boxes else side
            made = PublishedConv(
                inputs,
                outputs,
                3,
                style=style,
                style_dim=dim,
                feats_dim=feats_dim if cam else None,
                gate_side=gate,
                up=up,
            )
            return PublishedStyledConv(made)

        self.conv1 = conv(content, widths[0], start)
        self.to_rgb1 = PublishedToRGB(widths[0], dim, up=False)
        convs: list[nn.Module] = []
        for level, (a, b) in enumerate(itertools.pairwise(widths)):
            convs += [conv(a, b, start << level, up=True), conv(b, b, start << (level + 1))]
        self.convs = nn.ModuleList(convs)
        self.to_rgbs = nn.ModuleList(PublishedToRGB(width, dim) for width in widths[1:])
        self.noises = nn.Module()
        for index in range(len(convs) + 1):
            side = start << ((index + 1) // 2)
            self.noises.register_buffer(f"noise_{index}", torch.randn(1, 1, side, side))

    @classmethod
    def published(cls, size: int, *, cam: bool, legacy_boxes: bool | None = None) -> PublishedDecoder:
        """The decoder of the published files; ``legacy_boxes`` defaults to how that file was trained."""
        legacy = cam and size == 256 if legacy_boxes is None else legacy_boxes
        style: Style = "global" if not cam else ("none" if size == 256 else "wrapped")
        return cls(**DECODERS[size], cam=cam, style=style, legacy_boxes=legacy)

    def gate_sides(self) -> list[int]:
        """Side of the grid whose boxes gate each 3x3 convolution."""
        return [layer.conv.gate_side for layer in (self.conv1, *self.convs)]  # type: ignore[union-attr]

    def use_boxes(self, *, legacy: bool) -> None:
        """Gate in the boxes of the published CAM weights at 256 (``legacy``) or in the right ones from now on."""
        for index, layer in enumerate((self.conv1, *self.convs)):
            side = self.start << (index // 2)
            layer.conv.gate_side = max(self.start, side // 2) if legacy else side  # type: ignore[union-attr]

    def forward(self, content: Tensor, nodes: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        """``noise``: one (1,1,h,w) map per convolution; the stored ones without."""
        maps = noise if noise is not None else list(self.noises.buffers())
        x = self.conv1(content, nodes, maps[0])
        picture = self.to_rgb1(x, nodes)
        for level, to_rgb in enumerate(self.to_rgbs):
            x = self.convs[2 * level](x, nodes, maps[2 * level + 1])
            x = self.convs[2 * level + 1](x, nodes, maps[2 * level + 2])
            picture = to_rgb(x, nodes, picture)
        return picture


class PublishedDiscriminator(nn.Module):
    """Image (B,3,size,size) -> logits (B,1); ``widths``: channels at size, size/2, ... down to 4."""

    def __init__(self, widths: Sequence[int] = (64, 128, 256, 512, 512, 512, 512)) -> None:
        super().__init__()
        blocks = [Block(a, b, reflect=False) for a, b in itertools.pairwise(widths)]
        self.convs = nn.Sequential(conv_layer(3, widths[0], 1), *blocks)
        self.final_conv = conv_layer(widths[-1], widths[-1], 3)
        self.final_linear = nn.Sequential(
            EqualLinear(widths[-1] * 16, widths[-1], activate=True), EqualLinear(widths[-1], 1)
        )

    @classmethod
    def published(cls, size: int) -> PublishedDiscriminator:
        """The discriminator of the published files for ``size`` 256 or 1024."""
        return cls(DISCRIMINATORS[size])

    def forward(self, image: Tensor) -> Tensor:
        return self.final_linear(self.final_conv(self.convs(image)).flatten(1))


ENCODERS: Mapping[int, dict] = {
    256: {"size": 256, "widths": (32, 64, 128, 256, 512)},
    1024: {"size": 1024, "widths": (16, 32, 64, 128, 256, 256), "components": 128},
}
DECODERS: Mapping[int, dict] = {
    256: {"start": 8, "widths": (512, 512, 512, 512, 512, 256)},
    1024: {"start": 16, "widths": (512, 512, 512, 256, 128, 64, 32)},
}
DISCRIMINATORS: Mapping[int, tuple[int, ...]] = {
    256: (64, 128, 256, 512, 512, 512, 512),
    1024: (16, 32, 64, 128, 256, 512, 512, 512, 512),
}
