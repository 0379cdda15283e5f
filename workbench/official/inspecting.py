"""What the command line and the Models page tell about a weights file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workbench.manifest import Family, families
from workbench.official import weights_id
from workbench.official.building import unlike
from workbench.official.checkpoint import Checkpoint, read


@dataclass(frozen=True)
class Place:
    """A record of the manifest that a file can serve: its family, its kind there, and where the file would lie."""

    family: str
    role: str
    path: Path


@dataclass(frozen=True)
class Inspection:
    """A file that was read: what it is, what it serves, and what is strange about it.

    ``container`` is how it is written, ``under`` where its weights stand, ``tensors`` how many are there, ``network``
    and ``parameters`` how many of them and how many numbers belong to the network. ``fits`` is False when its sizes are
    not the network's, and ``problem`` says why. ``id`` names the weights.
    """

    file: str
    kind: str
    title: str
    container: str
    under: str
    tensors: int
    network: int
    parameters: int
    bytes: int
    arch: Mapping[str, Any]
    latent_avg: tuple[int, ...] | None
    id: str
    fits: bool
    problem: str
    notes: tuple[str, ...]
    serves: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "arch": dict(self.arch), "loads": True}


def inspect(path: Path | str, manifest: Path | str | None = None) -> Inspection:
    """What the file ``path`` is; all of it is read. Raises MissingWeights, and BadCheckpoint when it is refused."""
    found = read(path)
    tensors = found.tensors()
    served = places(found, manifest)
    return Inspection(
        file=str(found.path),
        kind=found.kind.name,
        title=found.kind.title,
        container=found.opened.container,
        under=found.under,
        tensors=found.total,
        network=len(found.views),
        parameters=found.parameters,
        bytes=found.opened.size,
        arch=found.arch,
        latent_avg=None if found.mean is None else found.mean.shape,
        id=str(found.header.get("id") or weights_id(found, tensors)),
        fits=not found.problem,
        problem=found.problem,
        notes=found.notes,
        serves=tuple(f"{place.family}: {place.role}" for place in served),
    )


def places(found: Checkpoint, manifest: Path | str | None = None) -> list[Place]:
    """The records of the manifest that ``found`` can serve, in the manifest's order."""
    return [place for family in families(manifest).values() for place in _in_family(found, family)]


def _in_family(found: Checkpoint, family: Family) -> list[Place]:
    ours = bool(found.header) and not found.converted
    made = []
    if any(found.views[key].shape != shape for key, shape in found.kind.published.items() if key in found.views):
        return made
    for role, record in family.records.items():
        if role not in found.roles or (record.format == "facet") != ours:
            continue
        if not found.problem and not unlike(found.kind, found.arch, record.arch, family.name):
            made.append(Place(family.name, role, family.place(role)))
    return made
