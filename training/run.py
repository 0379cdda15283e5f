"""Train one model from a TOML file: ``python -m training.run configs/starter_attributes.toml --minutes 10``.

Under torchrun every process is a rank: ``torchrun --nproc-per-node 2 -m training.run CONFIG``.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from training import distributed
from training.loop import Schedule, run
from training.settings import read_settings
from workbench.errors import BadRequest

TASKS = {
    "attributes": "training.attributes:AttributesTask",
    "identity": "training.identity:IdentityTask",
    "parser": "training.parser:ParserTask",
    "autoencoder": "training.autoencoder:AutoencoderTask",
    "stylegan2": "training.adversarial:AdversarialTask",
    "projector": "training.projector:ProjectorTask",
    "sdflow": "training.semantic:SemanticTask",
    "nitzan": "training.swapping:NitzanTask",
    "zhou": "training.swapping:ZhouTask",
    "components": "training.components:ComponentsTask",
    "components_paper": "training.components_paper:PaperTask",
}

# The small networks of the alignment train by the minute and for themselves: on composed scenes, with teachers' labels.
TIMED = {"detector": "training.detector", "landmarks": "training.landmarks"}


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
    body = read_settings(path)
    folder = Path(out) if out else Path("runs") / path.stem
    if body.get("task") in TIMED:
        return _timed(path, body, minutes, resume, Path(faces), folder, device, threads)
    if body.get("task") not in TASKS:
        raise BadRequest(f"'{path}' names the task {body.get('task')!r}; there are: {', '.join([*TASKS, *TIMED])}.")
    if threads:
        torch.set_num_threads(threads)
    module, _, name = TASKS[body["task"]].partition(":")
    ranks = distributed.start(device)
    schedule = Schedule(minutes=minutes, **body["schedule"])
    if not resume:
        # A task begins differently where it finds a checkpoint.
        if ranks.main:
            (folder / "checkpoint.pt").unlink(missing_ok=True)
        ranks.wait()
    torch.manual_seed(schedule.seed)
    task = getattr(importlib.import_module(module), name)(body, Path(faces), folder, device, ranks)
    if ranks.main:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(body, indent=1, sort_keys=True))
    try:
        done = run(task, schedule, folder, ranks=ranks, device=device, resume=resume)
        # A rank that leaves while the first still writes the results takes the group down under it.
        ranks.wait()
        return done
    finally:
        distributed.stop()


def _timed(
    path: Path,
    body: dict[str, Any],
    minutes: float | None,
    resume: bool,
    faces: Path,
    folder: Path,
    device: str,
    threads: int | None,
) -> int:
    if device != "cpu":
        raise BadRequest(f"'{path}' trains on the CPU only; leave --device {device} out.")
    photos = []
    for name in body["photos"]:
        archive = faces / name
        labels = Path(body["labels"]) / f"{archive.stem}.npz"
        if not archive.is_file():
            raise BadRequest(f"The archive '{archive}' is not there; name the folder with the zips by --faces.")
        if not labels.is_file():
            raise BadRequest(
                f"The labels '{labels}' are not there; make them with: python -m training.teachers "
                f"--photos {archive} --yunet YUNET.onnx --pfld PFLD.onnx --out {labels}"
            )
        photos.append(f"{archive}={labels}")
    if not resume:
        (folder / "last.pt").unlink(missing_ok=True)
    words = ["--config", str(path), "--out", str(folder), "--minutes", str(minutes or body["minutes"])]
    words += ["--threads", str(threads or 1), "--photos", *photos]
    return importlib.import_module(TIMED[body["task"]]).main(words)


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
