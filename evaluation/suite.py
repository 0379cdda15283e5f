"""The metrics: one decorated function each. Their names are the program's; a published name means the published network.

``*_own`` look through our own networks, ``*_ref`` are the formulas that IA-FaceS' authors released.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from evaluation import metrics, reference
from evaluation.features import kernel_distance, precision_recall
from evaluation.metric import Context, metric
from evaluation.pose import head_pose
from iafaces.regions import GROUPS, grid_boxes
from workbench.errors import BadRequest


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


@metric("arc_dis", needs="embed")
def _arc_dis(a: Tensor, b: Tensor, context: Context) -> Tensor:
    return 1 - _identity(a, b, context)


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


@metric("lpips", needs="lpips")
def _lpips(a: Tensor, b: Tensor, context: Context) -> Tensor:
    assert context.lpips is not None
    return context.lpips[1](a, b)


def _inception(images: Tensor, context: Context) -> Tensor:
    assert context.inception is not None
    return torch.cat([context.inception[1](part).cpu() for part in images.split(16)])


@metric("fid", kind="sets", needs="inception")
def _fid(a: Tensor, b: Tensor, context: Context) -> Tensor:
    return torch.tensor(metrics.frechet(_inception(a, context).numpy(), _inception(b, context).numpy()))


@metric("kid", kind="sets", needs="inception")
def _kid_published(a: Tensor, b: Tensor, context: Context) -> Tensor:
    return kernel_distance(_inception(a, context), _inception(b, context))


def _seen(a: Tensor, b: Tensor, context: Context) -> list[tuple[np.ndarray, np.ndarray] | None]:
    assert context.points is not None
    found = [(context.points[1](x), context.points[1](y)) for x, y in zip(a, b, strict=True)]
    return [(x, y) if x is not None and y is not None else None for x, y in found]


@metric("landmarks", needs="points")
def _landmarks(a: Tensor, b: Tensor, context: Context) -> Tensor:
    """Mean distance of the 51 points without the jaw, in parts of the distance of the outer eye corners of ``a``."""
    values = []
    for pair in _seen(a, b, context):
        if pair is None:
            values.append(float("nan"))
            continue
        span = float(np.hypot(*(pair[0][45] - pair[0][36])))
        values.append(float(np.hypot(*(pair[0][17:] - pair[1][17:]).T).mean()) / max(span, 1e-6))
    return torch.tensor(values)


def _pose(angle: str) -> Callable[[Tensor, Tensor, Context], Tensor]:
    def distance(a: Tensor, b: Tensor, context: Context) -> Tensor:
        values = []
        for pair in _seen(a, b, context):
            poses = [None, None] if pair is None else [head_pose(points) for points in pair]
            known = poses[0] is not None and poses[1] is not None
            values.append(abs(getattr(poses[0], angle) - getattr(poses[1], angle)) if known else float("nan"))
        return torch.tensor(values)

    return distance


for _angle in ("yaw", "pitch", "roll"):
    metric(_angle, needs="points")(_pose(_angle))
