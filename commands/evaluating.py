"""``evaluate``: measure a method by its own protocol. Each line of the table is one protocol, loaded when it is asked for."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from workbench.errors import BadRequest


@dataclass(frozen=True)
class Protocol:
    """Where a measurement lives ("module:function") and what it measures, in a few words.

    The function takes the words after the method's name, reads its own options from them (``--json`` prints one object
    and nothing else, ``--help`` says the others), prints what it found and returns the exit status.
    """

    target: str
    about: str


PROTOCOLS: Mapping[str, Protocol] = {
    "idswap": Protocol("evaluation.idswap:command", "identity and attribute swapping, on photos and generated faces"),
    "iafaces": Protocol("evaluation.components:command", "edits of face parts: reconstruction, curves, one eye alone"),
    "maskfacegan": Protocol("evaluation.maskfacegan:command", "masked edits: success by the judge, what else changed"),
    "sdflow": Protocol(
        "evaluation.semantic:command", "semantic edits: success, identity and unintended change by strength"
    ),
    "compare": Protocol("evaluation.compare:command", "every editing method on the same faces, at matched success"),
    "folders": Protocol("evaluation.folders:command", "metrics between two folders of pictures"),
}


def listing() -> str:
    """One line per protocol, for the help."""
    width = max(map(len, PROTOCOLS))
    lines = (f"  {name:{width}}  {protocol.about}" for name, protocol in PROTOCOLS.items())
    return "\n".join(("methods:", *lines, "", "evaluate METHOD --help shows the options of one."))


def evaluate(options: argparse.Namespace) -> int:
    """Carry out the protocol of ``options.method`` with the words ``options.rest``. Raises BadRequest for an unknown one."""
    protocol = PROTOCOLS.get(options.method)
    if protocol is None:
        raise BadRequest(f"There is no evaluation of '{options.method}'; there are: {', '.join(PROTOCOLS)}.")
    module, function = protocol.target.split(":")
    return getattr(import_module(module), function)(list(options.rest))
