"""Every metric under one name: run on pairs or sets of pictures, with an interval, and one JSON line as the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from evaluation import metrics, reference
from evaluation.features import Features, kernel_distance, precision_recall
from iafaces.regions import GROUPS, grid_boxes
from workbench.errors import BadImage, BadRequest, FacetError
from workbench.face import to_tensor
from workbench.images import load_image

Kind = Literal["pairs", "sets"]


@dataclass(frozen=True, eq=False)
class Context:
    """What some metrics need: networks with their names, the edited component, another picture to compare with.

    ``features``: a feature network for perceptual and set metrics; ``embed``: pictures (B,3,H,W) to unit rows (B,n) and the
    name of that network; ``judge``: pictures to 40 probabilities, with ``attribute`` its column; ``score``: a discriminator.
    """

    features: Features | None = None
    embed: tuple[str, Callable[[Tensor], Tensor]] | None = None
    judge: tuple[str, Callable[[Tensor], Tensor]] | None = None
    score: tuple[str, Callable[[Tensor], Tensor]] | None = None
    component: str | None = None
    attribute: int | None = None
    wanted: bool = True


@dataclass(frozen=True)
class Metric:
    """A registered metric: per-pair values (N,) for "pairs", one number for "sets". ``needs`` names fields of Context."""

    name: str
    kind: Kind
    better: Literal["higher", "lower"]
    function: Callable[[Tensor, Tensor, Context], Tensor]
    needs: str | None


@dataclass(frozen=True)
class Result:
    """One number with its circumstances. ``low`` and ``high``: 95 % bootstrap interval of the mean, for pairs."""

    metric: str
    value: float
    n: int
    resolution: int
    seconds: float
    low: float | None = None
    high: float | None = None
    backbone: str | None = None
    judge: str | None = None
    left_out: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self), sort_keys=True)


def _collect() -> tuple[dict[str, Metric], Callable[..., Any]]:
    table: dict[str, Metric] = {}

    def register(
        name: str, *, kind: Kind = "pairs", better: Literal["higher", "lower"] = "lower", needs: str | None = None
    ) -> Callable[[Callable[[Tensor, Tensor, Context], Tensor]], Callable[[Tensor, Tensor, Context], Tensor]]:
        def add(function: Callable[[Tensor, Tensor, Context], Tensor]) -> Callable[[Tensor, Tensor, Context], Tensor]:
            table[name] = Metric(name, kind, better, function, needs)
            return function

        return add

    return table, register


METRICS, metric = _collect()


@metric("mse")
def _mse(a: Tensor, b: Tensor, context: Context) -> Tensor:
    return metrics.l2(a, b)


@metric("psnr", better="higher")
def _psnr(a: Tensor, b: Tensor, context: Context) -> Tensor:
    # Equal pictures would be infinite; a rounding step of 8 bits is the floor.
    return 10 * torch.log10(4 / metrics.l2(a, b).clamp_min((1 / 127.5) ** 2 / 12))


@metric("ssim", better="higher")
def _ssim(a: Tensor, b: Tensor, context: Context) -> Tensor:
    return metrics.ssim(a, b)


@metric("ms_ssim", better="higher")
def _ms_ssim(a: Tensor, b: Tensor, context: Context) -> Tensor:
    return metrics.ms_ssim(a, b)


@metric("psnr_ref", kind="sets", better="higher")
def _psnr_ref(a: Tensor, b: Tensor, context: Context) -> Tensor:
    return reference.psnr_ref(a, b)


@metric("ssim_ref", better="higher")
def _ssim_ref(a: Tensor, b: Tensor, context: Context) -> Tensor:
    return reference.ssim_ref(a, b)


def irrelevant(size: int, component: str) -> Tensor:
    """(size,size): 0 where a pixel's centre lies in a box of ``component`` ("eyes" or one of the four), else 1."""
    if component not in GROUPS:
        raise BadRequest(f"There is no component '{component}'; there are: {', '.join(GROUPS)}.")
    mask = torch.ones(size, size)
    boxes = grid_boxes(size)
    for row in GROUPS[component]:
        x0, y0, x1, y1 = boxes[row]
        mask[y0:y1, x0:x1] = 0
    return mask


def _component(context: Context) -> str:
    assert context.component is not None  # run() asks for what a metric needs
    return context.component


