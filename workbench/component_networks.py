"""Where a family's component network and its directions come from: our own files, or a published one of IA-FaceS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from data import container
from iafaces.checkpoint import PublishedAutoencoder
from iafaces.directions import Direction, from_state
from iafaces.model import ComponentAutoencoder
from workbench import official
from workbench.errors import BadCheckpoint, MissingWeights
from workbench.manifest import Family
from workbench.official.checkpoint import read
from workbench.weights import Store, load_file

OWN = "components"
PUBLISHED = ("iafaces_cam_celebahq256", "iafaces_celebahq256", "iafaces_cam_ffhq1024", "iafaces_ffhq1024")
"""Kinds of the published files, which hold encoder and decoder together."""


@dataclass(frozen=True, eq=False)
class ComponentNetwork:
    """A component auto-encoder, the id of its weights, and whether it is one of ours."""

    module: ComponentAutoencoder | PublishedAutoencoder
    id: str

    @property
    def ours(self) -> bool:
        """Whether this program trained it; else it is a published one."""
        return isinstance(self.module, ComponentAutoencoder)


def kind_of(family: Family) -> str:
    """The kind of the family's component network; of several, one whose file is there. Raises MissingWeights."""
    kinds = [kind for kind in (OWN, *PUBLISHED) if kind in family.records]
    if not kinds:
        raise MissingWeights(
            f"The {family.name} family has no component network, so parts of a face cannot be edited with it; choose the "
            "starter family, or one of IA-FaceS's with its published file."
        )
    return next((kind for kind in kinds if family.find(kind) is not None), kinds[0])


def network(store: Store) -> ComponentNetwork:
    """The family's component network. Raises MissingWeights and BadCheckpoint.

    A published one whose record says ``legacy_boxes`` gates in those boxes; else in the ones its file was trained with.
    """
    kind = kind_of(store.family)
    loaded = store.network(kind)
    return _boxed(store.family, kind, _checked(loaded.module, loaded.id, store.family.path(kind)))


def open_family(family: Family, path: Path | None = None) -> ComponentNetwork:
    """As ``network`` without a store; with ``path``, the network in that file instead."""
    if path is not None:
        return open_file(path)
    kind = kind_of(family)
    return _boxed(family, kind, open_file(family.path(kind)))


def _boxed(family: Family, kind: str, found: ComponentNetwork) -> ComponentNetwork:
    legacy = family.record(kind).arch.get("legacy_boxes")
    if isinstance(found.module, PublishedAutoencoder) and legacy is not None:
        found.module.g_ema.use_boxes(legacy=bool(legacy))
    return found


def open_file(path: Path) -> ComponentNetwork:
    """The component network in one file, ours or a published one. Raises MissingWeights and BadCheckpoint."""
    found = read(path)
    with torch.inference_mode(False):
        if found.header and not found.converted:
            module, header, _ = load_file(OWN, path)
            name = str(header["id"])
        elif found.kind.name == "iafaces":
            module, state, _ = official.assemble(found)
            name = str(found.header.get("id") or container.state_id(state))
        else:
            raise BadCheckpoint(f"'{path}' holds no network that edits parts of a face: it is a {found.kind.title}.")
        return _checked(module.eval().requires_grad_(False), name, path)


def _checked(module: nn.Module, name: str, path: Path) -> ComponentNetwork:
    if not isinstance(module, ComponentAutoencoder | PublishedAutoencoder):
        raise BadCheckpoint(f"'{path}' holds no network that edits parts of a face; put the right file in its place.")
    return ComponentNetwork(module, name)


def directions(family: Family, encoder: str) -> tuple[dict[str, Direction], tuple[str, ...]]:
    """The family's attribute directions for the network ``encoder`` (its id), and the id of their file.

    Both are empty where a family may be without them. Raises MissingWeights, and BadCheckpoint for another network's.
    """
    record = family.records.get("directions")
    if record is None or (record.optional and family.find("directions") is None):
        return {}, ()
    path = family.path("directions")
    state, header = container.load(path)
    try:
        return from_state(state, header, encoder), (str(header["id"]),)
    except BadCheckpoint as error:
        raise BadCheckpoint(f"'{path}': {error}") from error


def without_directions(family: Family) -> MissingWeights:
    """What to say when an attribute is asked of a family whose directions are not there."""
    return MissingWeights(
        f"The {family.name} family has no attribute directions yet; fit them on labelled faces with "
        f"'python cli.py directions fit CONFIG --family {family.name} --faces FOLDER'."
    )


def directions_beside(path: Path, found: ComponentNetwork) -> Path:
    """Where the directions of ``found``, read from ``path``, go: beside it, under the name that a family looks for."""
    return path.with_name("directions.safetensors" if found.ours else f"{path.stem}-directions.safetensors")
