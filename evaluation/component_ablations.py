"""What each part of our component auto-encoder buys: small networks trained alike but for one part, and measured.

    python -m evaluation.component_ablations --faces FOLDER --steps 600 --out runs/ablations.jsonl

A component is exchanged with the next face's. A good network changes that component's region alone (``inside``, ``outside``,
``other_eye``) and draws what was borrowed (``donor``). Each variant is one line of the file; what stands there is not done again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evaluation.components import decoded, irrelevant_mask, locality, per_pixel
from evaluation.lines import keep_line, leave, written
from iafaces.model import Code, ComponentAutoencoder, ComponentEncoder, Gate, Level, Reader
from iafaces.regions import BOXES, COMPONENTS, crop
from training import distributed
from training.components import ComponentsTask
from training.ema import Ema
from training.loop import Schedule, run
from workbench.errors import BadRequest

SIDE = 64
DATA: Mapping[str, Any] = {
    "zips": [f"celebahq256-train-{i:02}.zip" for i in range(6)],
    "labels": "celebahq256-train-attributes.csv",
    "val_zips": ["celebahq256-val-00.zip"],
    "val_labels": "celebahq256-val-attributes.csv",
}
ENCODER = {"widths": [32, 64], "content": 96, "dim": 128, "crop": 16, "readers": [32, 64]}
DECODER = {"widths": [128, 80, 40], "content": 96, "dim": 128}
WEIGHTS = {
    "l1": 1.0,
    "mse": 1.0,
    "l1_8": 0.5,
    "l1_32": 0.5,
    "perceptual": 0.4,
    "outside": 0.5,
    "consistency": 0.1,
}


class Unbounded(Reader):
    """Embeddings of any length, as published."""

    def forward(self, part: Tensor) -> Tensor:
        return self.gain * self.head(self.trunk(F.pixel_unshuffle(part, 2)).flatten(1))


class Everywhere(Gate):
    """What a component says counts in the whole picture, as a published ToRGB takes its style from all of them."""

    def forward(self, x: Tensor, nodes: Tensor, masks: Tensor) -> Tensor:
        return super().forward(x, nodes, torch.full_like(masks, 1 / len(masks)))


class Open(ComponentEncoder):
    """The content sees the whole face and a component its whole box, as published; no part of the picture is handed on."""

    def parts(self, image: Tensor, masks: Tensor, filling: Tensor) -> list[Tensor]:
        cut = [crop(image, box, (self.crop, self.crop)) for box in self.boxes]
        cut[1] = cut[1].flip(3)
        return cut

    def forward(self, image: Tensor) -> Code:
        masks, filling = self.prepared(image)
        seen = torch.cat([image, torch.zeros_like(image[:, :1])], 1)
        learned = self.head(self.trunk(F.pixel_unshuffle(seen, 2)))
        content = torch.cat([learned.new_zeros(len(image), 3 * self.block**2, *learned.shape[2:]), learned], 1)
        return Code(content, self.read(self.parts(image, masks, filling)))


def unbounded(net: ComponentAutoencoder) -> None:
    """Embeddings without a fixed root mean square."""
    kinds = {name: Unbounded(ENCODER["crop"], ENCODER["readers"], ENCODER["dim"]) for name in net.encoder.readers}
    net.encoder.readers = nn.ModuleDict(kinds)


def global_picture(net: ComponentAutoencoder) -> None:
    """ToRGB without masks."""
    for level in net.decoder.levels:
        assert isinstance(level, Level)
        level.gates[2] = Everywhere(ENCODER["dim"], level.picture.weight.shape[1])


def open_content(net: ComponentAutoencoder) -> None:
    """An encoder that hides nothing."""
    net.encoder = Open(net.size, **ENCODER)


def hard(net: ComponentAutoencoder) -> None:
    """Boxes with hard edges."""
    net.encoder.feather = net.decoder.feather = 0.0


def nothing(net: ComponentAutoencoder) -> None:
    """The network as it is."""


VARIANTS: Mapping[str, tuple[Callable[[ComponentAutoencoder], None], Mapping[str, float], int]] = {
    "ours": (nothing, {}, 0),
    "ours, another seed": (nothing, {}, 1),
    "hard boxes": (hard, {}, 0),
    "ToRGB not gated": (global_picture, {}, 0),
    "embeddings unbounded": (unbounded, {}, 0),
    "content sees the face": (open_content, {}, 0),
    "no exchanges in training": (nothing, {"outside": 0.0, "consistency": 0.0}, 0),
    "content sees the face, no exchanges": (open_content, {"outside": 0.0, "consistency": 0.0}, 0),
}
"""Change of the network, changed loss weights, seed."""


class VariantTask(ComponentsTask):
    """A training of one variant; ``final`` is its averaged network once it is through."""

    change: Callable[[ComponentAutoencoder], None] = staticmethod(nothing)
    final: ComponentAutoencoder

    def network(self) -> ComponentAutoencoder:
        net = super().network()
        self.change(net)
        return net

    def grid(self, ema: Mapping[str, Ema]) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """No picture."""

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """Keep the network; a variant fits no file of ours."""
        net = ema["components"].module
        assert isinstance(net, ComponentAutoencoder)
        self.final = net


def settings(weights: Mapping[str, float], steps: int, data: Mapping[str, Any] = DATA) -> dict[str, Any]:
    """The settings of one training, in the form of ``configs``."""
    return {
        "data": dict(data),
        "network": {"size": SIDE, "encoder": ENCODER, "decoder": DECODER},
        "stage": [{"until": steps, "side": SIDE, "batch": 8, "swap": 4}],
        "train": {
            "rate": 3e-3,
            "emphasis": 2.0,
            "margin": 0.04,
            "perceptual": "data/starter/attributes.safetensors",
            "weights": {**WEIGHTS, **weights},
        },
    }


@torch.inference_mode()
def measure(net: ComponentAutoencoder, photos: Tensor) -> dict[str, float]:
    """Numbers of a network on validation ``photos`` (N,3,S,S) in [-1, 1], in the mean over the four components.

    ``psnr`` (peak 2) of the reconstruction, ``psnr_boxes`` inside the components' boxes. Of exchanges: ``inside``, share of the
    squared change within the component's own box; ``outside``, mean squared change per pixel beyond it; ``other_eye``, an
    eye's change in the other eye's box over that in its own; ``donor`` and ``own``, correlation of the drawn component with
    the photo it was borrowed from and with the one it replaced, each box without its mean colour.
    """
    codes = [net.encode(part) for part in photos.split(10)]
    code = Code(torch.cat([c.content for c in codes]), torch.cat([c.nodes for c in codes]))
    recon = decoded(net, code.content, code.nodes)
    size = photos.shape[2]
    boxes = 1 - torch.stack([irrelevant_mask([row], size) for row in range(len(BOXES))]).amin(0)
    outside, donor, own = [], [], []
    for row in range(len(COMPONENTS)):
        nodes = code.nodes.clone()
        nodes[:, row] = code.nodes.roll(1, 0)[:, row]
        drawn = decoded(net, code.content, nodes)
        outside.append(per_pixel(drawn - recon, irrelevant_mask([row], size)))
        donor.append(likeness(drawn, photos.roll(1, 0), row))
        own.append(likeness(drawn, photos, row))
    places = locality(net, code, recon)
    return {
        "psnr": 10 * float(np.log10(4 / per_pixel(recon - photos, torch.ones(size, size)))),
        "psnr_boxes": 10 * float(np.log10(4 / per_pixel(recon - photos, boxes))),
        "inside": float(np.mean([one["energy_inside_its_box"] for one in places.values()])),
        "outside": float(np.mean(outside)),
        "other_eye": float(np.mean([places[name]["other_eye_to_this_eye"] for name in ("l_eye", "r_eye")])),
        "donor": float(np.mean(donor)),
        "own": float(np.mean(own)),
    }


def likeness(image: Tensor, other: Tensor, row: int) -> float:
    """Mean correlation of the pixels of a component's box in two sets of pictures, colours taken off."""
    a, b = (crop(one, BOXES[row], (16, 16)).flatten(2) for one in (image, other))
    a, b = (one - one.mean(2, keepdim=True) for one in (a, b))
    return float(F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1).mean())


