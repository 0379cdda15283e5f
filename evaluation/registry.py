"""Every metric under one name: run on pairs or sets of pictures, with an interval, and one JSON line as the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evaluation.metric import METRICS, Context, Metric, Result
from evaluation.suite import irrelevant
from workbench.errors import BadImage, BadRequest, FacetError
from workbench.face import to_tensor
from workbench.images import load_image

__all__ = ["METRICS", "Context", "Metric", "Result", "interval", "irrelevant", "read_folder", "run", "run_folders"]


def interval(values: np.ndarray, *, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of ``values`` (N,)."""
    index = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.quantile(values[index].mean(1), [0.025, 0.975])
    return float(low), float(high)


@torch.no_grad()
def run(
    name: str,
    first: Tensor,
    second: Tensor,
    context: Context | None = None,
    *,
    batch: int = 16,
    left_out: Sequence[str] = (),
    names: Sequence[str] | None = None,
) -> Result:
    """Metric ``name`` between ``first`` (photos, sources) and ``second`` (pictures to judge), (N,3,H,W) in [-1, 1].

    Pairs go by position; ``names`` are theirs, for those without a face.

    Raises BadRequest for an unknown metric, one that lacks what it needs, or pictures that do not pair.
    """
    context = context or Context()
    if name not in METRICS:
        raise BadRequest(f"There is no metric '{name}'; there are: {', '.join(METRICS)}.")
    chosen = METRICS[name]
    if chosen.needs and getattr(context, chosen.needs) is None:
        raise BadRequest(f"The metric '{name}' needs '{chosen.needs}', which was not given.")
    if name == "accuracy" and context.attribute is None:
        raise BadRequest("The metric 'accuracy' needs 'attribute', the column to read.")
    if not len(first) or not len(second):
        raise BadRequest(f"The metric '{name}' needs at least one picture on both sides.")
    started = time.perf_counter()
    backbone, judge = _networks(context, chosen.needs)
    if chosen.kind == "sets":
        value = float(chosen.function(first, second, context))
        seconds = time.perf_counter() - started
        return Result(
            name, value, len(second), second.shape[2], seconds, backbone=backbone, judge=judge, left_out=tuple(left_out)
        )
    if first.shape != second.shape:
        raise BadRequest(f"'{name}' compares pairs; {tuple(first.shape)} and {tuple(second.shape)} do not pair.")
    parts = zip(first.split(batch), second.split(batch), strict=True)
    values = torch.cat([chosen.function(a, b, context) for a, b in parts]).double().numpy()
    lost = np.flatnonzero(np.isnan(values))
    told = names if names is not None else [f"pair {i + 1}" for i in range(len(values))]
    unseen = [f"{told[int(i)]}: no face found" for i in lost]
    values = np.delete(values, lost)
    if not len(values):
        raise BadRequest(f"'{name}' found a face in none of the {len(lost)} pairs; give pictures with faces.")
    low, high = interval(values)
    return Result(
        name,
        float(values.mean()),
        len(values),
        second.shape[2],
        time.perf_counter() - started,
        low,
        high,
        backbone,
        judge,
        len(lost),
        (*left_out, *unseen),
    )


def _networks(context: Context, needs: str | None) -> tuple[str | None, str | None]:
    """Names of the feature network and of the judge that a metric looks through."""
    if needs == "features":
        return (context.features.name if context.features else None), None
    if needs in ("lpips", "inception"):
        return getattr(context, needs)[0], None
    return None, getattr(context, needs)[0] if needs in ("embed", "judge", "score", "points") else None


def read_folder(folder: Path | str, size: int | None = None) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """Pictures (3,H,W) of ``folder`` by file stem, and a sentence for every file that could not be used.

    With ``size``, a picture of another size is left out, not resized: metrics depend on the resolution. Raises BadImage when
    none is left.
    """
    found: dict[str, Tensor] = {}
    bad: list[str] = []
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            continue
        try:
            image = to_tensor(load_image(path.read_bytes(), path.name).pixels)
        except (FacetError, OSError) as error:
            bad.append(f"{path.name}: {error}")
            continue
        if size is not None and image.shape[1:] != (size, size):
            bad.append(f"{path.name}: {image.shape[2]}x{image.shape[1]} instead of {size}x{size}")
            continue
        found[path.stem] = image
    if not found:
        why = f" ({bad[0]}; {len(bad)} left out)" if bad else ""
        raise BadImage(
            f"The folder '{folder}' holds no usable picture{why}; pictures of one size in both folders are compared."
        )
    return found, tuple(bad)


def run_folders(
    names: Sequence[str], first: Path | str, second: Path | str, context: Context | None = None
) -> list[Result]:
    """Metrics ``names`` between two folders; pairs go by file stem, and files without a partner are listed as left out."""
    a, bad_a = read_folder(first)
    size = next(iter(a.values())).shape[2]
    odd = [n for n, image in a.items() if image.shape[1:] != (size, size)]
    bad_a = (*bad_a, *(f"{n}: {a[n].shape[2]}x{a[n].shape[1]} instead of {size}x{size}" for n in odd))
    a = {n: image for n, image in a.items() if n not in odd}
    b, bad_b = read_folder(second, size)
    common = sorted(a.keys() & b.keys())
    lonely = [f"{n}: no partner" for n in sorted(a.keys() ^ b.keys())]
    out = []
    for name in names:
        pairs = name in METRICS and METRICS[name].kind == "pairs"
        if pairs and not common:
            raise BadRequest(f"'{first}' and '{second}' have no file names in common.")
        left, right = (common, common) if pairs else (sorted(a), sorted(b))
        missing = [*bad_a, *bad_b, *(lonely if pairs else ())]
        images = [torch.stack([table[n] for n in keys]) for table, keys in ((a, left), (b, right))]
        out.append(run(name, images[0], images[1], context, left_out=missing, names=left))
    return out
