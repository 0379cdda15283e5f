"""The networks that metrics look through: a family's own, a judge of one's choice, and the published trunks where they are there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encoders.inception_fid import FIDInception
from encoders.lpips import LPIPS, Heads, VGG16Trunk
from evaluation.metric import METRICS, Context
from evaluation.swap_readers import features_of, points_of
from workbench import official, readout
from workbench.align import five_of
from workbench.devices import lock
from workbench.engine import Engine
from workbench.errors import BadCheckpoint, BadRequest, MissingWeights
from workbench.judges import judge_of
from workbench.manifest import Family, open_family
from workbench.weights import load_file


def needed(names: Collection[str]) -> set[str]:
    """Fields of Context that the metrics ``names`` need. Raises BadRequest for an unknown metric."""
    strangers = [name for name in names if name not in METRICS]
    if strangers:
        raise BadRequest(f"There is no metric '{strangers[0]}'; there are: {', '.join(METRICS)}.")
    return {METRICS[name].needs or "" for name in names}


def context_of(
    engine: Engine,
    names: Collection[str],
    *,
    recogniser: Path | None = None,
    discriminator: Path | None = None,
    component: str | None = None,
    attribute: int | None = None,
    wanted: bool = True,
    helpers: Family | None = None,
) -> Context:
    """What the metrics ``names`` need, loaded; of the rest nothing.

    recogniser: file of another identity network than the family's. discriminator: file for IFG. ``helpers``: the family that
    holds the published trunks (default: that name in the list of weights). Raises BadRequest, MissingWeights and BadCheckpoint.
    """
    needs = needed(names)
    points = points_of(engine) if needs & {"points", "embed"} else None
    if "points" in needs and points is None:
        raise MissingWeights(
            f"The {engine.family} family has no landmark network, which landmark and pose distance need."
        )
    features = features_of(engine) if "features" in needs else None
    if "features" in needs and features is None:
        raise MissingWeights(f"The {engine.family} family has no judge classifier, whose features are needed.")
    return Context(
        features=features,
        embed=identity_of(engine, recogniser, points) if "embed" in needs else None,
        judge=attributes_of(engine) if "judge" in needs else None,
        score=score_of(engine, discriminator) if "score" in needs else None,
        lpips=lpips_of(engine, helpers) if "lpips" in needs else None,
        inception=inception_of(engine, helpers) if "inception" in needs else None,
        points=points if "points" in needs else None,
        component=component,
        attribute=attribute,
        wanted=wanted,
    )


def identity_of(
    engine: Engine, recogniser: Path | None, points: tuple[str, Callable[[Tensor], np.ndarray | None]] | None
) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Unit rows (B,D) of aligned faces (B,3,H,W); a picture without a face gives a row of NaN where faces are looked for."""
    judge = judge_of(engine, recogniser)

    def row(image: Tensor) -> Tensor:
        found = points[1](image) if points is not None else None
        vector = judge.embed(image, engine.device, None if found is None else five_of(found))
        return torch.full_like(vector, torch.nan) if points is not None and found is None else vector

    return judge.id, lambda images: torch.stack([row(image) for image in images])


def attributes_of(engine: Engine) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Probabilities (B,40) by the family's judge, a classifier that no training looked through. Raises MissingWeights."""
    found = engine.store.network("judge")

    @torch.no_grad()
    def read(images: Tensor) -> Tensor:
        with lock(engine.device):
            return readout.attribute_logits(found.module, images.to(engine.device)).sigmoid().cpu()

    return f"{engine.family} judge {found.id}", read


def score_of(engine: Engine, path: Path | None) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Logits of a discriminator, ours or a published one. Raises BadRequest without a file, and BadCheckpoint."""
    if path is None:
        raise BadRequest("IFG needs a discriminator; name its file with --discriminator.")
    try:
        module, header, _ = load_file("discriminator", path)
        name = str(header["id"])
    except BadCheckpoint:
        found = official.read(path)
        module, state, _ = official.assemble(found)
        if found.kind.name != "discriminator":
            raise BadCheckpoint(f"'{path}' is a {found.kind.title}, and IFG needs a discriminator.") from None
        name = official.weights_id(found, state)
    module = module.eval().requires_grad_(False).to(engine.device)
    return name, lambda images: module(images.to(engine.device)).cpu()


def published(family: Family, role: str, metric: str) -> torch.nn.Module:
    """A network of the family "helpers". Raises MissingWeights with what to fetch, and BadCheckpoint."""
    path = family.find(role)
    if path is None:
        record = family.record(role)
        raise MissingWeights(
            f"{metric} needs '{record.file}', which is not there; fetch it with 'python cli.py weights fetch {record.file}', or use "
            f"the own measure instead ('percept_own', 'fd_own', 'kid_own')."
        )
    return official.load(role, path, family.record(role))[0].eval().requires_grad_(False)


def lpips_of(engine: Engine, helpers: Family | None = None) -> tuple[str, Callable[[Tensor, Tensor], Tensor]]:
    """LPIPS v0.1 with the published VGG16 trunk and heads. Raises MissingWeights."""
    family = helpers or open_family("helpers", None)
    trunk, heads = (published(family, role, "LPIPS") for role in ("lpips_vgg_trunk", "lpips_vgg_heads"))
    assert isinstance(trunk, VGG16Trunk)
    assert isinstance(heads, Heads)
    net = LPIPS.of_parts(trunk, heads).to(engine.device)
    return "lpips v0.1 vgg16", lambda a, b: net(a.to(engine.device), b.to(engine.device)).cpu()


def inception_of(engine: Engine, helpers: Family | None = None) -> tuple[str, Callable[[Tensor], Tensor]]:
    """Pooled features of the published Inception. Raises MissingWeights."""
    net = published(helpers or open_family("helpers", None), "inception_fid", "FID")
    assert isinstance(net, FIDInception)
    net = net.to(engine.device)
    return "inception 2015-12-05", lambda images: net(images.to(engine.device)).cpu()
