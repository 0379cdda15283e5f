"""Metrics between two folders of pictures, paired by file name.

    python cli.py evaluate folders ORIGINALS EDITED --metrics psnr ssim identity --json

One JSON line per metric with --json: value, interval, how many pictures, resolution, networks, seconds, and what was left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from encoders.attributes import CELEBA_ATTRIBUTES
from evaluation.circumstances import context_of
from evaluation.metric import METRICS, Result
from evaluation.registry import run_folders
from iafaces.regions import GROUPS
from workbench.engine import Engine
from workbench.errors import BadRequest, FacetError

DEFAULT = ("mse", "psnr", "ssim", "ms_ssim", "percept_own", "fd_own", "identity")


def parser() -> argparse.ArgumentParser:
    """The options of ``evaluate folders``."""
    found = argparse.ArgumentParser(
        prog="cli.py evaluate folders",
        description="Metrics between two folders of aligned faces, paired by file name; sets (fd_own, fid ...) need no pairs.",
        epilog="metrics: " + ", ".join(METRICS),
    )
    found.add_argument(
        "first", type=Path, metavar="A", help="originals, or reconstructions for what the edit alone changed"
    )
    found.add_argument("second", type=Path, metavar="B", help="the pictures to judge")
    found.add_argument(
        "--metrics", nargs="+", default=list(DEFAULT), metavar="NAME", help="default: " + " ".join(DEFAULT)
    )
    found.add_argument("--component", choices=tuple(GROUPS), help="what was edited, for mse_irr")
    found.add_argument("--attribute", choices=CELEBA_ATTRIBUTES, metavar="NAME", help="what was edited, for accuracy")
    found.add_argument("--removed", action="store_true", help="the attribute was to be removed")
    found.add_argument("--recogniser", type=Path, metavar="FILE", help="another identity network than the family's own")
    found.add_argument("--discriminator", type=Path, metavar="FILE", help="for ifg")
    found.add_argument("--family", default="starter", help="whose networks measure (default: starter)")
    found.add_argument("--device", default="cpu", help="cpu (default), cuda, mps or auto")
    found.add_argument("--manifest", metavar="FILE", help="another list of weights than data/weights.toml")
    found.add_argument("--json", action="store_true", help="print one JSON object per metric and nothing else")
    return found


def command(words: Sequence[str]) -> int:
    """``evaluate folders``: 1 when a metric could not be computed or a file was left out, else 0."""
    options = parser().parse_args(list(words))
    for folder in (options.first, options.second):
        if not folder.is_dir():
            raise BadRequest(f"'{folder}' is no folder; give two folders with pictures.")
    engine = Engine(options.family, options.device, family_file=options.manifest)
    attribute = None if options.attribute is None else CELEBA_ATTRIBUTES.index(options.attribute)
    status = 0
    told: set[str] = set()
    for name in options.metrics:
        try:
            context = context_of(
                engine,
                [name],
                recogniser=options.recogniser,
                discriminator=options.discriminator,
                component=options.component,
                attribute=attribute,
                wanted=not options.removed,
            )
            (result,) = run_folders([name], options.first, options.second, context)
        except FacetError as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
            continue
        print(result.to_json() if options.json else line(result), flush=True)
        for reason in result.left_out:
            if reason not in told:
                print(f"left out: {reason}", file=sys.stderr)
            told.add(reason)
    return 1 if told else status


def line(result: Result) -> str:
    """A result for people."""
    interval = "" if result.low is None or result.high is None else f" [{result.low:.4g}, {result.high:.4g}]"
    through = result.backbone or result.judge
    lost = f", {result.not_found} without a face" if result.not_found else ""
    return (
        f"{result.metric:14} {result.value:.5g}{interval}  n={result.n}{lost}, {result.resolution} px"
        + (f", {through}" if through else "")
        + f", {result.seconds:.1f} s"
    )
