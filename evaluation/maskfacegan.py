"""How well masked edits work: success by a judge that did not guide, what else changed, identity, preservation, time.

    python cli.py evaluate maskfacegan --faces FOLDER --count 50 --out runs/maskfacegan.jsonl

Each attribute is pushed to the other side of the judge's reading of the photo, so that nothing succeeds by being there
already; a side ends at the attribute's balanced threshold (``evaluation.thresholds``). Every edit is one line of the file, and what
stands there is not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.attributes import CELEBA_ATTRIBUTES
from evaluation.lines import keep_line, written
from evaluation.swap_faces import pictures
from maskfacegan.controls import control_name, region_of, value_of
from maskfacegan.editor import MaskFaceGANEditor
from maskfacegan.presets import PRESETS
from workbench.contact import ContactSheet
from workbench.devices import lock
from workbench.editor import EditRequest
from workbench.engine import Engine
from workbench.errors import BadImage, BadRequest
from workbench.export import Provenance, save_image
from workbench.face import Face, content_hash, to_uint8
from workbench.images import load_image
from workbench.masking import judged, masked_editor, readings, thresholds

LOCAL = ("Smiling", "Mouth_Slightly_Open", "Big_Nose", "Bushy_Eyebrows", "Narrow_Eyes", "Blond_Hair")
GLOBAL = ("Male", "Young")
SHEET_FACES = 8


def ask(
    editor: MaskFaceGANEditor, attribute: str, towards: bool, preset: str, seed: int = 0, intensity: float = 1.0
) -> EditRequest:
    """The request that pushes a CelebA ``attribute`` to one side: to a probability of ``intensity`` on that side, in [0.5,1]."""
    target = intensity if towards else 1 - intensity
    values = {control_name(attribute): value_of(target), "preset": float(list(PRESETS).index(preset))}
    return EditRequest(editor.spec.name, editor.spec.version, values, seed)


def edit_once(
    engine: Engine,
    editor: MaskFaceGANEditor,
    face: Face,
    attribute: str,
    preset: str,
    seed: int = 0,
    intensity: float = 1.0,
) -> tuple[dict[str, Any], torch.Tensor]:
    """One edit, to the other side of the judge's reading, as numbers, and its picture (3,S,S)."""
    towards = readings(engine, face.target)[attribute] <= thresholds(engine)[attribute]
    request = ask(editor, attribute, towards, preset, seed, intensity)
    wall, busy = time.perf_counter(), time.process_time()
    with lock(engine.device):
        result = editor.edit(face, request)
    seconds, processor = time.perf_counter() - wall, time.process_time() - busy
    found = judged(engine, face, result)
    asked = found.asked[control_name(attribute)]
    return {
        "attribute": control_name(attribute),
        "preset": preset,
        "towards": towards,
        "before": asked.before,
        "after": asked.after,
        "success": asked.success,
        "over_half": asked.over_half,
        "threshold": asked.threshold,
        "moved": asked.moved,
        "guide_before": result.stats[f"before_{control_name(attribute)}"],
        "guide_after": result.stats[f"after_{control_name(attribute)}"],
        "others": found.others,
        "identity": found.identity,
        "psnr_inside": found.psnr_inside,
        "psnr_outside": found.psnr_outside,
        "steps": int(result.stats["steps"]),
        "reconstruction_kept": bool(result.stats["reconstruction_kept"]),
        "seconds": seconds,
        "processor_seconds": processor,
        "judge": found.judge,
    }, result.image


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of what was measured; None when nothing was."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def summary(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of one group of edits. ``psnr_outside`` is the lowest, None when every pixel outside is the photo's own."""
    outside = [one["psnr_outside"] for one in lines if one["psnr_outside"] is not None]
    numbers = ("moved", "others", "identity", "psnr_inside", "steps", "seconds", "processor_seconds")
    return {
        "n": len(lines),
        "success": mean([float(one["success"]) for one in lines]),
        "over_half": mean([float(one["over_half"]) for one in lines]),
        **{name: mean([one[name] for one in lines]) for name in numbers},
        "psnr_outside": min(outside) if outside else None,
    }


def table(groups: Mapping[str, Mapping[str, Any]]) -> str:
    """The report as Markdown, one row for each attribute."""
    head = "| attribute | N | success | over half | moved | others | identity | PSNR inside | outside | steps | processor s |"
    rows = [head, "|---" * 11 + "|"]
    for name, one in groups.items():
        outside = "identical" if one["psnr_outside"] is None else f"{one['psnr_outside']:.1f}"
        inside = "" if one["psnr_inside"] is None else f"{one['psnr_inside']:.1f}"
        rows.append(
            f"| {name} | {one['n']} | {one['success']:.2f} | {one['over_half']:.2f} | {one['moved']:+.2f} | "
            f"{one['others']:.3f} | {one['identity']:.2f} | {inside} | {outside} | {one['steps']:.0f} | {one['processor_seconds']:.1f} |"
        )
    return "\n".join(rows)


