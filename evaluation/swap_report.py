"""The report of a swap's evaluation for people: a table, and a sheet of the first pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from workbench.contact import ContactSheet
from workbench.export import Provenance, save_image
from workbench.face import to_uint8

SHOWN = 8
KINDS = {"photos": "aligned photos", "generated": "generated faces"}
ROWS = (
    ("identity, similarity", ("identity", "similarity")),
    ("identity, leak", ("identity", "leak")),
    ("closer to identity", ("identity", "closer")),
    ("retrieval top-1", ("identity", "top1")),
    ("landmark error", ("shape", "landmark_error")),
    ("yaw error, degrees", ("shape", "yaw_error")),
    ("pitch error, degrees", ("shape", "pitch_error")),
    ("yaw correlation", ("shape", "yaw_correlation")),
    ("hair to identity", ("to_identity", "hair")),
    ("hair to attributes", ("to_attributes", "hair")),
    ("background to identity", ("to_identity", "background")),
    ("background to attributes", ("to_attributes", "background")),
    ("Frechet distance", ("quality", "fd_own")),
    ("kernel distance", ("quality", "kid_own")),
    ("same twice: MSE", ("reconstruction", "mse")),
    ("same twice: PSNR, dB", ("reconstruction", "psnr")),
    ("same twice: MS-SSIM", ("reconstruction", "ms_ssim")),
    ("same twice: identity", ("reconstruction", "identity")),
    ("encoding both, s", ("seconds", "encode")),
    ("mapping, rendering, s", ("seconds", "swap")),
)


def table(body: Mapping[str, Any]) -> str:
    """The report as text: one block per kind of pairs, one column per method and base."""
    judge = body["judge"]
    who = judge["id"] if judge["independent"] else f"{judge['id']} (the training's own recogniser, which flatters)"
    strengths = body["strengths"]
    lines = [
        f"identity strength {strengths['identity']:g}, attribute strength {strengths['attributes']:g}",
        f"judge {who}; landmarks {body['landmarks']}; features {body['features']}; {body['resolution']} px; seed {body['seed']}",
    ]
    for kind, one in body["sets"].items():
        columns = {**one["results"], **one["references"]}
        apart = one["sources_apart"]["value"]
        lines += ["", f"{one['pairs']} pairs of {KINDS[kind]}, similarity of the sources {apart:.3f}"]
        lines.append(f"{'':26}" + "".join(f"{name:>26}" for name in columns))
        for title, path in ROWS:
            cells = [cell(found, path) for found in columns.values()]
            if any(cells):
                lines.append(f"{title:26}" + "".join(f"{text:>26}" for text in cells))
        floor = one.get("generator_floor")
        if floor:
            told = ", ".join(f"{name} {number['value']:.4g}" for name, number in floor.items())
            lines.append(f"as many faces of the generator, compared with {one['compared_with']} alike: {told}")
        lines += [f"left out: {text}" for text in one["left_out"]]
        for name, found in one["results"].items():
            lines += [f"no face in {name}: {text}" for text in found["without_face"]]
    lines += ["", f"{body['seconds']:.0f} s, at most {body['peak_mib']:.0f} MiB"]
    return "\n".join(lines)


def cell(found: Mapping[str, Any], path: Sequence[str]) -> str:
    """One number with its interval; empty where it was not measured."""
    for name in path:
        if name not in found:
            return ""
        found = found[name]
    if not isinstance(found, Mapping):
        return f"{found:.3f}"
    if found["value"] is None:
        return ""
    interval = "" if found["low"] is None else f" [{found['low']:.3f}, {found['high']:.3f}]"
    return f"{found['value']:.3f}{interval}"


def save_sheet(
    path: Path, who: Tensor, what: Tensor, projections: Tensor | None, results: Mapping[str, Tensor], family: str
) -> None:
    """The first pairs, one row each: identity, attributes, projection of the latter if any, every result. Raises CannotWrite."""
    columns = [who, what, *([] if projections is None else [projections]), *results.values()]
    sheet = ContactSheet(min(len(who), SHOWN), len(columns))
    for row in range(min(len(who), SHOWN)):
        for at, images in enumerate(columns):
            sheet.put(row, at, to_uint8(images[row]))
    save_image(path, sheet.pixels, Provenance(None, family))
