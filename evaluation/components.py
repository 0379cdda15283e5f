"""What a component auto-encoder can do, on validation faces: reconstruction, success of edits, change elsewhere, one eye alone.

    python -m evaluation.components --components FILE --directions FILE --judge FILE --zip VAL.zip --labels VAL.csv

Prints one JSON object. Success is read by the judge, a classifier that took part in no training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import container
from data.datasets import load_faces
from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.compact import AttributeNet
from evaluation import registry
from evaluation.features import Features
from iafaces.directions import RECIPES, Direction, from_state
from iafaces.editing import edit_mask, residual
from iafaces.model import Code, ComponentAutoencoder
from iafaces.regions import BOXES, GROUPS, grid_boxes
from workbench.weights import load_file

CURVES = ("mouth_open", "bushy", "male")
STRENGTHS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)


def decoded(model: ComponentAutoencoder, content: Tensor, nodes: Tensor) -> Tensor:
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
    model: ComponentAutoencoder, judge: AttributeNet, photos: Tensor, code: Code, recon: Tensor, direction: Direction
) -> list[dict[str, float]]:
    """Success and change beyond the components at rising strength, decoded and residual, on faces without the attribute."""
    inverted = RECIPES[direction.name].inverted
    column = CELEBA_ATTRIBUTES.index(direction.label)
    rows = [i for name in direction.components for i in GROUPS[name]]
    size = photos.shape[2]
    elsewhere, blend = irrelevant_mask(rows, size), edit_mask(rows, size)
    found = []
    for strength in STRENGTHS:
        edited = decoded(model, code.content, direction.moved(code.nodes, strength))
        shown = torch.stack([residual(p, e, r, blend) for p, e, r in zip(photos, edited, recon, strict=True)])
        said = {
            "decoded": judge(edited).sigmoid()[:, column] > 0.5,
            "residual": judge(shown).sigmoid()[:, column] > 0.5,
        }
        found.append(
            {
                "strength": strength,
                **{f"accuracy_{k}": float((v != inverted).float().mean()) for k, v in said.items()},
                "mse_irr_by_the_edit": per_pixel(edited - recon, elsewhere),
                "mse_irr_by_the_edit_residual": per_pixel(shown - photos, elsewhere),
                "mse_irr_to_the_photo": per_pixel(edited - photos, elsewhere),
            }
        )
    return found


def locality(model: ComponentAutoencoder, code: Code, recon: Tensor) -> dict[str, Any]:
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
    model: ComponentAutoencoder,
    directions: Mapping[str, Direction],
    judge: AttributeNet,
    photos: Tensor,
    labels: Tensor,
    features: Features | None = None,
) -> dict[str, Any]:
    """All numbers for validation ``photos`` (N,3,size,size) in [-1, 1] with ``labels`` (N,40)."""
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
            "points": curve(model, judge, photos[index], part, recon[index], directions[name]),
        }
    return {
        "faces": len(photos),
        "size": photos.shape[2],
        "reconstruction": {n: {"value": r.value, "low": r.low, "high": r.high} for n, r in results.items()},
        **{n: 10 * float(np.log10(4 / per_pixel(recon - photos, m))) for n, m in parts.items()},
        "locality": locality(model, code, recon),
        "curves": curves,
        "accuracy_of_directions": {n: d.accuracy for n, d in directions.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", required=True, metavar="FILE")
    parser.add_argument("--directions", metavar="FILE", help="without it, no curves")
    parser.add_argument("--judge", required=True, metavar="FILE")
    parser.add_argument("--zip", required=True, metavar="FILE", help="validation faces")
    parser.add_argument("--labels", required=True, metavar="FILE")
    parser.add_argument("--faces", type=int, default=300, metavar="N")
    parser.add_argument("--cache", metavar="FOLDER")
    a = parser.parse_args(argv)
    model, header, _ = load_file("components", Path(a.components))
    judge, _, _ = load_file("judge", Path(a.judge))
    assert isinstance(model, ComponentAutoencoder)
    assert isinstance(judge, AttributeNet)
    directions = from_state(*container.load(a.directions), str(header["id"])) if a.directions else {}
    faces = load_faces([a.zip], a.labels, model.size, a.cache)
    index = np.arange(min(a.faces, len(faces)))
    photos, labels = faces.batch(index).contiguous(), torch.from_numpy(faces.labels[index])
    judge.eval()
    print(json.dumps(measure(model.eval(), directions, judge, photos, labels, Features("judge", judge)), indent=1))


if __name__ == "__main__":
    main()
