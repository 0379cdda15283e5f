"""Turn the runs of the detector and the landmark network into files of the starter family, with measured model cards.

    python -m training.publish_alignment --detector runs/detector --landmarks runs/landmarks --photos lfw.zip \
        --teacher yunet.onnx --out data/starter

Works on a run that is still going: the average of its last checkpoint is taken.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import torch

from data import container
from encoders.detector import FaceDetector
from encoders.landmarks import LandmarkNet
from evaluation.alignment import Report, measure, starter_backend
from training.settings import read_settings
from training.teachers import Teachers, held_out, photos

LICENCE = "non-commercial research (trained on CelebA-HQ and LFW)"
TEACHERS = "YuNet (yunet_n_dynamic, Apache-2.0) and PFLD (pfld68, no licence stated); both only made labels"

CARD = """# {title}

{what}

| | |
|---|---|
| file | `{name}.safetensors`, fp16, id `{id}`, {parameters:,} parameters |
| licence | {licence} |
| data | LFW photos (four fifths of the people, by a hash of the name) and CelebA-HQ 256 (training partition) |
| teachers | {teachers} |
| training | `{config}`, {steps:,} steps of {batch}, {minutes:.0f} minutes of one processor core |

## Measured

On {photos} LFW photos of people kept from training; the judge is YuNet, run on the photo and on five more views of it
(`python -m evaluation.alignment`). Both networks together, as the workbench uses them:

| what | value |
|---|---|
| faces found of those YuNet finds (the largest of each photo) | {found:.2%} of {teacher_faces} |
| five points, mean distance from the mean of YuNet's views, in eye distances | {points_error:.2%} |
| the same, from one run of YuNet | {points_error_single:.2%} |
| that one run of YuNet from the mean of its own views | {teacher_spread:.2%} |
| faces that no view of YuNet shows, per 100 photos | {false_per_100:.2f} |

## Known failures

{failures}
"""

WORDS = {
    "detector": {
        "title": "Starter face detector",
        "what": "Finds faces from about 20 pixels (of the reduced photo) to the whole picture, turned up to 45 degrees, "
        "and five points on each.",
        "config": "configs/detector.toml",
        "failures": "Heads turned by more than 45 degrees or lying on their side, full profiles, faces behind masks or "
        "hands, paintings and drawings are found less surely; very small faces (below 20 pixels) are not. It was taught "
        "mostly by photos of public figures, so people who are rare among them may be found less surely.",
    },
    "landmarks": {
        "title": "Starter landmark network",
        "what": "68 points (iBUG order) and five points on an upright crop of a face, and whether it holds a face at all.",
        "config": "configs/landmarks.toml",
        "failures": "Its teachers' habits are its own: on profiles the hidden side is guessed, closed eyes and open "
        "mouths are drawn towards the average, the jaw line wanders under beards and collars.",
    },
}


def publish(name: str, run: Path, network: torch.nn.Module, settings: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write the averaged weights of ``run`` to ``out``; returns what the card says about them."""
    kept = torch.load(run / "last.pt", weights_only=True)
    network.load_state_dict(kept["average"])
    facts = {"steps": kept["step"], "minutes": kept["spent"] / 60, "batch": settings["batch"]}
    header = {"kind": name, "arch": settings["arch"], "licence": LICENCE, "teachers": TEACHERS, **facts}
    header["data"] = "LFW (people held out by hash) and CelebA-HQ 256, training partition"
    facts["id"] = container.save(out / f"{name}.safetensors", network.state_dict(), header)
    facts["parameters"] = sum(p.numel() for p in network.parameters())
    return facts


def write_card(name: str, out: Path, facts: dict[str, Any], report: Report) -> None:
    """Write ``name.md`` beside the weights."""
    text = CARD.format(name=name, licence=LICENCE, teachers=TEACHERS, **WORDS[name], **facts, **asdict(report))
    (out / f"{name}.md").write_text(text)


def main(argv: list[str] | None = None) -> None:
    """Publish the detector and the landmark network."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--detector", type=Path, required=True, help="run folder")
    parser.add_argument("--landmarks", type=Path, required=True, help="run folder")
    parser.add_argument("--photos", type=Path, required=True, help="zip of LFW photos")
    parser.add_argument("--teacher", type=Path, required=True, help="YuNet's ONNX file")
    parser.add_argument("--out", type=Path, default=Path("data/starter"))
    parser.add_argument("--count", type=int, help="measure on the first so many held-out photos only")
    options = parser.parse_args(argv)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    settings = {name: read_settings(Path(WORDS[name]["config"])) for name in WORDS}
    facts = {
        "detector": publish("detector", options.detector, FaceDetector(**settings["detector"]["arch"]),
                            settings["detector"], options.out),
        "landmarks": publish("landmarks", options.landmarks, LandmarkNet(**settings["landmarks"]["arch"]),
                             settings["landmarks"], options.out),
    }  # fmt: skip
    chosen = [(n, d) for n, d in photos(options.photos) if held_out(n)][: options.count]
    report = measure(starter_backend(options.out), Teachers(options.teacher), chosen)
    for name, numbers in facts.items():
        write_card(name, options.out, numbers, report)
    print(json.dumps(asdict(report)))


if __name__ == "__main__":
    main()
