"""``weights``, ``train`` and ``bench``."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from commands.photos import complain, emit
from workbench.errors import BadRequest
from workbench.manifest import Family, FileState, Record, check, families, open_family, record_starter, verify

ROOT = Path(__file__).resolve().parent.parent


def weights(options: argparse.Namespace) -> int:
    """List, verify or record the weights files."""
    if options.action == "record":
        done = record_starter(options.manifest, options.family or "starter")
        emit({"recorded": list(done)}, f"recorded: {', '.join(done) or 'nothing is there'}", options.json)
        return 0
    known = families(options.manifest)
    if options.family:
        known = {options.family: open_family(options.family, options.manifest)}
    failed = 0
    for family in known.values():
        if not options.json:
            print(f"{family.name}: {family.title}", flush=True)
        for kind, record in family.records.items():
            full = options.action == "verify"
            found = verify(family, kind) if full else check(family, kind, full=False)
            emit(_state(family, found), _line(record, found), options.json)
            # Files that the user has to bring are only missed when their family is asked for.
            wanted = record.shipped or (bool(options.family) and not record.optional)
            if full and (found.state == "broken" or (found.state == "missing" and wanted)):
                failed += 1
                complain(f"{family.name} {kind} ('{found.file}') is {found.state}: {found.message}.")
    return 1 if failed else 0


def _state(family: Family, found: FileState) -> dict[str, Any]:
    record = family.record(found.kind)
    return {
        "family": found.family,
        "kind": found.kind,
        "file": found.file,
        "path": None if found.path is None else str(found.path),
        "place": str(family.place(found.kind)),
        "state": found.state,
        "message": found.message,
        "size": found.size,
        "licence": found.licence,
        "origin": found.origin,
        "needed_for": found.needed_for,
        "paper": record.paper,
        "urls": list(record.urls),
        "by_hand": record.by_hand,
        "optional": record.optional,
    }


def _line(record: Record, found: FileState) -> str:
    size = f"{found.size / 2**20:.1f} MiB" if found.size else f"~{record.about_mib} MiB" if record.about_mib else "?"
    first = f"  {found.state:9} {size:>11}  {found.kind}: {found.file}"
    told = [f"needed for {found.needed_for}"] if found.needed_for else []
    told += [f"licence: {found.licence}", f"from {found.origin}"]
    if found.state == "missing":
        how = f"weights fetch {found.file}" if record.urls else f"by hand: {record.by_hand or found.origin}"
        told.append(f"{found.message} ({how})")
    elif found.state == "broken":
        told.append(found.message)
    return "\n".join([first, *(f"{'':24}{text}" for text in told)])


def train(options: argparse.Namespace) -> int:
    """Train the model that ``configs/NAME.toml`` describes."""
    configs = ROOT / "configs"
    path = Path(options.name) if options.name.endswith(".toml") else configs / f"{options.name}.toml"
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in configs.glob("*.toml"))) or "none yet"
        raise BadRequest(f"There is no training called '{options.name}'; there are: {names}.")
    run = import_module("training.run")
    run.main(
        path,
        minutes=options.minutes,
        resume=not options.fresh,
        faces=options.faces,
        out=options.out,
        device=options.device,
    )
    return 0


def benches() -> tuple[str, ...]:
    """Names of the measurements: the modules ``evaluation/bench_NAME.py``."""
    stems = (p.stem.removeprefix("bench_") for p in (ROOT / "evaluation").glob("bench_*.py"))
    return tuple(sorted(stem.replace("_", "-") for stem in stems))


def bench(options: argparse.Namespace) -> int:
    """Measure one thing and print medians."""
    name = options.name.replace("_", "-")
    if name not in benches():
        raise BadRequest(f"There is no measurement called '{options.name}'; there are: {', '.join(benches())}.")
    if options.repeats is not None and options.repeats < 1:
        raise BadRequest(f"A measurement is taken at least once; --repeats {options.repeats} was given.")
    module = import_module(f"evaluation.bench_{name.replace('-', '_')}")
    asked = {key: value for key in ("repeats", "faces") if (value := getattr(options, key, None)) is not None}
    if "faces" in asked and "faces" not in inspect.signature(module.run).parameters:
        raise BadRequest(f"The measurement '{options.name}' takes no faces; leave --faces out.")
    found = module.run(**asked)
    if options.json:
        print(json.dumps(found), flush=True)
        return 0
    _table(found)
    return 0


def _table(found: Mapping[str, Any], indent: str = "") -> None:
    width = max((len(name) for name in found), default=0)
    for name, value in found.items():
        if isinstance(value, Mapping):
            print(f"{indent}{name}:")
            _table(value, indent + "  ")
        else:
            print(f"{indent}{name:{width}}  {f'{value:.4g}' if isinstance(value, float) else value}")