def trained(name: str, faces: Path, steps: int, folder: Path, data: Mapping[str, Any] = DATA) -> VariantTask:
    """Train the variant ``name`` for ``steps``."""
    change, weights, seed = VARIANTS[name]
    ranks = distributed.start("cpu")
    torch.manual_seed(seed)
    kind = type("Variant", (VariantTask,), {"change": staticmethod(change)})
    task: Any = kind(settings(weights, steps, data), faces, folder, "cpu", ranks)
    try:
        schedule = Schedule(steps=steps, log_every=50, save_every=steps, ema=0.99, seed=seed)
        run(task, schedule, folder, ranks=ranks, device="cpu", resume=False)
    finally:
        distributed.stop()
    return task


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """The lines as Markdown."""
    head = (
        "| network | PSNR | in the boxes | change inside | outside, 1e-5 | other eye | like the donor | like its own |"
    )
    rows = [head, "|---" * 8 + "|"]
    for one in lines:
        rows.append(
            f"| {one['variant']} | {one['psnr']:.2f} | {one['psnr_boxes']:.2f} | {one['inside']:.3f} | {1e5 * one['outside']:.2f} | "
            f"{one['other_eye']:.4f} | {one['donor']:.2f} | {one['own']:.2f} |"
        )
    return "\n".join(rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Train and measure what is not in the file yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="folder with the zips and label files")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--count", type=int, default=200, help="validation faces (default: 200)")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=Path("runs/component_ablations.jsonl"))
    a = parser.parse_args(argv)
    if strangers := [name for name in a.variants if name not in VARIANTS]:
        raise BadRequest(f"There is no variant '{strangers[0]}'; there are: {', '.join(VARIANTS)}.")
    about = {"steps": a.steps, "faces": str(a.faces), "count": a.count}
    lines = [one for one in written(a.out) if {name: one.get(name) for name in about} == about]
    for name in a.variants:
        if any(one["variant"] == name for one in lines):
            continue
        started = time.process_time()
        task = trained(name, a.faces, a.steps, a.out.parent / "component_ablation")
        photos = task.val.batch(np.arange(min(a.count, len(task.val)))).contiguous()
        found = measure(task.final, photos)
        lines.append({"variant": name, **about, **found, "processor_seconds": time.process_time() - started})
        keep_line(a.out, lines[-1])
    print(table(lines))
    return 0


if __name__ == "__main__":
    leave(main)
