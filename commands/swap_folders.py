"""``swap-dirs`` and ``swap-pairs``: identities of one folder on the photos of another."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from commands.faces import engine_of
from commands.photos import collect, complain, emit
from commands.swapping import aligned_of
from idswap.swap import Strengths
from workbench.errors import BadRequest
from workbench.ledger import Ledger
from workbench.pairing import match
from workbench.swap_folders import Failed, FolderSwaps, Made, Order
from workbench.swapping import Swapping, checked


def swap_dirs(options: argparse.Namespace) -> int:
    """All combinations, and a contact sheet."""
    out = _folder(options.out, options)
    identities, attributes = (collect([name]).photos for name in (options.identities, options.attributes))
    with Ledger(out, "swap-dirs") as ledger:
        job = _job(options, ledger)
        sheet = out / "sheet.png"
        failed = tell(job.all(identities, attributes, out, sheet), ledger, options.json)
        made = None if job.sheet is None else str(job.sheet)
        ledger.note("sheet", made)
        rows, columns = job.shape
        body = {"sheet": made, "rows": rows, "columns": columns, "failed": failed}
        size = f"{rows} x {columns} pictures, {failed} failed"
        emit(body, f"{made}: {size}" if made else f"No sheet: {size}", options.json)
    return 1 if failed else 0


def swap_pairs(options: argparse.Namespace) -> int:
    """Photos of one name; those without a partner are named."""
    out = _folder(options.out, options)
    found = match(collect([options.identities]).photos, collect([options.attributes]).photos)
    with Ledger(out, "swap-pairs") as ledger:
        unmatched = {
            "identities_alone": [str(path) for path in found.only_first],
            "attributes_alone": [str(path) for path in found.only_second],
            "ambiguous": [str(path) for path in found.ambiguous],
        }
        ledger.note("unmatched", unmatched)
        failed = tell(_job(options, ledger).pairs(found.matched, out), ledger, options.json)
        alone = sum(map(len, unmatched.values()))
        for name, paths in unmatched.items():
            for path in paths:
                complain(f"{path}: {'more than one file has this name' if name == 'ambiguous' else 'has no partner'}.")
        text = f"{out}: {len(found.matched) - failed} pairs swapped, {alone} files without a partner"
        emit({"pairs": len(found.matched), "failed": failed, **unmatched}, text, options.json)
    if not found.matched:
        raise BadRequest(
            f"No picture in '{options.identities}' has the name of one in '{options.attributes}'; "
            "pairs are found by the same name without its suffix."
        )
    return 1 if failed else 0


def _job(options: argparse.Namespace, ledger: Ledger) -> FolderSwaps:
    engine = engine_of(options)
    strengths = checked(Strengths(options.identity_strength, options.attribute_strength))
    order = Order(options.method, strengths, options.base, options.crop)
    job = FolderSwaps(engine, Swapping(engine), order, lambda p: aligned_of(engine, p, options.aligned), ledger)
    ledger.note("method", options.method)
    ledger.note("base", options.base)
    ledger.note("identity_strength", strengths.identity)
    ledger.note("attribute_strength", strengths.attributes)
    ledger.note("crop", options.crop)
    ledger.note("family", engine.family)
    ledger.note("weights", list(job.weights))
    return job


def tell(steps: Iterable[Made | Failed], ledger: Ledger, as_json: bool) -> int:
    """Print what happened, one line each; returns how many pictures failed."""
    failed = []
    for step in steps:
        if isinstance(step, Failed):
            failed.append({"input": str(step.path), "error": str(step.error)})
            complain(f"{step.path}: {step.error}")
            continue
        text = f"{step.output}: {'there already' if step.kept else 'written'}"
        emit({**step.body, "kept": step.kept}, text, as_json)
    ledger.note("failed", failed)
    return len(failed)


def _folder(name: str, options: argparse.Namespace) -> Path:
    folder = Path(name)
    if folder.is_file():
        raise BadRequest(f"--out '{folder}' is a file, and the results need a folder; name a folder.")
    for source in (options.identities, options.attributes):
        if not Path(source).exists():
            raise BadRequest(f"There is no folder '{source}'; name one with photos.")
        if Path(source).resolve() == folder.resolve():
            raise BadRequest(f"--out '{folder}' holds the photos themselves; name another folder for the results.")
    return folder
