"""What a component auto-encoder can do, on validation faces: reconstruction, success of edits, change elsewhere, one eye alone.

    python cli.py evaluate iafaces --zip VAL.zip --labels VAL.csv --count 300 --json

Success is read by the judge, a classifier that took part in no training. ``--components`` and ``--directions`` measure the files of a
training run instead of the family's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import container
from data.datasets import load_faces
from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.compact import AttributeNet
from evaluation import registry, validation
from evaluation.features import Features
from iafaces.directions import RECIPES, Direction, from_state
from iafaces.editing import Autoencoder, edit_mask, moved, residual
from iafaces.model import Code
from iafaces.regions import BOXES, GROUPS, grid_boxes
from workbench import component_networks
from workbench.errors import BadCheckpoint
from workbench.manifest import open_family
from workbench.masking import thresholds_of
from workbench.weights import load_file

CURVES = ("mouth_open", "bushy", "male")
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)


def decoded(model: Autoencoder, content: Tensor, nodes: Tensor) -> Tensor:
    """Pictures of codes, clamped, in small batches."""
    parts = zip(content.split(10), nodes.split(10), strict=True)
    return torch.cat([model.decode(Code(c, n)) for c, n in parts]).clamp(-1, 1)


def irrelevant_mask(rows: Sequence[int], size: int) -> Tensor:
    """(size,size): 0 in the boxes of ``rows``, else 1."""
    mask = torch.ones(size, size)
    for row in rows:
        x0, y0, x1, y1 = grid_boxes(size)[row]
        mask[y0:y1, x0:x1] = 0
    return mask


def per_pixel(change: Tensor, mask: Tensor) -> float:
    """Mean squared ``change`` (N,3,H,W) over the pixels where ``mask`` (H,W) is 1."""
    return float((change.square() * mask).sum() / (len(change) * 3 * mask.sum().clamp_min(1)))


def curve(
    model: Autoencoder,
    judge: AttributeNet,
    photos: Tensor,
    code: Code,
    recon: Tensor,
    direction: Direction,
    threshold: float = 0.5,
) -> list[dict[str, float]]:
    """Success and change beyond the components at rising strength, decoded and residual, on faces without the attribute.

    ``accuracy``: the judge reads more than one half; ``balanced``: more than ``threshold``, see ``evaluation.thresholds``.
    """
    inverted = RECIPES[direction.name].inverted
    column = CELEBA_ATTRIBUTES.index(direction.label)
    rows = [i for name in direction.components for i in GROUPS[name]]
    size = photos.shape[2]
    elsewhere, blend = irrelevant_mask(rows, size), edit_mask(rows, size)
    found = []
    for strength in STRENGTHS:
        edited = decoded(model, code.content, direction.moved(code.nodes, strength))
        shown = torch.stack([residual(p, e, r, blend) for p, e, r in zip(photos, edited, recon, strict=True)])
        read = {"decoded": judge(edited).sigmoid()[:, column], "residual": judge(shown).sigmoid()[:, column]}
        found.append(
            {
                "strength": strength,
                **{f"accuracy_{k}": float(((v > 0.5) != inverted).float().mean()) for k, v in read.items()},
                **{f"balanced_{k}": float(((v > threshold) != inverted).float().mean()) for k, v in read.items()},
                "mse_irr_by_the_edit": per_pixel(edited - recon, elsewhere),
                "mse_irr_by_the_edit_residual": per_pixel(shown - photos, elsewhere),
                "mse_irr_to_the_photo": per_pixel(edited - photos, elsewhere),
            }
        )
    return found


def locality(model: Autoencoder, code: Code, recon: Tensor) -> dict[str, Any]:
    """Exchange one component with the next face's: share of the squared change inside its box, and in the other eye's."""
    size, found = recon.shape[2], {}
    boxes = grid_boxes(size)
    for row, name in enumerate(("l_eye", "r_eye", "nose", "mouth")):
        nodes = code.nodes.clone()
        nodes[:, row] = code.nodes.roll(1, 0)[:, row]
        change = decoded(model, code.content, nodes) - recon
        inside = irrelevant_mask([row], size) == 0
        energy = change.square().sum([0, 1])
        found[name] = {
            "energy_inside_its_box": float(energy[inside].sum() / energy.sum()),
            "energy_inside_the_feather": float((energy * (edit_mask([row], size)[0] > 0)).sum() / energy.sum()),
        }
        if row < 2:
            x0, y0, x1, y1 = boxes[1 - row]
            found[name]["other_eye_to_this_eye"] = float(energy[y0:y1, x0:x1].mean() / energy[inside].mean())
    return found


@torch.inference_mode()
def measure(
    model: Autoencoder,
    directions: Mapping[str, Direction],
    judge: AttributeNet,
    photos: Tensor,
    labels: Tensor,
    features: Features | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """All numbers for validation ``photos`` (N,3,size,size) in [-1, 1] with ``labels`` (N,40); ``thresholds`` of the judge."""
    started = time.perf_counter()
    codes = [model.encode(part) for part in photos.split(10)]
    code = Code(torch.cat([c.content for c in codes]), torch.cat([c.nodes for c in codes]))
    recon = decoded(model, code.content, code.nodes)
    context = registry.Context(features=features)
    names = ["mse", "psnr", "ssim", "psnr_ref", "ssim_ref", *(["percept_own"] if features else [])]
    results = {name: registry.run(name, photos, recon, context) for name in names}
    inside = torch.zeros(photos.shape[2], photos.shape[2])
    for row in range(len(BOXES)):
        inside = torch.maximum(inside, 1 - irrelevant_mask([row], photos.shape[2]))
    parts = {"psnr_inside_the_boxes": inside, "psnr_outside_them": 1 - inside}
    curves = {}
    for name in CURVES:
        if name not in directions:
            continue
        column = CELEBA_ATTRIBUTES.index(directions[name].label)
        index = torch.nonzero(labels[:, column] == int(RECIPES[name].inverted)).flatten()[:150]
        part = Code(code.content[index], code.nodes[index])
        curves[name] = {
            "faces": len(index),
            "threshold": (thresholds or {}).get(directions[name].label, 0.5),
            "points": curve(
                model,
                judge,
                photos[index],
                part,
                recon[index],
                directions[name],
                (thresholds or {}).get(directions[name].label, 0.5),
            ),
        }
    return {
        "faces": len(photos),
        "size": photos.shape[2],
        "reconstruction": {n: {"value": r.value, "low": r.low, "high": r.high} for n, r in results.items()},
        **{n: 10 * float(np.log10(4 / per_pixel(recon - photos, m))) for n, m in parts.items()},
        "locality": locality(model, code, recon),
        "one_eye": one_eye(model, code, recon, directions),
        "curves": curves,
        "accuracy_of_directions": {n: d.accuracy for n, d in directions.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }


def one_eye(
    model: Autoencoder, code: Code, recon: Tensor, directions: Mapping[str, Direction], strength: float = 2.0
) -> dict[str, float]:
    """Move each attribute of both eyes in the left one alone: mean squared change in the other eye's box over that in its own."""
    boxes, found = grid_boxes(recon.shape[2]), {}
    for name, direction in directions.items():
        if direction.components != ("l_eye", "r_eye"):
            continue
        nodes = moved(code.nodes, {name: direction}, {name: (strength, 0.0, 0.0, 0.0)})
        energy = (decoded(model, code.content, nodes) - recon).square().sum([0, 1])
        mine, other = (energy[y0:y1, x0:x1].mean() for x0, y0, x1, y1 in boxes[:2])
        found[name] = float(other / mine.clamp_min(1e-12))
    return found


