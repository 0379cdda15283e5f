"""One interface for both methods: pictures to codes, codes to W+, W+ to a picture. Each method's input form stays inside.

All pictures are (B,3,H,W) float RGB in [-1,1] of FFHQ-aligned faces; any batch; the noise maps are fixed, so the same codes give
the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from idswap.codes import mixed
from idswap.models import CodeMapper
from stylegan2.generator import Generator


@dataclass(frozen=True, eq=False)
class Codes:
    """What a method reads off a picture: ``identity`` (B,i) unit rows, ``attributes`` (B,a)."""

    identity: Tensor
    attributes: Tensor

    def row(self, at: int) -> Codes:
        """The codes of one picture, with a batch of one."""
        return self.part(range(at, at + 1))

    def part(self, at: range) -> Codes:
        """The codes of the pictures ``at``."""
        return Codes(self.identity[at.start : at.stop], self.attributes[at.start : at.stop])

    def repeated(self, count: int) -> Codes:
        """The codes of one picture, ``count`` times over."""
        return Codes(self.identity.expand(count, -1), self.attributes.expand(count, -1))

    def to(self, device: torch.device | str) -> Codes:
        """The codes on ``device``."""
        return Codes(self.identity.to(device), self.attributes.to(device))


class IdSwap(Protocol):
    """A trained swapping method."""

    @property
    def name(self) -> str:
        """Of the method."""
        ...

    @property
    def unit_attributes(self) -> bool:
        """Whether attribute codes are unit rows too."""
        ...

    @property
    def identity_gain(self) -> float:
        """How far identity strength 1 goes along the arc from the attribute picture's own identity to the other's; 1 ends there."""
        ...

    def encode(self, image: Tensor) -> Codes:
        """Both codes."""
        ...

    def encode_id(self, image: Tensor) -> Tensor:
        """Identity codes (B,i), unit rows."""
        ...

    def encode_attr(self, image: Tensor) -> Tensor:
        """Attribute codes (B,a)."""
        ...

    def map(self, identity: Tensor, attributes: Tensor) -> Tensor:
        """W+ codes (B,L,D): one w broadcast, plus offsets per row where the mapper has them."""
        ...

    def synth(self, codes: Tensor) -> Tensor:
        """Pictures (B,3,S,S) of W+ codes (B,L,D)."""
        ...


class NitzanSwap:
    """Nitzan et al. 2020: a frozen recogniser, a trained attribute encoder, a mapper.

    ``identity`` and ``attributes`` take pictures in [-1,1] of any size and bring them to their own form.
    """

    name = "nitzan"
    unit_attributes = False

    def __init__(self, generator: Generator, identity: nn.Module, attributes: nn.Module, mapper: CodeMapper) -> None:
        self.generator, self.identity, self.attributes, self.mapper = generator, identity, attributes, mapper

    @property
    def identity_gain(self) -> float:
        return float(self.mapper.identity_gain)

    def encode(self, image: Tensor) -> Codes:
        return Codes(self.encode_id(image), self.encode_attr(image))

    def encode_id(self, image: Tensor) -> Tensor:
        return F.normalize(self.identity(image), dim=1)

    def encode_attr(self, image: Tensor) -> Tensor:
        return self.attributes(image)

    def map(self, identity: Tensor, attributes: Tensor) -> Tensor:
        return self.mapper(identity, attributes)

    def synth(self, codes: Tensor) -> Tensor:
        return self.generator.synthesis(codes)


class ZhouSwap:
    """Zhou et al. 2023: one encoder with two heads, a mapper. ``encode`` is one pass for both."""

    name = "zhou"
    unit_attributes = True

    def __init__(self, generator: Generator, encoder: nn.Module, mapper: CodeMapper) -> None:
        self.generator, self.encoder, self.mapper = generator, encoder, mapper

    @property
    def identity_gain(self) -> float:
        return float(self.mapper.identity_gain)

    def encode(self, image: Tensor) -> Codes:
        return Codes(*self.encoder(image))

    def encode_id(self, image: Tensor) -> Tensor:
        return self.encode(image).identity

    def encode_attr(self, image: Tensor) -> Tensor:
        return self.encode(image).attributes

    def map(self, identity: Tensor, attributes: Tensor) -> Tensor:
        return self.mapper(identity, attributes)

    def synth(self, codes: Tensor) -> Tensor:
        return self.generator.synthesis(codes)


@dataclass(frozen=True)
class Strengths:
    """How much of each source: ``identity`` 0 keeps the attribute picture's own, 1 takes the other's; ``attributes`` likewise
    from the identity picture's own (0) to the attribute picture's (1)."""

    identity: float = 1.0
    attributes: float = 1.0


def identity_between(method: IdSwap, own: Tensor, other: Tensor, strength: float) -> Tensor:
    """Identity codes (B,i) at ``strength`` of the way from a picture's ``own`` to the ``other``'s.

    A mapper whose attribute codes still carry the person is measured with a gain above 1, by which strength 1 goes past the
    other's identity as far as it takes to leave the own one.
    """
    return mixed(own, other, strength * method.identity_gain, unit=True)


def attributes_between(method: IdSwap, other: Tensor, own: Tensor, strength: float) -> Tensor:
    """Attribute codes (B,a) at ``strength`` of the way from the ``other`` picture's to the ``own``."""
    return mixed(other, own, strength, unit=method.unit_attributes)


def swap_codes(method: IdSwap, identity: Codes, attributes: Codes, strengths: Strengths = Strengths()) -> Tensor:
    """W+ codes (B,L,D) with the identity of one picture and the attributes of another."""
    return method.map(
        identity_between(method, attributes.identity, identity.identity, strengths.identity),
        attributes_between(method, identity.attributes, attributes.attributes, strengths.attributes),
    )


def anchored_codes(
    method: IdSwap,
    identity: Codes,
    attributes: Codes,
    projection: Tensor,
    strengths: Strengths = Strengths(),
) -> Tensor:
    """W+ codes that start from the attribute picture's own ``projection`` (B,L,D) and add only what the swap changes.

    projection + M(mixed codes) - M(the attribute picture's own codes): with identity strength 0 and attribute strength 1 it is
    the projection itself, so what the mapper cannot say (hair, accessories, background of a photo) stays. Ours.
    """
    own = method.map(attributes.identity, attributes.attributes)
    # The difference first: where the codes are the same it is exactly zero.
    return projection + (swap_codes(method, identity, attributes, strengths) - own)


@torch.inference_mode()
def sheet(method: IdSwap, identities: Codes, attributes: Codes, batch: int = 8) -> Tensor:
    """All pictures (A,I,3,S,S): row j has attributes j, column i identity i. One rendering each, nothing is encoded again."""
    count = len(identities.identity)
    rows = []
    for at in range(len(attributes.attributes)):
        what = attributes.row(at)
        parts = [range(i, min(i + batch, count)) for i in range(0, count, batch)]
        rows.append(
            torch.cat([method.synth(swap_codes(method, identities.part(p), what.repeated(len(p)))) for p in parts])
        )
    return torch.stack(rows) if rows else torch.zeros(0, count, 3, 1, 1)
