"""Networks of one family on one device: loaded at first use, checked, and kept."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data import container
from stylegan2.generator import Generator
from workbench import official
from workbench.errors import BadCheckpoint, WrongSpace
from workbench.manifest import Family
from workbench.networks import LATENT_BOUND, build


@dataclass(frozen=True, eq=False)
class Network:
    """A loaded network with the header of its file. ``extra`` holds tensors of the file that are no parameters."""

    module: nn.Module
    header: Mapping[str, Any]
    extra: Mapping[str, Tensor]

    @property
    def id(self) -> str:
        """Id of the weights."""
        return str(self.header["id"])


class Store:
    """The networks of ``family`` on ``device``, in eval mode and without gradients. Threads may share it.

    ``precision`` is that of the generator's convolutions; all other networks are in float32.
    """

    def __init__(self, family: Family, device: torch.device, precision: torch.dtype = torch.float32) -> None:
        self.family, self.device, self.precision = family, device, precision
        self._networks: dict[str, Network] = {}
        self._lock = threading.RLock()

    def network(self, kind: str) -> Network:
        """The network of ``kind``, loaded now if it was not. Raises MissingWeights, BadCheckpoint and WrongSpace."""
        with self._lock:
            if kind not in self._networks:
                with torch.inference_mode(False):
                    self._networks[kind] = self._load(kind)
            return self._networks[kind]

    def other(self, kind: str, path: Path) -> Network:
        """A network of ``kind`` from a file of ours that is not the family's; not kept. Raises as ``network`` does."""
        with torch.inference_mode(False):
            module, header, extra = load_file(kind, path)
        if kind in LATENT_BOUND:
            self._same_space(kind, path, header)
        return Network(module.eval().requires_grad_(False).to(self.device), header, extra)

    def module(self, kind: str) -> nn.Module:
        """As ``network``, the module alone."""
        return self.network(kind).module

    def generator(self) -> Generator:
        """The family's generator."""
        module = self.module("generator")
        if not isinstance(module, Generator):
            raise BadCheckpoint(f"The generator of the {self.family.name} family is a {type(module).__name__}.")
        return module

    @property
    def generator_id(self) -> str:
        """Id of the generator's weights: the name of its latent space."""
        return self.network("generator").id

    def latent_avg(self) -> Tensor:
        """Mean of W, (L,512) on the device."""
        generator = self.generator()
        mean = self.network("generator").extra["latent_avg"].to(self.device)
        return mean.reshape(-1, generator.style_dim).expand(generator.n_latent, -1)

    def samples(self) -> Tensor:
        """Codes (N,L,512) of the family's sample faces, on the CPU."""
        path = self.family.path("samples")
        state, header = container.load(path)
        self._same_space("samples", path, header)
        if "codes" not in state:
            raise BadCheckpoint(f"'{path}' holds no codes; copy it again.")
        return state["codes"]

    def _load(self, kind: str) -> Network:
        record, path = self.family.record(kind), self.family.path(kind)
        if record.format != "facet":
            module, header, extra = self._published(kind, path)
        else:
            module, header, extra = load_file(kind, path)
        if kind == "generator":
            if "latent_avg" not in extra:
                raise BadCheckpoint(f"'{path}' holds no mean latent ('latent_avg'); copy it again.")
            if isinstance(module, Generator):
                module.set_precision(self.precision)
        elif kind in LATENT_BOUND and record.format == "facet":
            self._same_space(kind, path, header)
        return Network(module.eval().requires_grad_(False).to(self.device), header, extra)

    def _published(self, kind: str, path: Path) -> tuple[nn.Module, Mapping[str, Any], Mapping[str, Tensor]]:
        record = self.family.record(kind)
        if kind != "projector":
            return official.load(kind, path, record)
        generator = self.generator()
        return official.load(kind, path, record, self.network("generator").extra["latent_avg"], generator.size)

    def _same_space(self, kind: str, path: Path, header: Mapping[str, Any]) -> None:
        made_for = header.get("generator")
        if made_for is None:
            raise BadCheckpoint(f"'{path}' does not say which generator it belongs to; train or copy it again.")
        if made_for != self.generator_id:
            raise WrongSpace(
                f"'{path}' ({kind}) was made for the generator {made_for} and the {self.family.name} family's is "
                f"{self.generator_id}; use files that belong together."
            )


def load_file(kind: str, path: Path) -> tuple[nn.Module, Mapping[str, Any], Mapping[str, Tensor]]:
    """Network, header and extra tensors of a file of ours that must hold ``kind``. Raises BadCheckpoint."""
    state, header = container.load(path)
    if header.get("kind") != kind:
        raise BadCheckpoint(f"'{path}' holds '{header.get('kind')}' where '{kind}' is needed; replace it.")
    if not isinstance(header.get("arch"), dict) or "id" not in header:
        raise BadCheckpoint(f"'{path}' does not say its architecture or id; train or copy it again.")
    module = build(kind, header["arch"])
    extra = {name: state.pop(name) for name in ("latent_avg",) if kind == "generator" and name in state}
    fill(module, state, path)
    return module, header, extra


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Load ``state`` into ``module``, every key and shape. Raises BadCheckpoint with the first difference."""
    try:
        module.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[1] if len(lines) > 1 else lines[0]
        raise BadCheckpoint(f"'{path}' does not fit {type(module).__name__}: {reason[:300]}") from error