def networks(
    options: argparse.Namespace,
) -> tuple[Autoencoder, dict[str, Direction], AttributeNet, Mapping[str, float], dict[str, str]]:
    """The network, ours or a published one, its directions, the judge, its thresholds, and the ids of both networks.

    Raises MissingWeights and BadCheckpoint.
    """
    family = open_family(options.family, options.manifest)
    found = component_networks.open_family(family, options.components)
    judge, judged, _ = load_file("judge", options.judge or family.path("judge"))
    if not isinstance(judge, AttributeNet):
        raise BadCheckpoint("This evaluation measures with the program's own judge; give another file with --judge.")
    if options.directions:
        directions = from_state(*container.load(options.directions), found.id)
    else:
        directions = {} if options.components else component_networks.directions(family, found.id)[0]
    ids = {"components": found.id, "judge": str(judged["id"])}
    return found.module, directions, judge.eval(), thresholds_of(judged), ids


def command(words: Sequence[str]) -> int:
    """``evaluate iafaces``."""
    parser = argparse.ArgumentParser(
        prog="cli.py evaluate iafaces",
        description="IA-FaceS: reconstruction, success of edits against change elsewhere, exchanged components, one eye alone.",
    )
    parser.add_argument("--zip", required=True, type=Path, metavar="FILE", help="validation faces")
    parser.add_argument("--labels", required=True, type=Path, metavar="FILE", help="their 40 labels as CSV")
    parser.add_argument("--count", type=int, default=300, metavar="N", help="faces (default: 300)")
    parser.add_argument("--components", type=Path, metavar="FILE", help="another network than the family's")
    parser.add_argument("--directions", type=Path, metavar="FILE", help="its directions; without them no curves")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="another judge than the family's")
    parser.add_argument("--cache", metavar="FOLDER", help="where decoded faces are kept")
    parser.add_argument("--family", default="starter", help="family of weights (default: starter)")
    parser.add_argument("--manifest", metavar="FILE", help="another list of weights than data/weights.toml")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    options = parser.parse_args(list(words))
    model, directions, judge, thresholds, ids = networks(options)
    faces = load_faces([options.zip], options.labels, model.size, options.cache)
    index = np.arange(min(options.count, len(faces)))
    photos, labels = faces.batch(index).contiguous(), torch.from_numpy(faces.labels[index])
    found = measure(model, directions, judge, photos, labels, Features(f"judge {ids['judge']}", judge), thresholds)
    report = {**ids, "machine": validation.machine(), "date": date.today().isoformat(), **found}
    print(json.dumps(report) if options.json else told(report))
    return 0


