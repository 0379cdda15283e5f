"""Losses of one training step of each method, from pictures to a table of weighted terms. No optimiser, no data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from idswap import losses
from idswap.models import CodeMapper
from idswap.presets import NitzanConfig, ZhouConfig

Terms = dict[str, Tensor]
Network = Callable[[Tensor], Tensor]


def _as_it_is(image: Tensor) -> Tensor:
    return image


@dataclass(frozen=True, eq=False)
class Guides:
    """The frozen networks a step looks through; pictures are (B,3,S,S) in [-1,1].

    ``synthesis`` W+ codes to pictures; ``identity`` to unit rows; ``landmarks`` to points (B,N,2) in [0,1]; ``perceptual`` two
    pictures to distances (B,). None where no term needs it. ``seen`` is what a rendered picture goes through before the
    recogniser looks at it: small random moves keep the training from drawing what only the recogniser takes for a face.
    """

    synthesis: Network
    identity: Network
    landmarks: Network | None = None
    perceptual: losses.Distance | None = None
    seen: Network = _as_it_is

    def identity_of(self, rendered: Tensor) -> Tensor:
        """Identity (B,i) of rendered pictures."""
        return self.identity(self.seen(rendered))


@dataclass(frozen=True, eq=False)
class Pair:
    """Pictures of one step: ``identity`` and ``attributes`` (B,3,S,S) in [-1,1], and the ``code`` (B,L,D) of each where known."""

    identity: Tensor
    attributes: Tensor
    identity_code: Tensor | None = None
    attributes_code: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Made:
    """What a step made: weighted ``terms``, the ``w`` (B,D) for the discriminator, and the ``image``."""

    terms: Terms
    w: Tensor
    image: Tensor


def freeze_norms(module: nn.Module) -> None:
    """Put every batch norm of ``module`` in eval mode: it uses its running statistics and leaves them alone."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def code_distance(codes: Tensor, known: Tensor) -> Tensor:
    """Mean squared distance of W+ codes (B,L,D)."""
    return (codes - known).square().mean()


def _half(image: Tensor) -> Tensor:
    return (image + 1) / 2


