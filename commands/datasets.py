"""``make-dataset``."""

from __future__ import annotations

import argparse
from pathlib import Path

from commands.photos import emit
from training.make_dataset import Job, make


def make_dataset(options: argparse.Namespace) -> int:
    """Generate faces with their w."""
    job = Job(
        out=Path(options.out),
        layout=options.layout,
        count=options.count,
        seed=options.seed,
        truncation=options.truncation,
        batch=options.batch,
        family=options.family,
        manifest=options.manifest,
        device=options.device,
    )

    def say(line: str) -> None:
        if not options.json:
            print(line, flush=True)

    done = make(job, workers=options.workers, say=say)
    body = {
        "out": str(job.out),
        "layout": job.layout,
        "made": done.made,
        "there": done.there,
        "bytes": done.bytes,
        "seconds": round(done.seconds, 3),
        "images_per_second": round(done.made / done.seconds, 2) if done.made else None,
    }
    emit(body, f"{job.out}: {done.made + done.there} pictures", options.json)
    return 0
