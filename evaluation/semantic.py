"""SDFlow's own protocol: every attribute of validation faces flipped at rising strength, read by judges that took no part.

python cli.py evaluate sdflow --faces FOLDER --count 100 --json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict

import torch

from evaluation import flips, validation
from workbench import contest
from workbench.engine import Engine

EDITOR = "sdflow"
STRENGTHS = (0.25, 0.5, 0.75, 1.0)


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """The options that the evaluations of edits share."""
    found = argparse.ArgumentParser(prog=f"cli.py evaluate {name}", description=about)
    validation.options(found)
    found.add_argument(
        "--strengths", type=float, nargs="+", default=list(STRENGTHS), metavar="S", help="shares of the range"
    )
    found.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return found


def command(words: Sequence[str]) -> int:
    """``evaluate sdflow``."""
    found = parser(EDITOR, "SDFlow: success, identity and unintended change by attribute and strength.")
    found.add_argument("--attributes", nargs="+", metavar="NAME", help="default: all that the flow edits")
    found.add_argument("--view", choices=("rendering", "photo"), default="rendering", help="compare in which picture")
    options = found.parse_args(list(words))
    engine = Engine(options.family, options.device, family_file=options.manifest)
    spec = engine.spec(EDITOR)
    attributes = options.attributes or list(contest.editable(spec))
    started = time.perf_counter()
    with torch.inference_mode():
        faces, left_out = validation.faces(engine, options)
        judges = validation.judges(engine, options.recogniser)
        seen = [flips.look(judges, flips.before(face, options.view)) for face in faces]
        table = {}
        for attribute in attributes:
            column, points = flips.column_of(attribute), []
            for strength in options.strengths:
                tries = []
                for number, (face, known) in enumerate(zip(faces, seen, strict=True)):
                    add = bool(known.probabilities[column] <= 0.5)
                    request = contest.request_for(spec, attribute, add, strength)
                    tries.append(flips.attempt(engine, judges, number, face, known, request, attribute, options.view))
                points.append(flips.mean_of(strength, tries))
                validation.tell(f"{attribute} at {strength:g}: {points[-1].success:.2f}")
            table[attribute] = points
    report = {
        "method": EDITOR,
        "view": options.view,
        **validation.facts(engine, options, faces, left_out, judges),
        "seconds": round(time.perf_counter() - started, 1),
        "attributes": {name: [asdict(p) for p in points] for name, points in table.items()},
    }
    if options.json:
        print(json.dumps(report))
    else:
        for name, points in table.items():
            for p in points:
                print(
                    f"{name:16} at {p.strength:<5g} success {p.success:.2f}  identity {p.identity:.3f}  "
                    f"others {p.unintended:.4f}  {p.seconds:.2f} s"
                )
    return 1 if left_out else 0
