"""Turn finished runs into the starter family: files, sample faces, contact sheet and model cards with measured numbers.

    python -m training.publish --runs runs --out data/starter --seeds 3 8 14 --report report.json --machine "..."

Run it again after a new report; it only rewrites what the family folder shows.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data import container
from encoders.compact import CompactE4E
from sdflow.estimator import SemanticEstimator
from sdflow.model import ConditionalFlow
from stylegan2.generator import Generator
from training.files import load_network
from workbench.face import to_uint8

# File in the family -> file in the runs folder.
FILES = {
    "generator": "mapping/generator.safetensors",
    "projector": "mapping/projector.safetensors",
    "attributes": "attributes/attributes.safetensors",
    "judge": "judge/judge.safetensors",
    "identity": "identity/identity.safetensors",
    "sdflow_estimator": "sdflow/sdflow_estimator.safetensors",
    "sdflow_flow": "sdflow/sdflow_flow.safetensors",
}
AUTOENCODER = "configs/starter_autoencoder_cpu.toml, then configs/starter_autoencoder_sharp.toml"
WHAT = {
    "generator": ("StyleGAN2 generator", f"{AUTOENCODER}, then training/mapping.py"),
    "projector": ("Projector into W+ (e4e's role)", AUTOENCODER),
    "attributes": ("40-attribute classifier", "configs/starter_attributes.toml"),
    "judge": ("Judge: a second 40-attribute classifier that only measures", "configs/starter_judge.toml"),
    "identity": ("Identity embedding", "configs/starter_identity.toml"),
    "sdflow_estimator": ("SDFlow's semantic estimator", "configs/starter_sdflow.toml"),
    "sdflow_flow": ("SDFlow's conditional flow", "configs/starter_sdflow.toml"),
    "samples": ("Codes of the sample faces", "training/publish.py"),
}
FAILURES = {
    "generator": "Small pictures: at 128 px hair is a texture, at places a sandy one, and no single strands; backgrounds are smooth; large "
    "jewellery, hats, hands and microphones dissolve; strong profiles come out frontal. Random faces are rougher than projections, "
    "with grain on foreheads and in hair and blotches in the background. "
    "Faces of groups that are rare in CelebA-HQ (children, old people, darker skin) are drawn worse.",
    "projector": "Loses what the generator cannot draw; identity suffers most for profiles, occlusions and heavy make-up.",
    "attributes": "Labels are CelebA's annotators' and binary; several (Attractive, Young, Male, Chubby ...) are judgements about "
    "appearance, not facts about a person. Calibrated on aligned CelebA-HQ crops only.",
    "judge": "The same as the classifier's; it agrees with it more than with people.",
    "identity": "A student that is far from its teacher yet; not fit for recognising people, only for comparing versions of "
    "one picture.",
    "sdflow_estimator": "Reads soft cues of the starter resolution; rare attributes (Eyeglasses) are read best when they are plain to see.",
    "sdflow_flow": "Correlated attributes move together (Male with hair and make-up, Young with hair colour). Glasses are dark ones and "
    "their far lens smears on a turned head; wavy hair is brown and full, and on short hair long hair that was not there, with dark "
    "clouds beside the head; smiles over closed or bearded mouths show grey teeth; age comes as grey hair, a heavier jaw and red "
    "cheeks, and leaves faces that look old already as they are. Full strength is strong: half of it often reads better.",
    "samples": "Chosen by looking; they are better than the average random face.",
}


def fp16(path: Path) -> str:
    """Size in MiB for the card."""
    return f"{path.stat().st_size / 2**20:.2f} MiB, fp16"


def card(name: str, path: Path, report: Mapping[str, Any], machine: str) -> str:
    """The model card of one file, as Markdown."""
    header = container.read_header(path)
    title, config = WHAT[name]
    lines = [f"# {title}", "", f"`{path.name}`, {fp16(path)}, id `{header['id']}`.", ""]
    lines += ["| | |", "|---|---|"]
    lines.append(f"| data | {header.get('data', 'CelebA-HQ, the 24,166 faces of CelebA’s training partition')} |")
    lines.append("| licence | non-commercial research (the data's terms); not MIT |")
    lines.append(f"| trained by | this project, `{config}` |".replace(", then ", "`, then `"))
    lines.append(f"| architecture | `{json.dumps(header.get('arch', {}))}` |")
    for key in ("steps", "mapping_steps", "generator", "attributes", "accuracy", "teacher_cosine"):
        if key in header:
            value = header[key]
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"| {key.replace('_', ' ')} | {shown} |")
    lines += [f"| machine | {machine} |", "", "## Measured", ""]
    lines += measured(name, header, report) or [
        "See the tables of the generator's and the flow's cards; this file was measured with them."
    ]
    lines += ["", "## Known failures", "", FAILURES[name], ""]
    lines += [
        "## Use",
        "",
        "For research and for trying the methods. Edit only pictures you may edit; never to identify or to judge a person.",
        "",
    ]
    return "\n".join(lines)


def thresholds(header: Mapping[str, Any]) -> list[str]:
    """The balanced thresholds of a classifier, where they were measured."""
    if "thresholds" not in header:
        return []
    lines = [
        "",
        f"Balanced thresholds on {header['thresholds_of']:,} validation faces (`python -m evaluation.thresholds`): read above it, as many "
        "faces with the attribute as without it are right. Rare attributes are hardly ever read above one half, and edits of masked "
        "editing and components are judged here.",
        "",
        "| attribute | threshold | right |",
        "|---|---|---|",
    ]
    right = header["right_at_thresholds"]
    return lines + [f"| {name} | {value:.2f} | {right[name]:.2f} |" for name, value in header["thresholds"].items()]


def measured(name: str, header: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """What was measured of ``name``: the part of the report, or the header, that belongs on its card."""
    if name in ("generator", "projector"):
        keys = ("l1", "l2", "ssim", "ms_ssim", "identity", "frechet_judge_truncation_0.8")
        rows = [f"| {k.replace('_', ' ')} | {report[k]} |" for k in keys if k in report]
        note = (
            f"Projection of {report.get('faces')} CelebA-HQ validation faces in one encoder pass at {report.get('resolution')} px; "
            "identity: cosine of MobileFaceNet (the identity term of the training looks through a network distilled from it) "
            "between photo and projection; Fréchet distance of 1,000 "
            "random faces to the photos in the judge classifier's features (it is not FID)."
        )
        return [note, "", "| metric | value |", "|---|---|", *rows]
    if name in ("sdflow_flow", "sdflow_estimator") and "edits" in report:
        edits = report["edits"]
        lines = [
            f"{edits['faces']} validation faces, each attribute flipped; success by the judge classifier, identity by MobileFaceNet "
            "between edit and projection, change and agreement of the other 39 readouts by the judge.",
            "",
            "| attribute | strength | success | identity | others' mean change | others kept |",
            "|---|---|---|---|---|---|",
        ]
        for attribute, by_strength in edits.items():
            if isinstance(by_strength, Mapping):
                for strength, row in by_strength.items():
                    cells = (row["success"], row["identity"], row["others_change"], row["others_kept"])
                    lines.append(f"| {attribute} | {strength} | " + " | ".join(f"{c:.3f}" for c in cells) + " |")
        return lines
    if name in ("attributes", "judge"):
        said = "Accuracy on 1,500 CelebA-HQ validation faces, mean over the 40 attributes: see the table above."
        return [said, *thresholds(header)]
    if name == "identity":
        return ["Mean cosine to the teacher on 1,000 faces kept from training: see the table above."]
    return []


@torch.inference_mode()
def contact_sheet(folder: Path, codes: Tensor) -> np.ndarray:
    """The sample faces, their re-projections, then each attribute added and removed (H,W,3) uint8."""
    generator, _ = load_network(Generator, folder / "generator.safetensors", "cpu")
    projector, _ = load_network(CompactE4E, folder / "projector.safetensors", "cpu")
    estimator, header = load_network(SemanticEstimator, folder / "sdflow_estimator.safetensors", "cpu")
    flow, _ = load_network(ConditionalFlow, folder / "sdflow_flow.safetensors", "cpu")
    image = generator(codes, latent=True).clamp(-1, 1)
    rows = [image, generator(projector(image), latent=True)]
    read = estimator(image)
    there = flow(codes, read).x
    for column in range(len(header["attributes"])):
        for goal in (1.2, -0.2):
            target = read.clone()
            target[:, column] = goal
            rows.append(generator(flow(there, target, reverse=True).x, latent=True))
    return to_uint8(torch.cat([torch.cat(list(r), 2) for r in rows], 1))


def sample_codes(folder: Path, seeds: Sequence[int], truncation: float) -> Tensor:
    """W+ codes (N,L,D) of random faces by ``seeds``, as ``Engine.random_face`` draws them."""
    generator, _ = load_network(Generator, folder / "generator.safetensors", "cpu")
    center = container.load(folder / "generator.safetensors")[0]["latent_avg"]
    z = torch.cat([torch.randn(1, generator.style_dim, generator=torch.Generator().manual_seed(s)) for s in seeds])
    with torch.inference_mode():
        return generator.codes(z, truncation=truncation, center=center).clone()


def main(argv: Sequence[str] | None = None) -> None:
    """Write the family folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("data/starter"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(12)))
    parser.add_argument("--truncation", type=float, default=0.7)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--machine", default="not stated")
    parser.add_argument(
        "--cards", nargs="+", default=list(WHAT), choices=list(WHAT), help="those to rewrite (default: all)"
    )
    a = parser.parse_args(argv)
    a.out.mkdir(parents=True, exist_ok=True)
    for name, source in FILES.items():
        if (a.runs / source).is_file():
            shutil.copyfile(a.runs / source, a.out / f"{name}.safetensors")
    codes = sample_codes(a.out, a.seeds, a.truncation)
    generator = container.read_header(a.out / "generator.safetensors")["id"]
    header = {"kind": "samples", "arch": {}, "generator": generator, "seeds": a.seeds, "truncation": a.truncation}
    container.save(a.out / "samples.safetensors", {"codes": codes}, {**header, "data": "generated"})
    report = json.loads(a.report.read_text()) if a.report else {}
    if (a.out / "sdflow_flow.safetensors").is_file():
        sheet = Image.fromarray(contact_sheet(a.out, codes))
        sheet = sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.LANCZOS)
        sheet.quantize(256).save(a.out / "contact-sheet.png", optimize=True)  # a third of the size, the same to the eye
    for name in a.cards:
        path = a.out / f"{name}.safetensors"
        if path.is_file():
            (a.out / f"{name}.md").write_text(card(name, path, report, a.machine))


if __name__ == "__main__":
    main()
