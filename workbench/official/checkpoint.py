"""What a weights file is: its network, arguments and tensors, told by keys and shapes and never by the file's name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from data.container import KEY
from workbench.errors import BadCheckpoint
from workbench.official import keras
from workbench.official.building import misfit
from workbench.official.files import Opened, open_file, whole
from workbench.official.kinds import OWN, Arch, Kind, by_name, heads, recognise, role_of
from workbench.official.pickled import Damaged, Thing, View
from workbench.official.states import Table, mean_of, plain, tables

SPARE = 2**20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A recognised weights file. Its numbers are still in the file; ``tensors`` reads them.

    ``under`` is the name its weights stand under, ``total`` their number there, ``views`` those of the network itself
    and ``aside`` how many are of something else. ``problem`` says why it does not fit the network it resembles, "" when
    it does. ``header`` is ours, for a file this program wrote; ``options`` the authors' own, where there are any.
    """

    opened: Opened
    kind: Kind
    arch: Arch
    under: str
    total: int
    views: Mapping[str, View]
    aside: int
    mean: View | None
    problem: str
    notes: tuple[str, ...]
    roles: tuple[str, ...]
    header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The file."""
        return self.opened.path

    @property
    def parameters(self) -> int:
        """Numbers in the network's state."""
        return sum(view.count for view in self.views.values())

    @property
    def bytes(self) -> int:
        """Bytes of the network's state."""
        return sum(view.count * view.storage.dtype.itemsize for view in self.views.values())

    @property
    def converted(self) -> bool:
        """Whether ``convert`` wrote it."""
        return bool(self.header) and "converted_from" in self.header

    def tensors(self) -> dict[str, Tensor]:
        """The network's tensors: memory of their own, or pages of a converted file. Raises BadCheckpoint."""
        return self.opened.tensors(self.views, lazy=self.converted)

    def latent_avg(self) -> Tensor | None:
        """The mean latent that lies in the file: (512,), (1,512), (n,512) or None."""
        if self.mean is None:
            return None
        found = self.opened.tensors({"mean": self.mean})["mean"].float()
        return found[0] if found.ndim == 3 else found


def read(path: Path | str) -> Checkpoint:
    """What ``path`` is. Raises MissingWeights, and BadCheckpoint for a file that is damaged, unsafe or of no known network."""
    opened = open_file(path)
    try:
        return _recognise(opened)
    except (Damaged, RecursionError) as error:
        raise BadCheckpoint(f"'{opened.path}' cannot be read: {error}; fetch or copy it again.") from error


def _recognise(opened: Opened) -> Checkpoint:
    if opened.container == "safetensors" and KEY in opened.metadata:
        return _own(opened)
    if opened.container == "keras":
        return _keras(opened)
    found = tables(opened)
    for table in found:
        for state in plain(table.state):
            told = recognise({key: view.shape for key, view in state.items()})
            if told is not None:
                return _told(opened, table, state, *told)
    raise BadCheckpoint(_unknown(opened, found))


def _told(opened: Opened, table: Table, state: Mapping[str, View], kind: Kind, prefix: str, arch: Arch) -> Checkpoint:
    inner = {key[len(prefix) :]: view for key, view in state.items() if key.startswith(prefix)}
    inner = {key: view for key, view in inner.items() if not key.startswith(kind.drop)} if kind.drop else inner
    inner = {kind.rename(key, inner): view for key, view in inner.items()}
    mean = mean_of(opened.body) or (inner.pop("latent_avg") if "latent_avg" in inner else None)
    # Tensors may share their numbers, but a network cannot be many times larger than the file it came in.
    size = sum(view.count * view.storage.dtype.itemsize for view in inner.values())
    if size > 2 * opened.size + SPARE:
        raise Damaged("its tensors are larger than the file")
    problem = misfit(kind, arch, {key: view.shape for key, view in inner.items()})
    options = _options(opened.body)
    encoder = options.get("encoder_type")
    if kind.name == "e4e" and isinstance(encoder, str) and encoder != "Encoder4Editing":
        problem = f"its options name the encoder '{encoder[:60]}', which is not e4e's"
    notes = tuple(_notes(kind, arch, table, mean, len(state) - len(inner)))
    roles = role_of(kind, arch, opened.container)
    return Checkpoint(
        opened, kind, arch, table.under, len(state), inner, len(state) - len(inner), mean, problem, notes, roles
    )


def _options(body: Any) -> Mapping[str, Any]:
    for name in ("opts", "options", "args"):
        value = body.get(name) if isinstance(body, dict) else None
        if isinstance(value, Thing):
            return value.fields()
        if isinstance(value, dict):
            return value
    return {}


