"""Keras' HDF5 weights of the TensorFlow identity swap (Nitzan et al. 2020): arrays are matched by their shapes.

h5py is optional: it is needed for these files only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workbench.errors import BadCheckpoint

MAPPER = ((2560, 2048), (2048, 1024), (1024, 512), (512, 512))
W_DISCRIMINATOR = ((512, 256), (256, 128), (128, 64), (64, 1))
INCEPTION_LAYERS = 94


def arrays(path: Path) -> dict[str, Tensor]:
    """All arrays of an HDF5 file by their path in it, in the order of creation where the file keeps it.

    Raises BadCheckpoint, also when h5py is not installed.
    """
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadCheckpoint(
            f"'{path}' is a Keras file, which needs the package h5py; install it ('pip install h5py') and try again."
        ) from error
    found: dict[str, Tensor] = {}
    total = path.stat().st_size
    try:
        with h5py.File(path, "r", locking=False) as file:

            def visit(name: str, item: Any) -> None:
                if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
                    return
                # A compressed or external array may be far larger than the file, so neither is read.
                plain = item.chunks is None and item.external is None and not item.is_virtual
                if not plain or item.nbytes > total:
                    raise BadCheckpoint(f"'{path}' is refused: its array '{name[:80]}' is not stored plainly.")
                found[name] = torch.from_numpy(np.asarray(item[()]))

            file.visititems(visit)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"'{path}' cannot be read: {error}; fetch or copy it again.") from error
    return found


def dense_state(found: Mapping[str, Tensor], layers: Sequence[tuple[int, int]]) -> dict[str, Tensor] | None:
    """State of dense ``layers`` (inputs, outputs) under torch's keys ``model.{0,2,4,..}``; None when shapes do not fit.

    Keras keeps a weight as (inputs, outputs), torch as (outputs, inputs).
    """
    weights = [v for v in found.values() if v.ndim == 2]
    biases = [v for v in found.values() if v.ndim == 1]
    if len(found) != 2 * len(layers) or sorted(tuple(w.shape) for w in weights) != sorted(layers):
        return None
    if sorted(b.shape[0] for b in biases) != sorted(outputs for _, outputs in layers):
        return None
    named = dict(found)
    state: dict[str, Tensor] = {}
    for index, shape in enumerate(layers):
        name = next(n for n, v in named.items() if tuple(v.shape) == shape)
        state[f"model.{2 * index}.weight"] = named.pop(name).T.contiguous().float()
        bias = _bias_beside(named, name, shape[1])
        if bias is None:
            return None
        state[f"model.{2 * index}.bias"] = named.pop(bias).float()
    return state


def _bias_beside(named: Mapping[str, Tensor], weight: str, width: int) -> str | None:
    """The bias of the layer that ``weight`` belongs to: in the same group, else the only one of its width."""
    fitting = [n for n, v in named.items() if tuple(v.shape) == (width,)]
    beside = [n for n in fitting if n.rpartition("/")[0] == weight.rpartition("/")[0]]
    if len(beside) == 1:
        return beside[0]
    return fitting[0] if len(fitting) == 1 else None


def match(found: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]] | None:
    """Kind and state of a Keras file's arrays, or None when they are of no known network."""
    for kind, layers in (("idswap_mapper", MAPPER), ("w_discriminator", W_DISCRIMINATOR)):
        state = dense_state(found, layers)
        if state is not None:
            return kind, state
    state = inception_state(found)
    return None if state is None else ("attribute_encoder", state)


def convolutions() -> Iterator[str]:
    """Names of InceptionV3's 94 convolutions in the order both libraries make them, as the published port keys them."""
    dbl = tuple(f"branch3x3dbl_{i}" for i in (1, 2, 3))
    a = ("branch1x1", "branch5x5_1", "branch5x5_2", *dbl, "branch_pool")
    c = (
        "branch1x1",
        *(f"branch7x7_{i}" for i in (1, 2, 3)),
        *(f"branch7x7dbl_{i}" for i in range(1, 6)),
        "branch_pool",
    )
    d = ("branch3x3_1", "branch3x3_2", *(f"branch7x7x3_{i}" for i in range(1, 5)))
    e = (
        *("branch1x1", "branch3x3_1", "branch3x3_2a", "branch3x3_2b"),
        *("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3a", "branch3x3dbl_3b", "branch_pool"),
    )
    blocks = {7: a, 8: a, 9: a, 10: ("branch3x3", *dbl), 11: c, 12: c, 13: c, 14: c, 15: d, 16: e, 17: e}
    yield from (f"model.{i}" for i in (0, 1, 2, 4, 5))
    for index, branches in blocks.items():
        yield from (f"model.{index}.{branch}" for branch in branches)


def inception_state(found: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """State of the attribute encoder (InceptionV3 without top) in the published port's keys, or None.

    ``found`` holds 94 kernels (height, width, in, out) and 94 batch norms without gain (beta, mean, variance); layers
    are numbered in the order Keras made them, which their names carry (``conv2d_17``).
    """
    kernels = _layers(found, "conv2d", ("kernel",)) or []
    norms = _layers(found, "batch_normalization", ("beta", "moving_mean", "moving_variance")) or []
    names = list(convolutions())
    if len(kernels) != len(names) or len(norms) != len(names):
        return None
    state: dict[str, Tensor] = {}
    for name, (kernel,), (beta, mean, variance) in zip(names, kernels, norms, strict=True):
        if kernel.ndim != 4 or any(v.shape != (kernel.shape[3],) for v in (beta, mean, variance)):
            return None
        state[f"{name}.conv.weight"] = kernel.permute(3, 2, 0, 1).contiguous().float()
        parts = {"bias": beta, "running_mean": mean, "running_var": variance}
        state |= {f"{name}.bn.{part}": value.float() for part, value in parts.items()}
    return state


def _layers(found: Mapping[str, Tensor], layer: str, parts: Sequence[str]) -> list[tuple[Tensor, ...]] | None:
    """The arrays called ``parts`` of the layers ``layer``, ``layer_1``, ... in the order of their numbers."""
    numbered: dict[int, dict[str, Tensor]] = {}
    for name, value in found.items():
        *groups, leaf = name.split("/")
        numbers = [m for group in groups if (m := re.fullmatch(rf"{layer}(?:_(\d{{1,6}}))?", group))]
        if numbers:
            numbered.setdefault(int(numbers[-1][1] or 0), {})[leaf.split(":")[0]] = value
    if any(set(layer) != set(parts) for layer in numbered.values()):
        return None
    return [tuple(numbered[index][part] for part in parts) for index in sorted(numbered)]
