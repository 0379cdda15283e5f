"""``weights inspect``, ``weights add`` and ``weights convert``."""

from __future__ import annotations

import argparse

from commands.photos import emit
from workbench.official.converting import add as add_file
from workbench.official.converting import convert as convert_file
from workbench.official.inspecting import Inspection
from workbench.official.inspecting import inspect as inspect_file


def inspect(options: argparse.Namespace) -> int:
    """Say what a file is; 0 when it would load, and a refusal (BadCheckpoint) otherwise."""
    found = inspect_file(options.file, options.manifest)
    emit(found.to_json(), _text(found), options.json)
    return 0


def _text(found: Inspection) -> str:
    arch = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in found.arch.items())
    other = f" of {found.tensors}" if found.tensors != found.network else ""
    lines = [
        f"{found.file}: {found.title}",
        f"  written as    {found.container}, weights under '{found.under}'",
        f"  network       {found.network}{other} tensors, {found.parameters:,} numbers"
        + (f" ({arch})" if arch else ""),
        f"  id            {found.id or 'depends on the generator'}",
        f"  serves        {', '.join(found.serves) or 'no family in the list'}",
    ]
    lines += [f"  note          {note}" for note in found.notes]
    if not found.fits:
        lines.append(f"  cannot be used: {found.problem}")
    return "\n".join(lines)


def add(options: argparse.Namespace) -> int:
    """Copy a file to where its family finds it."""
    place, written = add_file(options.file, options.family, options.manifest)
    fields = {
        "family": place.family,
        "kind": place.role,
        "path": str(written.path),
        "size": written.size,
        "sha256": written.sha256,
    }
    text = f"{written.path}: {place.role} of the {place.family} family, SHA-256 {written.sha256}"
    emit(fields, text, options.json)
    return 0


def convert(options: argparse.Namespace) -> int:
    """Write a file as safetensors that says what it is."""
    written = convert_file(options.file, options.out)
    fields = {"path": str(written.path), "size": written.size, "sha256": written.sha256, "id": written.id}
    emit(
        fields,
        f"{written.path}: {written.size / 2**20:,.1f} MiB, id {written.id or 'as the generator has it'}",
        options.json,
    )
    return 0