def _codes(mapper: CodeMapper, identity: Tensor, attributes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """w, W+ codes, and the mean squared offset."""
    w, offsets = mapper.parts(identity, attributes)
    rows = w[:, None].expand(-1, mapper.rows, -1)
    if offsets is None:
        return w, rows, torch.zeros((), device=w.device)
    return w, rows + offsets, offsets.square().mean()


def strangers(
    config: NitzanConfig | ZhouConfig, pair: Pair, codes: Tensor, shown: Tensor, guides: Guides
) -> dict[str, Tensor]:
    """Ours, where the two pictures show different faces: ``shown`` (B,i) is the identity of what ``codes`` (B,L,D) draw."""
    terms: Terms = {}
    if config.keep and pair.attributes_code is not None:
        terms["keep"] = config.keep * code_distance(codes, pair.attributes_code)
    if config.leak:
        with torch.no_grad():
            own = guides.identity(pair.attributes)
        terms["leak"] = config.leak * (shown * own).sum(1).clamp_min(0).mean()
    return terms


class NitzanLosses:
    """Nitzan's step: identity code of one picture, attribute code of another (or the same), one rendering."""

    def __init__(self, config: NitzanConfig, attributes: nn.Module, mapper: CodeMapper, guides: Guides) -> None:
        self.config, self.attributes, self.mapper, self.guides = config, attributes, mapper, guides

    def codes_only(self, pair: Pair) -> Terms:
        """The distance to the known codes alone, without a rendering: cheap first steps."""
        assert pair.attributes_code is not None
        with torch.no_grad():
            known = self.guides.identity(pair.attributes)
        _, codes, offset = _codes(self.mapper, known, self.attributes(pair.attributes))
        return {"code": code_distance(codes, pair.attributes_code), "offset": self.config.offset * offset}

    def __call__(self, pair: Pair, *, cross: bool) -> Made:
        """Terms of one step; ``cross`` says that the two pictures show different faces."""
        c, guides = self.config, self.guides
        with torch.no_grad():
            wanted = guides.identity(pair.identity)
        w, codes, offset = _codes(self.mapper, wanted, self.attributes(pair.attributes))
        image = guides.synthesis(codes)
        form = losses.identity_l1 if c.identity_form == "l1" else losses.identity_cosine
        shown = guides.identity_of(image)
        terms: Terms = {"identity": c.identity * form(shown, wanted)}
        if cross:
            terms |= strangers(c, pair, codes, shown, guides)
        if c.offset:
            terms["offset"] = c.offset * offset
        if c.landmarks and guides.landmarks is not None:
            with torch.no_grad():
                points = guides.landmarks(pair.attributes)
            terms["landmarks"] = c.landmarks * losses.landmarks(guides.landmarks(image), points)
        if not cross:
            terms |= self.same(pair, image, codes)
        return Made(terms, w, image)

    def same(self, pair: Pair, image: Tensor, codes: Tensor) -> Terms:
        """Terms of a step whose two pictures are one."""
        c, terms = self.config, dict[str, Tensor]()
        a, b = _half(pair.attributes), _half(image)
        if c.structure and c.masked:
            terms["structure"] = c.structure * losses.masked_structure(a, b, c.alpha, summed=c.summed)
        elif c.structure:
            terms["structure"] = c.structure * losses.structure(a, b, c.alpha)
        if c.l2:
            terms["l2"] = c.l2 * (a - b).square().mean()
        if c.perceptual and self.guides.perceptual is not None:
            terms["perceptual"] = c.perceptual * self.guides.perceptual(image, pair.attributes).mean()
        if c.code and pair.attributes_code is not None:
            terms["code"] = c.code * code_distance(codes, pair.attributes_code)
        return terms


class ZhouLosses:
    """Zhou's step: one face with its own attributes and with another's, two renderings."""

    def __init__(self, config: ZhouConfig, encoder: nn.Module, mapper: CodeMapper, guides: Guides) -> None:
        self.config, self.encoder, self.mapper, self.guides = config, encoder, mapper, guides

    def codes_only(self, pair: Pair) -> Terms:
        """The distance to the known codes alone (and ``distil``), without a rendering: cheap first steps."""
        assert pair.attributes_code is not None
        identity, attributes = self.encoder(pair.attributes)
        _, codes, offset = _codes(self.mapper, identity, attributes)
        terms = {"code": code_distance(codes, pair.attributes_code), "offset": self.config.offset * offset}
        return terms | self.distilled(pair.attributes, identity)

    def distilled(self, image: Tensor, identity: Tensor) -> Terms:
        """The identity head against the recogniser."""
        if not self.config.distil:
            return {}
        with torch.no_grad():
            known = self.guides.identity(image)
        return {"distil": self.config.distil * losses.identity_cosine(identity, known)}

    def high(self, image: Tensor) -> Tensor:
        """The recogniser's code of the grey high-pass of ``image`` in [-1,1]."""
        found = losses.high_pass(_half(image), losses.high_pass_size(image.shape[2]))
        return self.guides.identity(found * 2 - (1.0 if self.config.high == "published" else 0.0))

    def __call__(self, pair: Pair, draw: torch.Generator) -> Made:
        """Terms of one step; ``draw`` places the random crops."""
        c, guides = self.config, self.guides
        count = len(pair.identity)
        # One pass of the encoder for both pictures and both heads.
        identity, attributes = self.encoder(torch.cat([pair.identity, pair.attributes]))
        own_w, own_codes, own_offset = _codes(self.mapper, identity[:count], attributes[:count])
        _, mixed_codes, mixed_offset = _codes(self.mapper, identity[:count], attributes[count:])
        own, mixed = guides.synthesis(torch.cat([own_codes, mixed_codes])).split(count)
        terms = self.own(pair, own, own_codes) | self.mixed(pair, mixed, mixed_codes, draw)
        terms |= self.distilled(pair.identity, identity[:count])
        if c.offset:
            terms["offset"] = c.offset * (own_offset + mixed_offset) / 2
        return Made(terms, own_w, mixed)

    def own(self, pair: Pair, image: Tensor, codes: Tensor) -> Terms:
        """Terms on the face with its own attributes."""
        c, terms = self.config, dict[str, Tensor]()
        a, b = _half(pair.identity), _half(image)
        if c.l2:
            terms["l2"] = c.l2 * (a - b).square().mean()
        if c.structure:
            terms["structure"] = c.structure * losses.structure(a, b, c.alpha)
        if c.perceptual and self.guides.perceptual is not None:
            terms["perceptual"] = c.perceptual * self.guides.perceptual(image, pair.identity).mean()
        if c.identity:
            with torch.no_grad():
                known = self.guides.identity(pair.identity)
            terms["identity"] = c.identity * losses.identity_cosine(self.guides.identity_of(image), known)
        if c.code and pair.identity_code is not None:
            terms["code"] = c.code * code_distance(codes, pair.identity_code)
        return terms

    def mixed(self, pair: Pair, image: Tensor, codes: Tensor, draw: torch.Generator) -> Terms:
        """Terms on the face with another's attributes."""
        c, guides, terms = self.config, self.guides, dict[str, Tensor]()
        if c.identity_high:
            with torch.no_grad():
                known = self.high(pair.identity)
            terms["identity_high"] = c.identity_high * losses.identity_cosine(self.high(image), known)
        if c.identity_mixed:
            with torch.no_grad():
                known = guides.identity(pair.identity)
            shown = guides.identity_of(image)
            terms["identity_mixed"] = c.identity_mixed * losses.identity_cosine(shown, known)
            terms |= strangers(c, pair, codes, shown, guides)
        if c.attributes and guides.perceptual is not None:
            boxes = losses.draw_boxes(c.crops, image.shape[2], draw)
            apart = guides.perceptual(losses.crops(image, boxes), losses.crops(pair.attributes, boxes))
            terms["attributes"] = c.attributes * apart.mean()
        if c.landmarks and guides.landmarks is not None:
            with torch.no_grad():
                points = guides.landmarks(pair.attributes)
            terms["landmarks"] = c.landmarks * losses.landmarks(guides.landmarks(image), points)
        return terms
