"""The published checkpoints: what a file is, told by its keys and shapes, and its network. Nothing in a file is ever run.

    bytes -- files --> names and shapes -- states --> a table of tensors -- kinds --> network and arguments -- building --> module

``files`` opens every container and checks it against the bytes that are there, ``pickled`` reads a pickle as data,
``kinds`` lists the known networks and ``building`` the classes that hold them. A method adds its network with one entry
in ``kinds.KINDS`` and one in ``building.BUILDERS``; ``load`` then gives it to a family's Store under the manifest's kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data.container import state_id
from encoders.e4e import E4EProjector, Encoder4Editing, mean_rows
from encoders.identity import IdentityEncoder
from workbench.errors import BadCheckpoint
from workbench.manifest import Record
from workbench.official import building
from workbench.official.checkpoint import Checkpoint, read
from workbench.official.kinds import heads

Loaded = tuple[nn.Module, Mapping[str, Any], Mapping[str, Tensor]]
MEAN_SAMPLES = 10_000


def load(
    role: str, path: Path, record: Record, latent_avg: Tensor | None = None, generator_size: int | None = None
) -> Loaded:
    """Network, header and extra tensors of a published (or converted) file that must serve as ``role``.

    ``latent_avg`` and ``generator_size`` are the generator's, for a projector. Raises BadCheckpoint when the file is
    damaged, unsafe, another network, or of another size than ``record`` or the generator; the message says which.
    """
    found = read(path)
    if role not in found.roles:
        serves = f" ({', '.join(found.roles)})" if found.roles else ""
        raise BadCheckpoint(
            f"'{path}' is no {role}: it is a {found.kind.title}{serves}; put the right file in its place."
        )
    wanted = dict(record.arch)
    if role == "projector" and generator_size is not None:
        wanted["size"] = generator_size
    reason = building.unlike(found.kind, found.arch, wanted, "family's") or found.problem
    if reason:
        raise BadCheckpoint(f"'{path}' ({found.kind.title}) cannot be used: {reason}.")
    if record.attributes and found.arch.get("attributes", len(record.attributes)) != len(record.attributes):
        raise BadCheckpoint(
            f"'{path}' was trained for {found.arch['attributes']} attributes and the list of weights names "
            f"{len(record.attributes)} ({', '.join(record.attributes)}); name those of this file there."
        )
    module, state, extra = assemble(found, latent_avg)
    known = found.header.get("id") if found.converted else None
    header = {
        "kind": role,
        "id": known if isinstance(known, str) and known else state_id(state),
        "arch": dict(found.arch),
        "attributes": list(record.attributes),
    }
    return module, header, extra


def assemble(
    found: Checkpoint, latent_avg: Tensor | None = None
) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
    """Network of a file, the state its id is made of, and its extra tensors. Raises BadCheckpoint."""
    where = f"'{found.path}'"
    if found.problem:
        raise BadCheckpoint(f"{where} ({found.kind.title}) cannot be used: {found.problem}.")
    if not building.has_builder(found.kind.name):
        raise BadCheckpoint(
            f"{where} is a {found.kind.title}, which this program has no use for as a network of its own."
        )
    tensors = found.tensors()
    module = building.fill(building.build(found.kind.name, found.arch), tensors, where)
    if found.kind.name == "generator":
        return module, tensors, {"latent_avg": _mean_of(found, module)}
    if found.kind.name == "e4e":
        return _projector(found, module, tensors, latent_avg)
    if found.kind.name == "arcface":
        return _identity(found, module), tensors, {}
    return module, tensors, {}


def weights_id(found: Checkpoint, tensors: Mapping[str, Tensor]) -> str:
    """Id that ``load`` gives the network of a file; "" for an encoder whose id depends on the generator's mean latent."""
    if found.converted and found.header.get("id"):
        return str(found.header["id"])
    if found.kind.name != "e4e" or found.problem:
        return state_id(tensors)
    mean = found.latent_avg()
    return "" if mean is None else state_id(_with_mean(tensors, mean_rows(mean, heads(found.arch)).clone()))


def _with_mean(tensors: Mapping[str, Tensor], mean: Tensor) -> dict[str, Tensor]:
    return {f"encoder.{key}": value for key, value in tensors.items()} | {"latent_avg": mean}


def _mean_of(found: Checkpoint, module: nn.Module) -> Tensor:
    mean = found.latent_avg()
    if mean is not None:
        rows = mean.shape[0] if mean.ndim == 2 else 1
        if mean.shape[-1] != found.arch["style_dim"] or rows not in (1, heads(found.arch)):
            raise BadCheckpoint(
                f"'{found.path}' has a mean latent of the shape {tuple(mean.shape)}, which does not fit."
            )
        return mean
    with torch.inference_mode(False), torch.no_grad():
        # A fixed seed, so that the mean and all that depends on it is the same at every start.
        return module.get_submodule("style")(_standard_normal(found.arch["style_dim"])).mean(0)


def _standard_normal(width: int) -> Tensor:
    return torch.randn(MEAN_SAMPLES, width, generator=torch.Generator().manual_seed(0))


def _projector(
    found: Checkpoint, encoder: nn.Module, tensors: dict[str, Tensor], latent_avg: Tensor | None
) -> tuple[nn.Module, dict[str, Tensor], dict[str, Tensor]]:
    own = found.latent_avg()
    mean = latent_avg if own is None else own
    if mean is None:
        raise BadCheckpoint(f"'{found.path}' has no mean latent, and there is no generator to take it from.")
    assert isinstance(encoder, Encoder4Editing)  # the builder's table says so
    try:
        module = E4EProjector(encoder, mean.float())
    except ValueError as error:
        raise BadCheckpoint(f"'{found.path}' cannot be used: {error}.") from error
    return module, _with_mean(tensors, module.latent_avg), {}


def _identity(found: Checkpoint, backbone: nn.Module) -> nn.Module:
    """The network on whole aligned faces, where the file is the one it is made for; else the bare backbone."""
    if found.arch != {"num_layers": 50, "mode": "ir_se", "input_size": 112}:
        return backbone
    with torch.device("meta"):
        module = IdentityEncoder()
    return building.fill(module, backbone.state_dict(), f"'{found.path}'")
