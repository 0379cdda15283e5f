"""Every method that can make an edit on the same faces and the same targets, set side by side at matched success.

    python cli.py evaluate compare --faces FOLDER --count 20 --out runs/compare

Methods differ in how far a slider goes, so they are not compared at equal strength: each is taken where it flips the judge
on the same share of the faces, between the strengths that were tried. What the edit cost there is identity and unintended change.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from evaluation import flips, validation
from evaluation.figure import Panel, draw
from evaluation.flips import Judges, Point, Seen, Try
from evaluation.semantic import parser
from workbench import contest, registry
from workbench.editor import EditorSpec
from workbench.engine import Engine
from workbench.errors import BadRequest, FacetError
from workbench.face import Face, to_uint8

LEVELS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
SHEET_FACES = 6


@dataclass(frozen=True, eq=False)
class Contender:
    """A method: its spec and the values of controls that stay fixed, such as the effort."""

    spec: EditorSpec
    fixed: Mapping[str, float]


def contenders(engine: Engine, names: Sequence[str] | None, preset: str) -> tuple[dict[str, Contender], dict[str, str]]:
    """The methods that can edit with this family, and why the others of ``names`` cannot. Raises BadRequest for one method."""
    found: dict[str, Contender] = {}
    absent: dict[str, str] = {}
    for name in names or registry.names():
        try:
            spec = engine.spec(name)
        except FacetError as error:
            absent[name] = str(error)
            continue
        efforts = next((c.choices for c in spec.controls if c.name == "preset"), ())
        if efforts and preset not in efforts:
            raise BadRequest(f"{spec.title} has no effort '{preset}'; it has: {', '.join(efforts)}.")
        found[name] = Contender(spec, {"preset": float(efforts.index(preset))} if efforts else {})
    if not found:
        raise BadRequest(f"No method can edit with the {engine.family} family: {' '.join(absent.values())}")
    return found, absent


def shared(methods: Mapping[str, Contender], wanted: Sequence[str] | None) -> list[str]:
    """The attributes that all methods edit, or ``wanted``, which all must edit. Raises BadRequest."""
    common = [
        a
        for a in contest.editable(next(iter(methods.values())).spec)
        if all(a in contest.editable(m.spec) for m in methods.values())
    ]
    for name in wanted or ():
        flips.column_of(name)
        if name not in common:
            raise BadRequest(f"Not every method edits '{name}'; all edit: {', '.join(common)}.")
    if not common:
        raise BadRequest("The methods have no attribute in common; name fewer of them with --methods.")
    return list(wanted or common)


def tries_of(
    engine: Engine,
    judges: Judges,
    method: Contender,
    faces: Sequence[Face],
    seen: Sequence[Seen],
    attributes: Sequence[str],
    strengths: Sequence[float],
) -> dict[tuple[str, float], list[Try]]:
    """All edits of one method, by attribute and strength."""
    table: dict[tuple[str, float], list[Try]] = {}
    for attribute in attributes:
        column = flips.column_of(attribute)
        for strength in strengths:
            row = table[(attribute, strength)] = []
            for number, (face, known) in enumerate(zip(faces, seen, strict=True)):
                add = bool(known.probabilities[column] <= 0.5)
                request = contest.request_for(method.spec, attribute, add, strength, method.fixed)
                row.append(flips.attempt(engine, judges, number, face, known, request, attribute, "photo"))
            success = np.mean([t.success for t in row])
            validation.tell(f"{method.spec.name}: {attribute} at {strength:g}: success {success:.2f}")
    return table


def pooled(table: Mapping[tuple[str, float], list[Try]], strengths: Sequence[float]) -> list[Point]:
    """One point per strength over all attributes."""
    return [flips.mean_of(s, [t for (_, at), row in table.items() if at == s for t in row]) for s in strengths]


def level_of(curves: Mapping[str, Sequence[Point]]) -> float | None:
    """The highest of LEVELS that every method reaches; None when one reaches none of them."""
    return next((v for v in LEVELS if all(flips.at_success(c, v) is not None for c in curves.values())), None)


def picture(curves: Mapping[str, Sequence[Point]], matched: Mapping[str, Point | None], note: str) -> np.ndarray:
    """The figure: success against identity, success against unintended change, seconds per edit."""

    def line(name: str) -> dict[str, list[tuple[float, float]]]:
        start = flips.UNTOUCHED
        return {m: [(p.success, getattr(p, name)) for p in (start, *curve)] for m, curve in curves.items()}

    def mark(name: str) -> dict[str, tuple[float, float]]:
        return {m: (p.success, getattr(p, name)) for m, p in matched.items() if p is not None}

    slow = {m: max(p.seconds for p in curve) for m, curve in curves.items()}
    return draw(
        [
            Panel(
                "Identity kept (cosine)", "share of faces flipped", "", curves=line("identity"), marks=mark("identity")
            ),
            Panel(
                "Unintended change (mean of 39 probabilities)",
                "share of faces flipped",
                "",
                curves=line("unintended"),
                marks=mark("unintended"),
            ),
            Panel("Seconds per edit, first time", "", "", bars=slow),
        ],
        "Methods at matched success",
        note,
    )


def sheet(
    engine: Engine, methods: Mapping[str, Contender], faces: Sequence[Face], seen: Sequence[Seen], attribute: str
) -> np.ndarray:
    """The first faces in a row, and below them each method's edit of ``attribute`` at full strength."""
    column = flips.column_of(attribute)
    chosen = list(zip(faces, seen, strict=True))[:SHEET_FACES]
    rows = [np.concatenate([to_uint8(face.target) for face, _ in chosen], 1)]
    for method in methods.values():
        row = []
        for face, known in chosen:
            request = contest.request_for(
                method.spec, attribute, bool(known.probabilities[column] <= 0.5), 1.0, method.fixed
            )
            row.append(to_uint8(flips.after(engine, face, engine.edit(face, request), "photo")))
        rows.append(np.concatenate(row, 1))
    return np.concatenate(rows)