def kept_lines(path: Path | None, ident: str) -> list[dict[str, Any]]:
    """The lines of ``path`` that these weights and settings (``ident``) made."""
    return [one for one in written(path) if one.get("weights") == ident]


def measure(
    engine: Engine, place: Path, count: int, attributes: Sequence[str], preset: str,
    *, seed: int = 0, out: Path | None = None, sheet: Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Edit ``count`` faces of ``place`` (see ``evaluation.swap_faces.pictures``), spread evenly over it. Raises FacetError."""
    files, editor = pictures(place), masked_editor(engine)
    names = [
        files.names[i] for i in np.linspace(0, len(files.names) - 1, min(count, len(files.names))).round().astype(int)
    ]
    ident = "+".join(engine.store.network(kind).id for kind in ("generator", "parser", "attributes", "judge"))
    ident += f"+{content_hash(repr(PRESETS[preset]), repr(thresholds(engine)))[:8]}"
    lines = kept_lines(out, ident)
    done = {(one["file"], one["attribute"], one["preset"], one["seed"]) for one in lines}
    left_out: dict[str, str] = {}
    shown = ContactSheet(min(len(names), SHEET_FACES), len(attributes) + 1)
    for at, name in enumerate(names):
        todo = [a for a in attributes if (name, control_name(a), preset, seed) not in done]
        if not todo and (sheet is None or at >= SHEET_FACES):
            continue
        try:
            face = engine.project(engine.use_aligned(load_image(files.read(name), Path(name).name)))
        except BadImage as error:
            left_out[name] = str(error)
            print(f"{at + 1} of {len(names)}: {error}", file=sys.stderr, flush=True)
            continue
        row = [to_uint8(face.target)]
        for attribute in attributes if sheet is not None and at < SHEET_FACES else todo:
            found, image = edit_once(engine, editor, face, attribute, preset, seed)
            row.append(to_uint8(image))
            if attribute not in todo:
                continue
            lines.append({"file": name, "seed": seed, "weights": ident, **found})
            if out is not None:
                keep_line(out, lines[-1])
        print(f"{at + 1} of {len(names)}: {name}", file=sys.stderr, flush=True)
        if sheet is not None and at < SHEET_FACES:
            for column, picture in enumerate(row):
                shown.put(at, column, picture)
    if sheet is not None:
        save_image(sheet, shown.pixels, Provenance(None, engine.family))
    wanted = set(names)
    mine = [one for one in lines if one["file"] in wanted and (one["preset"], one["seed"]) == (preset, seed)]
    groups = {a: [one for one in mine if one["attribute"] == control_name(a)] for a in attributes}
    return {
        "evaluation": "maskfacegan",
        "family": engine.family,
        "weights": ident,
        "judge": mine[0]["judge"] if mine else None,
        "resolution": engine.size,
        "preset": preset,
        "seed": seed,
        "faces": len(names) - len(left_out),
        "left_out": left_out,
        "threads": torch.get_num_threads(),
        "attributes": {f"{control_name(a)} ({region_of(a)})": summary(group) for a, group in groups.items() if group},
    }


def options_of(argv: Sequence[str]) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(
        prog="cli.py evaluate maskfacegan", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faces", required=True, metavar="PLACE", help="aligned photos: a folder, or a zip")
    parser.add_argument("--count", type=int, default=50, metavar="N", help="how many faces (default: 50)")
    parser.add_argument(
        "--attributes", nargs="+", default=[control_name(a) for a in LOCAL + GLOBAL], metavar="NAME",
        help="default: six local and two global ones",
    )  # fmt: skip
    parser.add_argument("--preset", choices=tuple(PRESETS), default="fast")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", metavar="FILE", help="one JSON line per edit; a stopped run is continued")
    parser.add_argument("--sheet", metavar="FILE", help="write the first faces and their edits as one picture")
    parser.add_argument("--family", default="starter", help="family of weights (default: starter)")
    parser.add_argument("--manifest", metavar="FILE", help="another list of weights than data/weights.toml")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    return parser.parse_args(list(argv))


def attributes_of(names: Sequence[str]) -> tuple[str, ...]:
    """CelebA's names of ``names``, written in either way. Raises BadRequest."""
    known = {control_name(a): a for a in CELEBA_ATTRIBUTES}
    strangers = [name for name in names if name.lower() not in known]
    if strangers:
        raise BadRequest(f"There is no attribute '{strangers[0]}'; there are: {', '.join(known)}.")
    return tuple(known[name.lower()] for name in names)


def command(argv: Sequence[str]) -> int:
    """Measure, and print a table or with ``--json`` one object. Raises FacetError."""
    options = options_of(argv)
    if options.count < 1:
        raise BadRequest(f"--count must be at least 1; {options.count} was given.")
    engine = Engine(options.family, options.device, family_file=options.manifest)
    out, sheet = (None if name is None else Path(name) for name in (options.out, options.sheet))
    body = measure(
        engine, Path(options.faces), options.count, attributes_of(options.attributes), options.preset,
        seed=options.seed, out=out, sheet=sheet,
    )  # fmt: skip
    print(json.dumps(body) if options.json else table(body["attributes"]), flush=True)
    return 0