def _notes(kind: Kind, arch: Arch, table: Table, mean: View | None, aside: int) -> list[str]:
    notes = []
    if kind.name == "generator":
        notes.append(f"{heads(arch)} style rows" if arch["size"] else "no size can be told")
        if mean is None:
            notes.append("no mean latent: it is computed from 10,000 samples of the mapping network when it is loaded")
    if kind.name == "e4e" and arch["size"]:
        notes.append(f"{heads(arch)} style heads: it belongs to a generator of {arch['size']} px")
        notes.append("no mean latent: the generator's is added" if mean is None else "its own mean latent is added")
        if aside:
            notes.append(f"{aside} tensors of a decoder beside it, which is not used")
        elif table.under != "state_dict":
            notes.append("without a decoder")
    if kind.name == "idswap_mapper":
        notes.append(
            "Zhou's mapper and the PyTorch port of Nitzan's have the same keys and sizes and other conventions: "
            "say which one it is by its name or its family"
        )
    other = [key for key, shape in kind.published.items() if key in table.state and table.state[key].shape != shape]
    if other:
        shape = table.state[other[0]].shape
        notes.append(f"not of the published size: '{other[0]}' is {shape} there {kind.published[other[0]]}")
    if mean is not None:
        notes.append(f"mean latent {mean.shape}")
        rows = mean.shape[-2] if len(mean.shape) > 1 else 1
        if kind.name in ("generator", "e4e") and rows not in (1, heads(arch)):
            notes.append(f"its mean latent has {rows} rows and the network {heads(arch)}")
    return notes


def _unknown(opened: Opened, found: list[Table]) -> str:
    body = opened.body
    if not found:
        if isinstance(body, dict):
            names = ", ".join(f"'{str(key)[:40]}'" for key in list(body)[:12])
            return f"'{opened.path}' holds no weights, only {names or 'an empty table'}; choose another file."
        what = f"a {body.name}" if isinstance(body, Thing) else f"a {type(body).__name__.lower()}"
        return f"'{opened.path}' holds {what} where a table of tensors is expected; choose another file."
    names = ", ".join(f"'{key[:60]}'" for key in list(found[0].state)[:3])
    return (
        f"'{opened.path}' holds {len(found[0].state)} tensors ({names} ...) of no network that is known here; "
        "choose a checkpoint of one of the methods."
    )


def _keras(opened: Opened) -> Checkpoint:
    told = keras.match(opened.arrays)
    if told is None:
        raise BadCheckpoint(
            f"'{opened.path}' is a Keras file whose arrays have the shapes of no network that is known here."
        )
    name, state = told
    kind = by_name(name)
    assert kind is not None  # keras names kinds of the list
    views = {key: whole(key, value) for key, value in state.items()}
    shapes = {key: view.shape for key, view in views.items()}
    arch = kind.arch(shapes)
    made = Opened(opened.path, opened.size, "keras", views, arrays=state)
    notes = ("matched by shape: the names in a Keras file say nothing",)
    problem = misfit(kind, arch, shapes)
    return Checkpoint(
        made, kind, arch, "Keras", len(state), views, 0, None, problem, notes, role_of(kind, arch, "keras")
    )


def _own(opened: Opened) -> Checkpoint:
    try:
        header = json.loads(opened.metadata[KEY])
        kind_name, arch = header["kind"], header.get("arch", {})
        if not isinstance(kind_name, str) or not isinstance(arch, dict):
            raise TypeError("kind or arch is of the wrong type")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged("its header does not say what it is") from error
    views = dict(opened.body)
    mean = views.pop("latent_avg", None)
    if "converted_from" not in header:
        kind = Kind(kind_name, f"weights file of this program ({kind_name})", OWN.marks)
        notes = tuple(
            f"{name}: {header[name]}" for name in ("licence", "generator") if isinstance(header.get(name), str)
        )
        return Checkpoint(
            opened, kind, arch, "top level", len(opened.body), views, 0, mean, "", notes, (kind_name,), header
        )
    kind = by_name(kind_name)
    if kind is None:
        raise Damaged(f"its header names a network '{kind_name[:60]}' that is not known here")
    # The sizes are read off the tensors again: a header can say anything.
    shapes = {key: view.shape for key, view in views.items()}
    arch = kind.arch(shapes)
    problem = misfit(kind, arch, shapes)
    source = header["converted_from"] if isinstance(header["converted_from"], dict) else {}
    roles = role_of(kind, arch, str(source.get("container", "")))
    notes = (f"converted from '{str(source.get('name', '?'))[:120]}'",)
    return Checkpoint(opened, kind, arch, "top level", len(opened.body), views, 0, mean, problem, notes, roles, header)
