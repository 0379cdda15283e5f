"""Turn finished swapping runs into files of the starter family: weights, a sheet of generated faces, model cards.

    python -m training.publish_swaps --runs runs --report report.json --machine "..."

``report.json`` is what ``cli.py evaluate idswap --json`` printed; several may be given, one per method. Run it again after a new
report; then ``python cli.py weights record --family starter``.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from data import container
from evaluation.swap_report import table
from idswap.swap import sheet
from training.settings import read_settings
from workbench.engine import Engine
from workbench.face import to_uint8
from workbench.swapping import METHODS, Swapping

FILES = {
    "nitzan": ("nitzan_attributes", "nitzan_mapper"),
    "zhou": ("zhou_encoder", "zhou_mapper"),
}
TITLES = {
    "nitzan_attributes": "Attribute encoder of Nitzan 2020 (arXiv 2005.07728)",
    "nitzan_mapper": "Mapper of Nitzan 2020 (arXiv 2005.07728)",
    "zhou_encoder": "Two-headed encoder of Zhou 2023 (doi 10.1117/1.JEI.32.4.043011)",
    "zhou_mapper": "Mapper of Zhou 2023 (doi 10.1117/1.JEI.32.4.043011)",
}
FAILURES = (
    "Faces are as soft as the generator's. The recogniser that steered the training is small: what it takes for a person is brows, "
    "eyes, nose and skin more than the shape of the head, and some results exaggerate them. Hair, background and expression mostly "
    "stay with the attribute picture. Microphones, hands and glasses before a face leave traces. Closed eyes and profiles are worst. "
    "People who are rare in CelebA-HQ are drawn worse, and more alike."
)
HISTORY = {
    "nitzan": "7,148 steps on the second rung's generator, with weights of `leak`, `keep`, the landmarks and the identity changed at three "
    "resumes, each towards less of the attribute picture's identity",
    "zhou": "3,400 steps on the second rung's generator, with settings changed between resumes",
}
"""What went before `starter_..._on.toml`; one run of the settings does not repeat the files."""
EDGE, TILES = 80, 7


def faces_sheet(engine: Engine, swapping: Swapping) -> Image.Image:
    """For each method: sample faces as identities above, the same as attribute pictures on the left. All generated."""
    samples = engine.sample_faces()[: TILES - 1]
    pictures = torch.stack([face.image for face in samples])
    blocks = []
    for name in METHODS:
        method = swapping.method(name)
        with torch.inference_mode():
            codes = method.encode(pictures)
            cells = sheet(method, codes, codes).clamp(-1, 1)
        rows = [torch.cat([torch.ones_like(pictures[:1]), pictures])]
        rows += [torch.cat([pictures[i : i + 1], cells[i]]) for i in range(len(samples))]
        blocks.append(np.concatenate([np.concatenate([to_uint8(tile) for tile in row], 1) for row in rows]))
    whole = Image.fromarray(np.concatenate(blocks, 1))
    smaller = whole.resize((2 * TILES * EDGE, TILES * EDGE), Image.Resampling.LANCZOS)
    return smaller.quantize(256)


def card(name: str, method: str, path: Path, measured: str, machine: str, stopped: str) -> str:
    """The model card of one file, as Markdown."""
    header = container.read_header(path)
    planned = read_settings(Path("configs") / f"starter_{method}_on.toml")["schedule"]["steps"]
    rows = {
        "file": f"`{path.name}`, fp16, {path.stat().st_size / 2**20:.1f} MiB, id `{header['id']}`",
        "licence": "non-commercial research (trained on CelebA-HQ); not MIT",
        "data": header.get("data", "CelebA-HQ, CelebA's training partition, and generated faces"),
        "training": f"`configs/starter_{method}.toml`, {HISTORY[method]}; then {header['steps']:,} of {planned:,} steps of "
        f"`configs/starter_{method}_on.toml`. {stopped}".rstrip(),
        "architecture": f"`{json.dumps(header['arch'])}`",
        "belongs to": ", ".join(f"{k} `{header[k]}`" for k in ("generator", "identity", "encoder") if k in header),
        "machine": machine,
    }
    lines = [f"# {TITLES[name]}", "", "| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]
    lines += ["", "## Measured", "", "Both files of the method together (`python cli.py evaluate idswap`):", ""]
    lines += [
        "```",
        measured.strip(),
        "```",
        "",
        "`swap-sheet.png`: generated faces, Nitzan left and Zhou right; identities above,",
    ]
    lines += ["attribute pictures on the left.", "", "## Known failures", "", FAILURES, "", "## Use", ""]
    lines += ["Swap only faces of people who agreed, and never to pass a result off as a photo.", ""]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Write weights, sheet and cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("data/starter"))
    parser.add_argument("--report", type=Path, nargs="+", required=True)
    parser.add_argument("--machine", default="not stated")
    parser.add_argument("--history", default="", help="a sentence on settings that changed between resumes")
    a = parser.parse_args(argv)
    for method, names in FILES.items():
        for name in names:
            source = a.runs / f"starter_{method}" / f"{name}.safetensors"
            if source.is_file():
                shutil.copyfile(source, a.out / source.name)
    engine = Engine()
    faces_sheet(engine, Swapping(engine)).save(a.out / "swap-sheet.png", optimize=True)
    reports: list[dict[str, Any]] = [json.loads(path.read_text()) for path in a.report]
    for method, names in FILES.items():
        told = [
            table(r) for r in reports if any(method in str(k) for part in r["sets"].values() for k in part["results"])
        ]
        for name in names:
            path = a.out / f"{name}.safetensors"
            path.with_suffix(".md").write_text(card(name, method, path, "\n\n".join(told), a.machine, a.history))


if __name__ == "__main__":
    main()
