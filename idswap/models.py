"""Networks of the two swapping methods: mapper, layer-wise offsets, W discriminator, and the published two-headed encoder.

Nitzan et al. 2020, arXiv 2005.07728; Zhou et al. 2023, doi 10.1117/1.JEI.32.4.043011.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from encoders.inputs import check_images, resize
from encoders.irse import body, stem

MAPPER = (2560, 2048, 1024, 512, 512)
DISCRIMINATOR = (512, 256, 128, 64, 1)


def mlp(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths with LeakyReLU 0.2 between them, none after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def _he(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            nn.init.zeros_(layer.bias)


class LatentMapper(nn.Module):
    """Codes (B,identity + attributes), identity first, -> one w row (B,style_dim). Keys of the published mapper."""

    def __init__(self, widths: Sequence[int] = MAPPER) -> None:
        super().__init__()
        self.model = mlp(widths)
        _he(self)

    def forward(self, codes: Tensor) -> Tensor:
        return self.model(codes)


class LayerOffsets(nn.Module):
    """Our extension: an offset from the broadcast w per W+ row, (B,inputs) -> (B,rows,style_dim).

    Starts at exactly zero, so that training begins at the method's own W; ``gate`` (rows,) scales each row's offset.
    """

    def __init__(self, inputs: int, rows: int, style_dim: int = 512, rank: int = 64) -> None:
        super().__init__()
        self.squeeze = nn.Linear(inputs, rank)
        self.heads = nn.Linear(rank, rows * style_dim)
        self.gate = nn.Parameter(torch.ones(rows))
        self.rows = rows
        nn.init.zeros_(self.heads.weight)
        nn.init.zeros_(self.heads.bias)

    def forward(self, codes: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.squeeze(codes), 0.2)
        return self.heads(hidden).unflatten(1, (self.rows, -1)) * self.gate[:, None]


class CodeMapper(nn.Module):
    """Identity and attribute codes to W+ codes: one w, broadcast to ``rows``, plus offsets when ``rank`` is above 0.

    ``center`` (style_dim,) is added to w (0 in the published networks, the mean latent in ours: what the mapper then learns is small).
    ``skip``, in ours, is the width of the attribute code, which then also enters w straight, through one matrix.
    ``identity_gain`` () is how far a swap of strength 1 goes along the arc from the own identity to the other's: 1 ends there.
    It takes no part in ``forward``; it lies with the weights as it is measured for them, and other weights have another id.
    """

    def __init__(self, widths: Sequence[int] = MAPPER, *, rows: int, rank: int = 0, skip: int = 0) -> None:
        super().__init__()
        self.mapper = LatentMapper(widths)
        self.skip = nn.Linear(skip, widths[-1], bias=False) if skip else None
        self.offsets = LayerOffsets(widths[0], rows, widths[-1], rank) if rank else None
        self.rows = rows
        self.center: Tensor
        self.register_buffer("center", torch.zeros(widths[-1]))
        self.identity_gain: Tensor
        self.register_buffer("identity_gain", torch.ones(()))
        # Files from before there was a gain.
        self.register_load_state_dict_pre_hook(
            lambda _module, state, prefix, *_: state.setdefault(f"{prefix}identity_gain", torch.ones(()))
        )

    def parts(self, identity: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor | None]:
        """w (B,style_dim) and the offsets (B,rows,style_dim) or None, of codes (B,i) and (B,a)."""
        codes = torch.cat([identity, attributes], 1)
        w = self.center + self.mapper(codes)
        if self.skip is not None:
            w = w + self.skip(attributes)
        return w, None if self.offsets is None else self.offsets(codes)

    def forward(self, identity: Tensor, attributes: Tensor) -> Tensor:
        w, offsets = self.parts(identity, attributes)
        rows = w[:, None].expand(-1, self.rows, -1)
        return rows if offsets is None else rows + offsets


class WDiscriminator(nn.Module):
    """Whether w comes from the generator's mapping network: w (B,512) -> raw logits (B,)."""

    def __init__(self, widths: Sequence[int] = DISCRIMINATOR) -> None:
        super().__init__()
        self.model = mlp(widths)

    def forward(self, w: Tensor) -> Tensor:
        return self.model(w)[:, 0]


class SwapEncoder(nn.Module):
    """Zhou's encoder: ``image`` (B,3,H,W) RGB in [-1,1] -> identity (B,512) and attributes (B,2048), unit rows.

    The trunk is the IR-SE50 body at 256 px, to which pictures of other sizes are brought; one pass gives both heads. Keys of
    the published file.
    """

    input_size = 256
    dims = (512, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.input_layer = stem()
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Conv2d(512, 512, 3, 1, 1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(512, 32, 3, 1, 1, bias=False),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(32 * 16 * 16, 512),
            nn.BatchNorm1d(512),
        )
        self.output_layer2 = nn.Sequential(
            nn.BatchNorm2d(512),
            nn.Conv2d(512, 1024, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2),
            nn.Conv2d(1024, 2048, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2048),
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(2048, 2048, 1, bias=False),
            nn.BatchNorm2d(2048),
            nn.Flatten(),
        )
        self.body = body(50, "ir_se")

    def trunk(self, image: Tensor) -> Tensor:
        """Shared features (B,512,16,16) of ``image`` (B,3,H,W)."""
        check_images(image)
        return self.body(self.input_layer(resize(image, self.input_size)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.trunk(image)
        return F.normalize(self.output_layer(shared), dim=1), F.normalize(self.output_layer2(shared), dim=1)


def mapper_widths(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """Layer widths read off the keys ``model.{0,2,...}.weight`` of a mapper's or discriminator's ``state``. Raises KeyError."""
    widths = [int(state["model.0.weight"].shape[1])]
    index = 0
    while f"model.{index}.weight" in state:
        widths.append(int(state[f"model.{index}.weight"].shape[0]))
        index += 2
    return tuple(widths)
