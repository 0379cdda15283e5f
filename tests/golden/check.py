"""Compare our networks with the numbers of the public reference implementations.

    python tests/golden/check.py DIR --seed S [--only NAME ...] [--all]

DIR holds manifests, key lists and npz files of golden data made with seed S. Prints one line per item with the error
and the tolerance of its worst output (``--all``: one line per output as well) and one per item the project has no
network for yet. Exit status 1 when anything is above its tolerance or could not be computed, 2 when DIR is no such
folder.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.golden.adapters import ADAPTERS
from tests.golden.items import GoldenError, Item, Output, Outputs, open_item, read_items, to_array
from tests.golden.recipes import parse_subscript


@dataclass(frozen=True)
class Result:
    """Error and tolerance of one output; ``message`` says why it could not be compared."""

    output: str
    error: float
    tolerance: float
    message: str = ""

    @property
    def ok(self) -> bool:
        return self.error <= self.tolerance

    @property
    def ratio(self) -> float:
        """Error over tolerance, to find the worst of an item."""
        if self.tolerance > 0:
            return self.error / self.tolerance
        return 0.0 if self.error == 0 else math.inf

    def text(self) -> str:
        return self.message or f"error {self.error:.2g} tolerance {self.tolerance:.2g}"


def compare(output: Output, value: Any, golden: np.ndarray) -> Result:
    """Compare one of our outputs, whole or already cut, with the stored array."""
    ours, golden = to_array(value), to_array(golden)
    if ours.shape != golden.shape:
        index = parse_subscript(output.index)
        if index is not None:
            try:
                ours = ours[index]
            except IndexError as error:
                return Result(output.name, math.inf, output.tolerance, f"{error}")
        elif ours.size == golden.size == 1:
            ours = ours.reshape(golden.shape)
    if ours.shape != golden.shape:
        return Result(output.name, math.inf, output.tolerance, f"shape {ours.shape}, stored {golden.shape}")
    error = float(np.abs(ours - golden).max(initial=0.0))
    scale = float(np.abs(golden).max(initial=0.0))
    if output.kind == "relative" and scale > 0:
        error /= scale
    return Result(output.name, math.inf if math.isnan(error) else error, output.tolerance)


def _ours(name: str, outputs: Outputs) -> list[Any] | None:
    """What we have for output ``name``: all forms of it, or the moments of the image it summarises."""
    if name in outputs:
        value = outputs[name]
        return list(value) if isinstance(value, tuple) else [value]
    for suffix in ("_mean", "_std"):
        whole = outputs.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if whole is not None:
            forms = [to_array(form) for form in (whole if isinstance(whole, tuple) else (whole,))]
            return [form.mean((-2, -1)) if suffix == "_mean" else form.std((-2, -1)) for form in forms]
    return None


def compare_all(item: Item, outputs: Outputs, arrays: Mapping[str, np.ndarray]) -> list[Result]:
    """One result per output of ``item``; several forms of one output count by the worst."""
    results = []
    for output in item.outputs:
        if output.is_input:
            continue
        forms = _ours(output.name, outputs)
        if forms is None:
            results.append(Result(output.name, math.inf, output.tolerance, "the adapter gives no such output"))
        elif output.name not in arrays:
            results.append(Result(output.name, math.inf, output.tolerance, "not in the stored file"))
        else:
            compared = [compare(output, form, arrays[output.name]) for form in forms]
            results.append(max(compared, key=lambda result: result.ratio))
    return results


def check_item(item: Item, directory: Path, seed: int) -> list[Result] | None:
    """Results of one item, or None where the project has no network for it. Raises GoldenError."""
    adapter = ADAPTERS.get(item.name)
    if adapter is None:
        return None
    context = open_item(item, directory, seed)
    return compare_all(item, adapter(context), context.arrays)


def report(directory: Path, seed: int, only: Sequence[str], every: bool) -> Iterator[tuple[str, bool]]:
    """Lines to print, each with whether it says that something is wrong."""
    items = [item for item in read_items(directory) if not only or item.name in only]
    unknown = sorted(set(only) - {item.name for item in items})
    if unknown:
        raise GoldenError(f"'{directory}' has no item {', '.join(unknown)}")
    for item in items:
        try:
            results = check_item(item, directory, seed)
        except GoldenError as error:
            yield f"FAIL  {item.name}: {error}", True
            continue
        except (RuntimeError, ValueError, TypeError, KeyError) as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            yield f"FAIL  {item.name}: {type(error).__name__} at {place}: {error}", True
            continue
        finally:
            gc.collect()
        if results is None:
            yield f"--    {item.name}: no network yet", False
            continue
        bad = [result for result in results if not result.ok]
        worst = max(results, key=lambda result: result.ratio)
        state = "FAIL" if bad else "ok  "
        yield f"{state}  {item.name}: {len(results)} outputs, worst {worst.output}: {worst.text()}", bool(bad)
        for result in results if every else bad:
            yield f"        {'ok  ' if result.ok else 'FAIL'}  {result.output}: {result.text()}", False


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compare our networks with golden data.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="folder with manifests and npz files")
    parser.add_argument("--seed", type=int, default=0, help="the seed the data were made with (default 0)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="check these items alone")
    parser.add_argument("--all", action="store_true", help="print a line per output too")
    arguments = parser.parse_args(argv)
    failed = 0
    try:
        for line, wrong in report(arguments.directory, arguments.seed, arguments.only, arguments.all):
            print(line, flush=True)
            failed += wrong
    except GoldenError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{failed} item(s) above tolerance" if failed else "all checked items within tolerance")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
