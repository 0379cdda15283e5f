"""How well identities are swapped: identity, pose and expression, what is left of the surroundings, quality, cost.

    python cli.py evaluate idswap --faces FOLDER --judge FILE --pairs 500 --json

On pairs drawn with a seed, of aligned photos and of generated faces, for both methods and both bases. Nothing but pictures
is compared: a result is the face that ``swap --crop`` writes, rounded to 8 bits.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.memory import peak_mib
from evaluation.swap_faces import generated_pairs, photo_pairs
from evaluation.swap_measure import Tell, measure_pairs
from evaluation.swap_readers import readers_of
from evaluation.swap_report import table
from idswap.swap import Strengths
from workbench.engine import Engine
from workbench.errors import BadRequest, MissingWeights
from workbench.export import check_place
from workbench.judges import judge_of
from workbench.swapping import METHODS, Base, Swapping, checked

BASES: tuple[Base, ...] = ("w", "photo")
OTHERS = 1000
"""Photos that a set of swaps is compared with."""


@dataclass(frozen=True)
class Plan:
    """What to measure with: see the options of ``command``."""

    pairs: int = 200
    seed: int = 0
    methods: tuple[str, ...] = METHODS
    bases: tuple[Base, ...] = BASES
    faces: Path | None = None
    generated: bool = True
    judge: Path | None = None
    weights: Path | None = None
    sheet: Path | None = None
    strengths: Strengths = field(default_factory=Strengths)
    offsets: bool = True

    def check(self) -> None:
        """Raises BadRequest for numbers or names that cannot be."""
        if not 2 <= self.pairs <= 100_000:
            raise BadRequest(f"--pairs lies between 2 and 100000; {self.pairs} was asked for.")
        if not 0 <= self.seed < 1 << 20:
            raise BadRequest(f"--seed lies between 0 and {(1 << 20) - 1}; {self.seed} was given.")
        checked(self.strengths)
        if self.sheet is not None:
            check_place(self.sheet)
        if self.faces is None and not self.generated:
            raise BadRequest("There is nothing to measure: give photos with --faces, or leave out --no-generated.")
        if self.weights is not None and not any(self.weights.glob("*_mapper.safetensors")):
            raise BadRequest(f"'{self.weights}' holds no '..._mapper.safetensors'; name the folder of a training run.")


def measure(engine: Engine, plan: Plan, tell: Tell = lambda _: None) -> dict[str, Any]:
    """The whole report, ready for JSON. Raises FacetError."""
    plan.check()
    started = time.perf_counter()
    readers = readers_of(engine, judge_of(engine, plan.judge))
    sets = []
    if plan.faces is not None:
        sets.append(photo_pairs(engine, plan.faces, plan.pairs, plan.seed, OTHERS))
    if plan.generated:
        sets.append(generated_pairs(engine, plan.pairs, plan.seed, min(OTHERS, 2 * plan.pairs)))
    swapping = Swapping(engine, plan.weights, offsets=plan.offsets)
    for name in plan.methods:
        swapping.method(name)  # now: a file that is missing is known at once, and loading it is not timed
    body: dict[str, Any] = {
        "evaluation": "idswap",
        "family": engine.family,
        "generator": engine.generator_id,
        "resolution": engine.size,
        "seed": plan.seed,
        "strengths": {"identity": plan.strengths.identity, "attributes": plan.strengths.attributes},
        "offsets": plan.offsets,
        "judge": {"id": readers.judge.id, "independent": readers.judge.independent},
        "training_recogniser": readers.own.id,
        "landmarks": None if readers.points is None else readers.points[0],
        "features": None if readers.features is None else readers.features.name,
        "parser": None if readers.regions is None else readers.regions[0],
        "weights_folder": None if plan.weights is None else str(plan.weights),
        "sets": {},
    }
    for pairs in sets:
        sheet = None
        if plan.sheet is not None:
            sheet = plan.sheet.with_name(f"{plan.sheet.stem}-{pairs.kind}{plan.sheet.suffix or '.png'}")
        body["sets"][pairs.kind] = measure_pairs(
            engine, pairs, readers, swapping, plan.methods, plan.bases, plan.strengths, tell, sheet
        )
    return {**body, "peak_mib": peak_mib(), "seconds": round(time.perf_counter() - started, 1)}


def options_of(argv: Sequence[str]) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="cli.py evaluate idswap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--faces", metavar="PLACE", help="aligned photos: a folder, a zip, or a folder with a 'val' zip"
    )
    parser.add_argument("--no-generated", action="store_true", help="photos only")
    parser.add_argument("--pairs", type=int, default=200, metavar="N", help="pairs of each kind (default: 200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", choices=METHODS, metavar="NAME", help="default: those with weights")
    parser.add_argument(
        "--bases", nargs="+", choices=BASES, default=list(BASES), metavar="NAME", help="w, photo; default: both"
    )
    parser.add_argument("--identity-strength", type=float, default=1.0, metavar="S", help="as for 'swap' (default: 1)")
    parser.add_argument("--attribute-strength", type=float, default=1.0, metavar="S", help="as for 'swap' (default: 1)")
    parser.add_argument("--judge", metavar="FILE", help="a recogniser that took no part in the training")
    parser.add_argument("--weights", metavar="FOLDER", help="files of a training run instead of the family's")
    parser.add_argument(
        "--without-offsets", action="store_true", help="W as published: one code for all rows, our offsets left out"
    )
    parser.add_argument("--sheet", metavar="FILE", help="write the first pairs and their results as pictures")
    parser.add_argument("--family", default="starter", help="family of weights (default: starter)")
    parser.add_argument("--manifest", metavar="FILE", help="another list of weights than data/weights.toml")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(list(argv))


def command(argv: Sequence[str]) -> int:
    """Measure, and print a table or with ``--json`` one object. Raises FacetError."""
    options = options_of(argv)
    engine = Engine(options.family, options.device, family_file=options.manifest)
    folder, faces, judge, sheet = (
        None if name is None else Path(name) for name in (options.weights, options.faces, options.judge, options.sheet)
    )
    methods = tuple(options.methods or available(engine, folder))
    plan = Plan(
        options.pairs,
        options.seed,
        methods,
        tuple(options.bases),
        faces,
        not options.no_generated,
        judge,
        folder,
        sheet,
        Strengths(options.identity_strength, options.attribute_strength),
        not options.without_offsets,
    )
    body = measure(engine, plan, lambda text: print(text, file=sys.stderr, flush=True))
    print(json.dumps(body) if options.json else table(body), flush=True)
    return 0


def available(engine: Engine, folder: Path | None) -> tuple[str, ...]:
    """Methods whose files are in ``folder``, or without one in the family. Raises MissingWeights when there are none."""
    if folder is not None:
        return tuple(name for name in METHODS if (folder / f"{name}_mapper.safetensors").is_file())
    found, swapping = [], Swapping(engine)
    for name in METHODS:
        try:
            swapping.method(name)
            found.append(name)
        except MissingWeights:
            continue
    if not found:
        raise MissingWeights(
            f"The {engine.family} family has no swapping weights; name the folder of a training run with --weights."
        )
    return tuple(found)