def command(words: Sequence[str]) -> int:
    """``evaluate compare``: 1 when a picture was left out or a named method is absent, else 0."""
    found = parser("compare", "Every editing method on the same faces and targets, at matched success.")
    found.add_argument("--methods", nargs="+", metavar="NAME", help="default: all that the family has the weights for")
    found.add_argument("--attributes", nargs="+", metavar="NAME", help="default: all that every method edits")
    found.add_argument("--preset", default="preview", help="effort of methods that have one (default: preview)")
    found.add_argument(
        "--success", type=float, metavar="P", help="match at this share (default: the highest all reach)"
    )
    found.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write compare.json, compare.png and a sheet per attribute"
    )
    options = found.parse_args(list(words))
    engine = Engine(options.family, options.device, family_file=options.manifest)
    methods, absent = contenders(engine, options.methods, options.preset)
    for name, reason in absent.items():
        validation.tell(f"without {name}: {reason}")
    attributes = shared(methods, options.attributes)
    started = time.perf_counter()
    with torch.inference_mode():
        faces, left_out = validation.faces(engine, options)
        judges = validation.judges(engine, options.recogniser)
        seen = [flips.look(judges, face.target) for face in faces]
    tables = {
        name: tries_of(engine, judges, method, faces, seen, attributes, options.strengths)
        for name, method in methods.items()
    }
    curves = {name: pooled(table, options.strengths) for name, table in tables.items()}
    level = options.success if options.success is not None else level_of(curves)
    matched = {name: None if level is None else flips.at_success(curve, level) for name, curve in curves.items()}
    facts = validation.facts(engine, options, faces, left_out, judges)
    report: dict[str, Any] = {
        **facts,
        "attributes": attributes,
        "preset": options.preset,
        "absent": absent,
        "matched_success": level,
        "matched": {name: None if p is None else asdict(p) for name, p in matched.items()},
        "curves": {name: [asdict(p) for p in curve] for name, curve in curves.items()},
        "by_attribute": {
            name: {a: [asdict(flips.mean_of(s, table[(a, s)])) for s in options.strengths] for a in attributes}
            for name, table in tables.items()
        },
        "seconds": round(time.perf_counter() - started, 1),
    }
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "compare.json").write_text(json.dumps(report, indent=1))
        note = (
            f"{len(faces)} faces, {', '.join(attributes)}; {engine.family} family, {engine.size} px; "
            f"judge {judges.attributes[0]}, recogniser {judges.identity[0]}; {facts['date']}"
        )
        validation.saved(options.out / "compare.png", picture(curves, matched, note))
        for attribute in attributes:
            validation.saved(options.out / f"sheet-{attribute}.png", sheet(engine, methods, faces, seen, attribute))
    print(json.dumps(report) if options.json else table_of(report))
    return 1 if left_out or (absent and options.methods) else 0


def table_of(report: Mapping[str, Any]) -> str:
    """The table for people: each method at the matched success, then its curve."""
    level = report["matched_success"]
    head = f"{'method':14}{'success':>9}{'identity':>10}{'unintended':>12}{'strength':>10}{'seconds':>9}"
    lines = [
        f"{report['faces']} faces, {', '.join(report['attributes'])}; judge {report['judge']}, recogniser {report['recogniser']}",
        "matched at success " + (f"{level:.2f}" if level is not None else "no level, because one method reaches none"),
        head,
    ]
    for name, point in report["matched"].items():
        lines.append(_row(name, point) if point else f"{name:14}  does not reach it")
    lines.append("all strengths")
    for name, curve in report["curves"].items():
        lines += [_row(name, point) for point in curve]
    return "\n".join(lines)


def _row(name: str, p: Mapping[str, Any]) -> str:
    return f"{name:14}{p['success']:>9.2f}{p['identity']:>10.3f}{p['unintended']:>12.4f}{p['strength']:>10.2f}{p['seconds']:>9.2f}"
