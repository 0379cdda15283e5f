"""Files that a run's settings name: looked for, read as ours or published, checked against what they must be, and frozen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from data import container
from encoders.compact import AttributeNet, CompactE4E
from stylegan2.generator import Generator
from workbench import official
from workbench.errors import BadCheckpoint, MissingWeights, WrongSpace
from workbench.weights import load_file

N = TypeVar("N", bound=nn.Module)
ROOT = Path(__file__).resolve().parent.parent


def find(name: str, runs: Path) -> Path:
    """The file ``name``, seen from the folder of the runs or from the project. Raises MissingWeights."""
    for folder in (runs, ROOT):
        if (folder / name).is_file():
            return folder / name
    raise MissingWeights(f"The file '{name}' that the settings name is neither in '{runs}' nor in '{ROOT}'.")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A frozen network and the id of its weights; ``mean`` is a generator's mean latent (D,)."""

    net: nn.Module
    id: str
    mean: Tensor | None = None


def _read(path: Path, kind: str) -> Loaded:
    """A network of ours that must be ``kind``, or a published file, by what is in it."""
    if path.suffix == ".safetensors":
        module, header, extra = load_file(kind, path)
        if kind == "projector":
            return Loaded(module, str(header.get("generator")))
        return Loaded(module, str(header["id"]), extra.get("latent_avg"))
    found = official.read(path)
    module, state, extra = official.assemble(found)
    return Loaded(module, official.weights_id(found, state), extra.get("latent_avg"))


def load_network(cls: type[N], path: Path, device: str = "cpu") -> tuple[N, dict[str, Any]]:
    """The network of our class ``cls`` in ``path``, without gradients, in eval mode, and its header. Raises BadCheckpoint."""
    state, header = container.load(path)
    state.pop("latent_avg", None)
    try:
        net = cls(**header["arch"])
        net.load_state_dict(state)
    except (KeyError, TypeError, RuntimeError) as error:
        raise BadCheckpoint(f"'{path}' holds no {cls.__name__} ({error}); name the right file.") from error
    return net.to(device).eval().requires_grad_(False), header


def frozen(name: str, kind: str, runs: Path, device: str) -> Loaded:
    """The network in the file ``name``, without gradients, in eval mode."""
    found = _read(find(name, runs), kind)
    return Loaded(found.net.to(device).eval().requires_grad_(False), found.id, found.mean)


def generator(name: str, runs: Path, device: str) -> tuple[Generator, str, Tensor]:
    """Generator, its id and its mean latent (D,). Raises BadCheckpoint."""
    found = frozen(name, "generator", runs, device)
    if not isinstance(found.net, Generator) or found.mean is None:
        raise BadCheckpoint(f"'{name}' holds no generator with its mean latent; name one in the settings.")
    return found.net, found.id, found.mean.reshape(-1, found.net.style_dim)[0].to(device)


def projector(name: str, runs: Path, generator_id: str, device: str) -> CompactE4E:
    """The projector, which must belong to the generator. Raises WrongSpace."""
    found = frozen(name, "projector", runs, device)
    if found.id != generator_id or not isinstance(found.net, CompactE4E):
        raise WrongSpace(f"'{name}' was made for the generator {found.id}, and this run uses {generator_id}.")
    return found.net


def attribute_guide(name: str, runs: Path, device: str) -> AttributeNet:
    """The attribute classifier in the file ``name``, without gradients, in eval mode. Raises BadCheckpoint."""
    net = frozen(name, "attributes", runs, device).net
    if not isinstance(net, AttributeNet):
        raise BadCheckpoint(f"'{name}' holds no attribute classifier; name one in the settings.")
    return net
