"""Where a family's swapping methods come from: our own files, or the published ones behind the same interface."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from idswap.models import CodeMapper, LatentMapper
from idswap.swap import IdSwap, NitzanSwap, ZhouSwap
from workbench.errors import BadCheckpoint, MissingWeights
from workbench.weights import Network, Store

Find = Callable[[str], Network]
Method = tuple[IdSwap, tuple[str, ...]]

OWN = {"nitzan": ("nitzan_attributes", "nitzan_mapper"), "zhou": ("zhou_encoder", "zhou_mapper")}
PUBLISHED = {"nitzan": ("roich_attr_encoder", "roich_mapper"), "zhou": ("swap_encoder", "swap_mapper")}
"""Kinds of encoder and mapper. Nitzan's own Keras files map to StyleGAN1's W and serve no family of StyleGAN2."""

LEAST_GAIN, MOST_GAIN = 0.5, 2.0


def method(name: str, store: Store, find: Find, *, offsets: bool = True) -> Method:
    """The method ``name`` of a family and the ids of its files. ``find`` gives a network of ours by its kind.

    ``offsets`` False: our mapper's W alone, in all rows, as published.

    Raises MissingWeights when the family has neither ours nor the published files, and BadCheckpoint when files do not
    belong together.
    """
    records = store.family.records
    if OWN[name][1] in records and records[OWN[name][1]].format == "facet":
        return _own(name, store, find, offsets)
    if PUBLISHED[name][1] in records:
        return _published(name, store)
    raise MissingWeights(
        f"The {store.family.name} family has no networks for swaps by the method '{name}'; use the family starter, or "
        f"put the published files into the family ffhq256."
    )


def _own(name: str, store: Store, find: Find, offsets: bool) -> Method:
    encoder, mapper = (find(kind) for kind in OWN[name])
    _belongs(name, store, mapper, "encoder", encoder.id)
    assert isinstance(mapper.module, CodeMapper)  # the table of kinds says so
    gain = float(mapper.module.identity_gain)
    if not LEAST_GAIN <= gain <= MOST_GAIN:
        raise BadCheckpoint(
            f"The mapper {mapper.id} has an identity gain of {gain:g}, and one between {LEAST_GAIN:g} and {MOST_GAIN:g} was "
            "expected; train or fetch the file again."
        )
    to_codes = mapper.module if offsets else _without_offsets(mapper.module)
    ids = (store.generator_id, encoder.id, mapper.id)
    if name == "zhou":
        return ZhouSwap(store.generator(), encoder.module, to_codes), ids
    identity = store.network("identity")
    _belongs(name, store, mapper, "identity", identity.id)
    return NitzanSwap(store.generator(), identity.module, encoder.module, to_codes), (*ids, identity.id)


def _without_offsets(mapper: CodeMapper) -> CodeMapper:
    """A copy: the family's own mapper is shared."""
    alone = copy.deepcopy(mapper)
    alone.offsets = None
    return alone


def _belongs(name: str, store: Store, mapper: Network, other: str, found: str) -> None:
    if mapper.header.get(other) != found:
        raise BadCheckpoint(
            f"The {name} mapper was trained with the {other} network {mapper.header.get(other)} and the "
            f"{store.family.name} family's is {found}; use files of one training."
        )


def _published(name: str, store: Store) -> Method:
    """The released files. They carry no ids of each other; that they share a family is the only statement there is."""
    encoder, mapper = (store.network(kind) for kind in PUBLISHED[name])
    generator = store.generator()
    rows = _broadcast(mapper, generator.style_dim, generator.n_latent, store.family.path(PUBLISHED[name][1]))
    ids = (store.generator_id, encoder.id, mapper.id)
    if name == "zhou":
        _width(mapper, sum(_dims(encoder.module, "dims")), store.family.path(PUBLISHED[name][1]))
        return ZhouSwap(generator, encoder.module, rows), ids
    identity = store.network("identity")
    _width(mapper, 512 + sum(_dims(encoder.module, "dim")), store.family.path(PUBLISHED[name][1]))
    return NitzanSwap(generator, identity.module, encoder.module, rows), (*ids, identity.id)


def _broadcast(mapper: Network, style_dim: int, rows: int, path: Any) -> CodeMapper:
    """A published mapper as one to W+: the same w in every row, nothing added."""
    published = mapper.module
    if not isinstance(published, LatentMapper):
        raise BadCheckpoint(f"'{path}' holds no mapper to W; put the right file in its place.")
    widths = _widths(published)
    if widths[-1] != style_dim:
        raise BadCheckpoint(f"'{path}' maps to {widths[-1]} numbers, and the family's generator takes {style_dim}.")
    whole = CodeMapper(widths, rows=rows).to(next(published.parameters()).device)
    whole.mapper = published
    return whole.eval().requires_grad_(False)


def _widths(mapper: LatentMapper) -> list[int]:
    layers = [layer for layer in mapper.modules() if isinstance(layer, nn.Linear)]
    return [layers[0].in_features, *(layer.out_features for layer in layers)]


def _dims(encoder: nn.Module, name: str) -> tuple[int, ...]:
    value = getattr(encoder, name)
    return value if isinstance(value, tuple) else (value,)


def _width(mapper: Network, wanted: int, path: Any) -> None:
    assert isinstance(mapper.module, LatentMapper)
    found = _widths(mapper.module)[0]
    if found != wanted:
        raise BadCheckpoint(
            f"'{path}' takes codes of {found} numbers, and the family's encoders give {wanted}; use files of one training."
        )
