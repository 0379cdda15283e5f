"""Golden items: one form for the two ways in which the manifests describe them, and what an adapter gets to see."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from tests.golden.data.fill import fill_state
from tests.golden.recipes import make_input

Module = TypeVar("Module", bound=nn.Module)
Outputs = Mapping[str, Any]


class GoldenError(Exception):
    """An item cannot be checked: its files are damaged, or our network does not have the keys it should have."""


@dataclass(frozen=True)
class Network:
    """How the weights of one network are made: fill arguments, factors per key suffix or key, and its key list."""

    fill: Mapping[str, Any]
    factors: tuple[tuple[str, float], ...]
    exact_keys: bool
    keys_file: str | None
    constructor: Any


@dataclass(frozen=True)
class Output:
    """One stored array: which part of the full output it is, and how near ours must be."""

    name: str
    index: str | None
    tolerance: float
    kind: str
    is_input: bool


@dataclass(frozen=True)
class Item:
    """One golden item of a manifest."""

    name: str
    file: str
    networks: Mapping[str, Network]
    inputs: Mapping[str, Any]
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class Context:
    """What an adapter sees: inputs, stored arrays and filled weights of one item, all for one seed."""

    item: Item
    directory: Path
    seed: int
    arrays: Mapping[str, np.ndarray]

    def input(self, name: str) -> Tensor:
        """The input ``name``, float32, made by its recipe with this seed."""
        return make_input(self.item.inputs[name], self.seed)

    def stored(self, name: str) -> np.ndarray:
        """An array as it lies in the file of the item (for inputs that no rule makes)."""
        if name not in self.arrays:
            raise GoldenError(f"'{self.item.file}' holds no array '{name}'")
        return self.arrays[name]

    def network(self, name: str | None = None) -> Network:
        """The record of network ``name``; without a name, of the only one."""
        if name is None and len(self.item.networks) == 1:
            return next(iter(self.item.networks.values()))
        if name is None or name not in self.item.networks:
            raise GoldenError(f"the manifest names no network '{name}' for '{self.item.name}'")
        return self.item.networks[name]

    def fill(self, module: Module, network: str | None = None) -> Module:
        """Give ``module`` the weights of ``network`` for this seed, check its keys, and put it in eval mode."""
        record = self.network(network)
        state = module.state_dict()
        self._check_keys(state, record)
        arguments = record.fill
        filled = fill_state(
            state,
            seed=self.seed,
            equalized=tuple(arguments.get("equalized") or ()),
            keep=tuple(arguments.get("keep") or ()),
            prelu=tuple(arguments.get("prelu") or ()),
        )
        for text, factor in record.factors:
            for key in filled:
                if key == text or (not record.exact_keys and key.endswith(text)):
                    filled[key] = filled[key] * factor
        module.load_state_dict(filled)
        return module.eval()

    def _check_keys(self, state: Mapping[str, Tensor], record: Network) -> None:
        if record.keys_file is None or not (self.directory / record.keys_file).is_file():
            return
        wanted = {k: tuple(v) for k, v in json.loads((self.directory / record.keys_file).read_text()).items()}
        ours = {key: tuple(value.shape) for key, value in state.items()}
        if ours != wanted:
            missing, extra = sorted(set(wanted) - set(ours)), sorted(set(ours) - set(wanted))
            shapes = sorted(key for key in set(ours) & set(wanted) if ours[key] != wanted[key])
            raise GoldenError(f"keys differ: missing {missing[:3]}, extra {extra[:3]}, other shape {shapes[:3]}")


Adapter = Callable[[Context], Outputs]


def _tolerance(record: Mapping[str, Any]) -> tuple[float, str]:
    value = record["tolerance"]
    kind = str(record.get("tolerance_kind", "relative"))
    if isinstance(value, str):
        kind, _, number = value.partition(" ")
        value = float(number)
    if value == 0 or kind.startswith("exact"):
        return float(value), "exact"
    return float(value), "absolute" if kind.startswith("absolute") else "relative"


def _outputs(records: Mapping[str, Mapping[str, Any]]) -> tuple[Output, ...]:
    outputs = []
    for name, record in records.items():
        tolerance, kind = _tolerance(record)
        is_input = str(record.get("note", "")).startswith("input")
        outputs.append(Output(name, record.get("stored") or record.get("slice"), tolerance, kind, is_input))
    return tuple(outputs)


def _network(record: Mapping[str, Any]) -> Network:
    after = record.get("after_fill") or []
    if isinstance(after, Mapping):
        factors = tuple((key, float(after["multiply"])) for key in after["keys"])
    else:
        factors = tuple((step["keys_ending_with"], float(step["multiply_by"])) for step in after)
    return Network(
        fill=record.get("fill") or record.get("fill_state") or {},
        factors=factors,
        exact_keys=isinstance(after, Mapping),
        keys_file=record.get("keys_file") or record.get("keys"),
        constructor=record.get("constructor"),
    )


def _named_networks(name: str, record: Mapping[str, Any]) -> dict[str, Network]:
    networks = record.get("networks")
    if networks is None:
        return {name: _network(record)} if "fill" in record else {}
    if isinstance(networks, Mapping):
        return {key: _network(value) for key, value in networks.items()}
    return {value["name"]: _network(value) for value in networks}


def read_items(directory: Path) -> list[Item]:
    """All items of all ``manifest-*.json`` in ``directory``, in their order. Raises GoldenError."""
    manifests = sorted(directory.glob("manifest-*.json"))
    if not manifests:
        raise GoldenError(f"'{directory}' holds no manifest-*.json; give the folder of a set of golden data")
    items: list[Item] = []
    for manifest in manifests:
        try:
            records = json.loads(manifest.read_text())["items"]
            pairs: Iterable[tuple[str, Any]] = (
                records.items() if isinstance(records, Mapping) else ((record["item"], record) for record in records)
            )
            for name, record in pairs:
                networks = _named_networks(name, record)
                outputs = _outputs(record["outputs"])
                items.append(Item(name, record["file"], networks, record.get("inputs", {}), outputs))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise GoldenError(f"'{manifest}' is not a manifest of golden data ({reason})") from error
    return items


def open_item(item: Item, directory: Path, seed: int) -> Context:
    """Read the stored arrays of ``item``. Raises GoldenError when its file is missing or damaged."""
    try:
        with np.load(directory / item.file, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise GoldenError(f"'{item.file}' cannot be read ({error})") from error
    return Context(item, directory, seed, arrays)


def to_array(value: Any) -> np.ndarray:
    """float64 copy of a tensor, array or number."""
    if isinstance(value, Tensor):
        value = value.detach().to("cpu", torch.float64).numpy()
    return np.asarray(value, dtype=np.float64)