def told(report: Mapping[str, Any]) -> str:
    """The numbers for people."""
    lines = [f"{report['faces']} faces, {report['size']} px, network {report['components']}, judge {report['judge']}"]
    for name, value in report["reconstruction"].items():
        lines.append(f"  {name:14} {value['value']:.5g} [{value['low'] or 0:.4g}, {value['high'] or 0:.4g}]")
    lines.append(
        f"  psnr inside the boxes {report['psnr_inside_the_boxes']:.2f}, outside {report['psnr_outside_them']:.2f}"
    )
    for name, curve in report["curves"].items():
        lines.append(
            f"{name}, {curve['faces']} faces without it: strength, success decoded and residual (balanced threshold "
            f"{curve['threshold']:.2f}), the same over one half, mse_irr by the edit"
        )
        for p in curve["points"]:
            lines.append(
                f"  {p['strength']:<4g} {p['balanced_decoded']:.3f} {p['balanced_residual']:.3f}  "
                f"{p['accuracy_decoded']:.3f} {p['accuracy_residual']:.3f}  "
                f"{p['mse_irr_by_the_edit']:.6f}  (residual {p['mse_irr_by_the_edit_residual']:.6f})"
            )
    for name, value in report["locality"].items():
        lines.append(f"exchanged {name}: " + ", ".join(f"{key} {v:.3f}" for key, v in value.items()))
    lines.append(
        "one eye moved, change in the other over its own: "
        + str({k: round(v, 4) for k, v in report["one_eye"].items()})
    )
    lines.append("held-out accuracy: " + ", ".join(f"{k} {v:.3f}" for k, v in report["accuracy_of_directions"].items()))
    return "\n".join(lines)