@metric("mse_irr", needs="component")
def _mse_irr(a: Tensor, b: Tensor, context: Context) -> Tensor:
    mask = irrelevant(a.shape[2], _component(context)).to(a)
    return ((a - b) * mask).square().sum([1, 2, 3]) / (3 * mask.sum())


@metric("mse_irr_ref", needs="component")
def _mse_irr_ref(a: Tensor, b: Tensor, context: Context) -> Tensor:
    return reference.mse_irr_ref(a, b, irrelevant(a.shape[2], _component(context)).to(a))


@metric("ifg", better="higher", needs="score")
def _ifg(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.score is not None
    # One picture at a time: a minibatch statistic would make the score depend on its neighbours.
    scores = [context.score[1](x[None]).reshape(()) for x in (*b, *a)]
    return torch.stack(scores[: len(b)]) - torch.stack(scores[len(b) :])


@metric("identity", better="higher", needs="embed")
def _identity(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.embed is not None
    return (context.embed[1](a) * context.embed[1](b)).sum(1)


@metric("accuracy", better="higher", needs="judge")
def _accuracy(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.judge is not None
    assert context.attribute is not None
    seen = context.judge[1](b)[:, context.attribute] > 0.5
    return (seen == context.wanted).float()


@metric("unintended", needs="judge")
def _unintended(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.judge is not None
    change = (context.judge[1](b) - context.judge[1](a)).abs()
    others = [i for i in range(change.shape[1]) if i != context.attribute]
    return change[:, others].mean(1)


@metric("percept_own", needs="features")
def _percept(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.features is not None
    return context.features.distance(a, b)


@metric("fd_own", kind="sets", needs="features")
def _fd(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.features is not None
    return torch.tensor(metrics.frechet(context.features.vectors(a).numpy(), context.features.vectors(b).numpy()))


@metric("kid_own", kind="sets", needs="features")
def _kid(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.features is not None
    return kernel_distance(context.features.vectors(a), context.features.vectors(b))


@metric("precision_own", kind="sets", better="higher", needs="features")
def _precision(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.features is not None
    return precision_recall(context.features.vectors(a), context.features.vectors(b))[0]


@metric("recall_own", kind="sets", better="higher", needs="features")
def _recall(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.features is not None
    return precision_recall(context.features.vectors(a), context.features.vectors(b))[1]


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
) -> Result:
    """Metric ``name`` between ``first`` (photos, sources) and ``second`` (pictures to judge), (N,3,H,W) in [-1, 1].

    Pairs go by position. Raises BadRequest for an unknown metric, one that lacks what it needs, or pictures that do not pair.
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
    facts = {
        "backbone": context.features.name if chosen.needs == "features" and context.features else None,
        "judge": next((n for n, _ in (v for v in (_network(context, chosen.needs),) if v)), None),
        "left_out": tuple(left_out),
    }
    if chosen.kind == "sets":
        value = float(chosen.function(first, second, context))
        seconds = time.perf_counter() - started
        return Result(name, value, len(second), second.shape[2], seconds, **facts)  # pyright: ignore[reportArgumentType]
    if first.shape != second.shape:
        raise BadRequest(f"'{name}' compares pairs; {tuple(first.shape)} and {tuple(second.shape)} do not pair.")
    parts = zip(first.split(batch), second.split(batch), strict=True)
    values = torch.cat([chosen.function(a, b, context) for a, b in parts]).double().numpy()
    low, high = interval(values)
    seconds = time.perf_counter() - started
    return Result(name, float(values.mean()), len(values), second.shape[2], seconds, low, high, **facts)  # pyright: ignore[reportArgumentType]


def _network(context: Context, needs: str | None) -> tuple[str, Any] | None:
    return getattr(context, needs) if needs in ("embed", "judge", "score") else None


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
        raise BadImage(f"The folder '{folder}' holds no usable picture.")
    return found, tuple(bad)


def run_folders(
    names: Sequence[str], first: Path | str, second: Path | str, context: Context | None = None
) -> list[Result]:
    """Metrics ``names`` between two folders; pairs go by file stem, and files without a partner are listed as left out."""
    a, bad_a = read_folder(first)
    size = next(iter(a.values())).shape[2]
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
        out.append(run(name, images[0], images[1], context, left_out=missing))
    return out
