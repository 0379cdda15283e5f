"""Train one model from a TOML file: ``python -m training.run configs/starter_attributes.toml --minutes 10``.

Under torchrun every process is a rank: ``torchrun --nproc-per-node 2 -m training.run CONFIG``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import torch

from training import distributed
from training.loop import Schedule, run
from workbench.errors import BadRequest

TASKS = {
    "attributes": "training.attributes:AttributesTask",
    "identity": "training.identity:IdentityTask",
    "parser": "training.parser:ParserTask",
    "autoencoder": "training.autoencoder:AutoencoderTask",
    "sdflow": "training.semantic:SemanticTask",
    "nitzan": "training.swapping:NitzanTask",
    "zhou": "training.swapping:ZhouTask",
    "components": "training.components:ComponentsTask",
    "components_paper": "training.components_paper:PaperTask",
}


def main(
    config: Path | str,
    *,
    minutes: float | None = None,
    resume: bool = True,
    faces: Path | str = "faces",
    out: Path | str | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> int:
    """Train what ``config`` describes; ``faces`` is the folder with the zips and label files. Returns the steps done."""
    path = Path(config)
    try:
        body = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(f"The settings '{path}' cannot be read ({error}).") from error
    if body.get("task") not in TASKS:
        raise BadRequest(f"'{path}' names the task {body.get('task')!r}; there are: {', '.join(TASKS)}.")
    if threads:
        torch.set_num_threads(threads)
    module, _, name = TASKS[body["task"]].partition(":")
    ranks = distributed.start(device)
    folder = Path(out) if out else Path("runs") / path.stem
    schedule = Schedule(minutes=minutes, **body["schedule"])
    torch.manual_seed(schedule.seed)
    task = getattr(importlib.import_module(module), name)(body, Path(faces), folder, device, ranks)
    if ranks.main:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(body, indent=1, sort_keys=True))
    try:
        return run(task, schedule, folder, ranks=ranks, device=device, resume=resume)
    finally:
        distributed.stop()


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Command line of ``python -m training.run``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--faces", default="faces")
    parser.add_argument("--out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--fresh", action="store_true", help="ignore an older checkpoint")
    return parser.parse_args(argv)


if __name__ == "__main__":
    a = parse()
    main(a.config, minutes=a.minutes, resume=not a.fresh, faces=a.faces, out=a.out, device=a.device, threads=a.threads)
