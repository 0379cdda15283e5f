"""Finds the tables of tensors in what a file holds, and brings their keys to the plain form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from workbench.official.files import Opened
from workbench.official.pickled import Damaged, Thing, View

State = dict[str, View]

TABLES = (
    "g_ema",
    "state_dict",
    "encoder_state_dict",
    "net_state_dict",
    "model_state_dict",
    "params_ema",
    "ema",
    "model",
    "net",
    "params",
    "generator",
    "encoder",
    "g",
)
"""Names under which checkpoints keep their weights, the most finished first."""

PREFIXES = ("module.", "facenet.", "model.0.")
"""Prefixes that wrappers put before every key: DataParallel, an identity loss, a network wrapped once more."""

MEANS = ("latent_avg", "latent_mean", "mean_latent", "w_avg")
MAX_TENSORS = 100_000
MAX_DEPTH = 64


@dataclass(frozen=True, eq=False)
class Table:
    """A table of tensors found ``under`` some name, with its keys as they are in the file."""

    under: str
    state: State


def tables(opened: Opened) -> list[Table]:
    """Every table of tensors in the file, the most likely first. Raises Damaged."""
    body = opened.body
    if isinstance(body, View):
        return []
    if isinstance(body, Thing):
        whole = _module(body)
        return [Table("whole module", whole)] if whole else _options(body)
    if not isinstance(body, dict):
        return []
    found: list[Table] = []
    # IA-FaceS keeps two networks that only work together.
    pair = [(name, _table(body.get(name))) for name in ("e_ema", "g_ema")]
    if all(state for _, state in pair):
        both = {f"{name}.{key}": value for name, state in pair for key, value in state.items()}
        found.append(Table("e_ema and g_ema", both))
    top = {key: value for key, value in body.items() if isinstance(key, str) and isinstance(value, View)}
    names = [name for name in TABLES if name in body]
    names += [name for name in body if isinstance(name, str) and name not in names][:1000]
    for name in names:
        state = _table(body[name])
        if state:
            found.append(Table(name, state))
    if len(top) > 1 or (top and not found):
        found.insert(0 if len(top) > len(MEANS) or not found else len(found), Table("top level", top))
    return found


def _options(thing: Thing) -> list[Table]:
    state = {key: value for key, value in thing.fields().items() if isinstance(value, View)}
    return [Table(thing.name, state)] if state else []


def _table(value: Any) -> State:
    """The tensors in ``value``, a table or a network pickled whole; empty when it is neither."""
    if isinstance(value, Thing):
        return _module(value)
    if not isinstance(value, dict):
        return {}
    return {key: item for key, item in value.items() if isinstance(key, str) and isinstance(item, View)}


def _module(thing: Thing) -> State:
    """State dict of a network that was pickled whole: its parameters and buffers and those of its parts."""
    found: State = {}
    _walk(thing, "", 0, found)
    return found


def _walk(thing: Thing, prefix: str, depth: int, found: State) -> None:
    fields = thing.fields()
    if depth > MAX_DEPTH or len(found) > MAX_TENSORS:
        raise Damaged("its network is nested too deep")
    hidden = fields.get("_non_persistent_buffers_set")
    skipped = set(_members(hidden)) if isinstance(hidden, Thing) else set()
    for table in ("_parameters", "_buffers"):
        entries = fields.get(table)
        for key, value in entries.items() if isinstance(entries, dict) else ():
            if isinstance(key, str) and isinstance(value, View) and key not in skipped:
                found[prefix + key] = value
    parts = fields.get("_modules")
    for key, value in parts.items() if isinstance(parts, dict) else ():
        if isinstance(key, str) and isinstance(value, Thing):
            if not value.fields():
                continue
            _walk(value, f"{prefix}{key}.", depth + 1, found)


def _members(thing: Thing) -> Iterator[str]:
    for value in thing.arguments[:1]:
        yield from (v for v in value if isinstance(v, str)) if isinstance(value, list | tuple) else ()


def plain(state: Mapping[str, View]) -> Iterator[State]:
    """``state`` as it is, and then without the prefixes that wrappers put before every key. Raises Damaged."""
    current = dict(state)
    yield current
    for _ in range(4):
        prefix = next((p for p in PREFIXES if current and all(key.startswith(p) for key in current)), None)
        if prefix is None:
            break
        # A wrapped Sequential keeps its own name: model.0.0.* was model.0.* before.
        kept = "model." if prefix == "model.0." else ""
        current = {kept + key[len(prefix) :]: value for key, value in current.items()}
        yield current
    inner = {key.replace("module.", ""): value for key, value in current.items()}
    if inner.keys() != current.keys():
        if len(inner) != len(current):
            raise Damaged("two of its keys are the same but for 'module.'")
        yield inner


def mean_of(body: Any) -> View | None:
    """The mean latent beside the weights, if there is one: a tensor whose last side is the width of a style."""
    for name in MEANS:
        value = body.get(name) if isinstance(body, dict) else None
        if isinstance(value, View) and value.shape and 1 <= len(value.shape) <= 3:
            return value
    return None
