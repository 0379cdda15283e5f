"""``deidentify``: photos with faces of nobody, one donor per person."""

from __future__ import annotations

import argparse
import os
import secrets
from dataclasses import asdict
from pathlib import Path

from commands.faces import engine_of
from commands.photos import collect, complain, emit, places
from commands.swap_folders import tell
from commands.swapping import aligned_of
from workbench.deidentify import Deidentifier, People
from workbench.donors import DonorSettings
from workbench.errors import BadRequest, CannotWrite
from workbench.judges import judge_of
from workbench.ledger import Ledger

LEAST_KEY = 16


def deidentify(options: argparse.Namespace) -> int:
    """De-identify photos and report what a recogniser says before and after."""
    inputs = collect(options.photos)
    folder = Path(options.out)
    if any(photo.resolve().parent == folder.resolve() for photo in inputs.photos):
        raise BadRequest(f"--out '{folder}' holds the photos themselves; name another folder for the results.")
    found = places(inputs, str(folder) + "/", ".png")
    outputs = {photo: place for photo, place in found.items() if place is not None}
    settings = DonorSettings(options.mode, options.threshold, options.strength, options.k, options.gallery)
    settings.check()
    key = key_of(Path(options.key))
    engine = engine_of(options)
    judge = judge_of(engine, None if options.judge is None else Path(options.judge))
    if not judge.independent:
        complain(
            "Verified by the recogniser that the swap was trained with, which flatters; name another with --judge."
        )
    kept = Path(options.people or f"{options.key}.people.json")
    if not kept.exists():
        complain(
            f"What tells these people apart, and their donors, is kept in '{kept}'; keep it to yourself, as the key."
        )
    people = People(kept, engine.store.network("identity").id)
    job = Deidentifier(
        engine,
        options.method,
        settings,
        judge,
        read=lambda path: aligned_of(engine, path, options.aligned),
        same=options.same,
        verify=options.verify,
        crop=options.crop,
        told_apart=options.told_apart,
    )
    with Ledger(folder, "deidentify") as ledger:
        for name, value in asdict(settings).items():
            ledger.note(name, value)
        ledger.note("method", options.method)
        ledger.note("family", engine.family)
        ledger.note("crop", options.crop)
        ledger.note("told_apart", options.told_apart)
        ledger.note("same", options.same)
        ledger.note("verify", options.verify)
        ledger.note("weights", list(job.weights))
        failed = tell(job.run(outputs, key, people, ledger), ledger, options.json)
        report = ledger.noted("report")
        after = report["after"]
        alike = "" if after["mean"] is None else f", mean similarity to the own photo {after['mean']}"
        text = f"{report['people']} people; {after['count']} results{alike}"
        emit({"report": report, "failed": failed}, text, options.json)
    return 1 if failed else 0


def key_of(path: Path) -> bytes:
    """The secret in ``path``, made now when the file is not there. Raises BadRequest and CannotWrite."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
            complain(f"A new key was written to '{path}'; keep it to yourself, it leads to the same donors again.")
        key = path.read_bytes()
    except OSError as error:
        raise CannotWrite(f"The key file '{path}' cannot be used ({error.strerror}); name another file.") from error
    if len(key) < LEAST_KEY:
        raise BadRequest(f"The key in '{path}' has {len(key)} bytes; it needs {LEAST_KEY} that nobody can guess.")
    return key
