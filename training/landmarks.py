"""Train the starter landmark network on crops of the labelled photos, moved, turned and spoiled."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data import container
from encoders.landmarks import FLIP5, FLIP68, LandmarkNet, Landmarks, places
from training.detector import read_sources
from training.scenes import LabelledPhoto, SceneMaker, spoil
from training.settings import read_settings
from training.teachers import decode, overlap
from training.timed import TimedRun
from workbench.crop import landmark_quad, quad_side
from workbench.errors import BadCheckpoint


class CropMaker:
    """Training crops of side ``size``: (S,S,3) uint8 with 73 points in [0, 1] of the crop, or clutter."""

    def __init__(self, sources: Sequence[Sequence[LabelledPhoto]], size: int, clutter: list[np.ndarray]) -> None:
        self.size, self.clutter = size, clutter
        self.faces = [
            [(p, i) for p in source for i in range(len(p.boxes)) if np.isfinite(p.points68[i]).all()]
            for source in sources
        ]

    def face(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One crop around a face, its square moved and turned as a detector's points would move it."""
        source = self.faces[0 if rng.random() < 0.6 else rng.integers(len(self.faces))]
        photo, i = source[rng.integers(len(source))]
        points = np.concatenate([photo.points68[i], photo.points[i]])
        image = decode(photo.data)
        quad = landmark_quad(photo.points[i])
        side, centre = quad_side(quad), quad.mean(0)
        wild = 2.0 if rng.random() < 0.4 else 1.0
        angle, scale = np.deg2rad(rng.normal(0, 7 * wild)), np.exp(rng.normal(0, 0.08 * wild))
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        quad = centre + rng.normal(0, 0.035 * wild, 2) * side + (quad - centre) @ turn.T
        if rng.random() < 0.5:
            quad = quad[[3, 2, 1, 0]]
            points = points[[*FLIP68, *(68 + k for k in FLIP5)]]
        # A small face: reduce the photo first, so that the crop is as soft as a distant face.
        if rng.random() < 0.35:
            k = float(np.exp(rng.uniform(np.log(22), np.log(90)))) / (0.5 * side)
            if k < 1:
                image = cv2.resize(image, None, fx=k, fy=k, interpolation=cv2.INTER_AREA)
                quad, points = quad * k, points * k
        tl, bl, _, tr = quad
        step_x, step_y = (tr - tl) / self.size, (bl - tl) / self.size
        matrix = np.stack([step_x, step_y, tl + (step_x + step_y) / 2 - 0.5], axis=1)
        n = 2 if np.hypot(*step_x) > 1.4 else 1
        if n == 2:
            matrix = np.stack([step_x / 2, step_y / 2, tl + (step_x + step_y) / 4 - 0.5], axis=1)
        border = [cv2.BORDER_REFLECT, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT][int(rng.integers(3))]
        side_now = self.size * n
        crop = cv2.warpAffine(
            image, matrix, (side_now, side_now), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border
        )
        if n == 2:
            crop = cv2.resize(crop, (self.size, self.size), interpolation=cv2.INTER_AREA)
        inverse = np.linalg.inv(np.stack([tr - tl, bl - tl], axis=1))
        if rng.random() < 0.25:
            self.occlude(crop, rng)
        return spoil(crop, rng), (points - tl) @ inverse.T

    def occlude(self, crop: np.ndarray, rng: np.random.Generator) -> None:
        """Hide up to a third of the crop behind clutter, in place."""
        w, h = (int(v) for v in rng.uniform(0.1, 0.5, 2) * self.size)
        x, y = int(rng.integers(0, self.size - w)), int(rng.integers(0, self.size - h))
        crop[y : y + h, x : x + w] = cv2.resize(self.clutter[rng.integers(len(self.clutter))], (w, h))

    def faceless(self, rng: np.random.Generator) -> np.ndarray:
        """A crop without a whole face: clutter, or a piece of a photo beside the faces or with a small part of one."""
        if rng.random() < 0.7:
            source = self.faces[rng.integers(len(self.faces))]
            photo = source[rng.integers(len(source))][0]
            image = decode(photo.data)
            for _ in range(10):
                side = int(rng.uniform(0.12, 0.6) * min(image.shape[:2]))
                low = np.array([rng.integers(0, image.shape[1] - side), rng.integers(0, image.shape[0] - side)])
                if overlap(np.concatenate([low, low + side]), photo.boxes).max() < 0.12:
                    piece = image[low[1] : low[1] + side, low[0] : low[0] + side]
                    return spoil(cv2.resize(piece, (self.size, self.size)), rng)
        image = self.clutter[rng.integers(len(self.clutter))]
        side = int(rng.integers(32, image.shape[0]))
        x, y = rng.integers(0, image.shape[0] - side + 1, 2)
        return spoil(cv2.resize(image[y : y + side, x : x + side], (self.size, self.size)), rng)


def landmark_losses(out: Landmarks, points: Tensor, face: Tensor) -> dict[str, Tensor]:
    """L1 of the points of crops with a face (``face`` (B,) 1), in hundredths of the crop; the score's cross entropy.

    The five points count twice.
    """
    got = torch.cat([out.points68, out.points5], 1)
    away = (got - points).abs().mean((1, 2)) * face
    five = (out.points5 - points[:, 68:]).abs().mean((1, 2)) * face
    many = face.sum().clamp(min=1)
    return {
        "points": 50 * away.sum() / many,
        "five": 100 * five.sum() / many,
        "face": F.binary_cross_entropy_with_logits(out.logit, face),
    }


def start_at_the_mean(model: LandmarkNet, maker: CropMaker, rng: np.random.Generator) -> None:
    """Make an untrained network answer with the mean face, which its small steps would take long to reach."""
    mean = np.mean([maker.face(rng)[1] for _ in range(100)], axis=0)
    away = (places(model.prior.shape[1])[None] - torch.from_numpy(mean).float()[:, None]).square().sum(-1)
    with torch.no_grad():
        model.prior.copy_((-away / (2 * 0.1**2)).unflatten(1, model.prior.shape[1:]))


def start_from(model: LandmarkNet, path: Path) -> None:
    """Begin with the weights in ``path``, made for crops of any size: the prior of the maps is stretched.

    Raises BadCheckpoint.
    """
    state, _ = container.load(path)
    side = model.prior.shape[1]
    state["prior"] = F.interpolate(state["prior"][None], (side, side), mode="bicubic", align_corners=True)[0]
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise BadCheckpoint(f"'{path}' holds another landmark network than the settings describe.") from error


def main(argv: list[str] | None = None) -> int:
    """Train the landmark network; returns the steps done."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/landmarks.toml"))
    parser.add_argument("--photos", nargs="+", required=True, help="ZIP=LABELS.npz, LFW first")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8, help="of processor time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="weights to begin with, of a network of the same channels")
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    settings = read_settings(options.config)
    torch.manual_seed(settings["seed"])
    model = LandmarkNet(**settings["arch"])
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sources = read_sources(options.photos)
    clutter = SceneMaker(sources, 256, np.random.default_rng(settings["seed"]), settings["backgrounds"]).bank
    maker = CropMaker(sources, model.input_size, clutter)
    if options.start:
        start_from(model, options.start)
    else:
        start_at_the_mean(model, maker, np.random.default_rng(settings["seed"]))
    print(f"{sum(map(len, maker.faces))} faces, {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    run = TimedRun(
        model, options.out, options.minutes, lr=settings["lr"], weight_decay=settings["weight_decay"],
        ema=settings["ema"], seed=settings["seed"],
    )  # fmt: skip

    def losses(network: nn.Module, rng: np.random.Generator) -> dict[str, Tensor]:
        crops, points, face = [], np.zeros((settings["batch"], 73, 2), np.float32), []
        for b in range(settings["batch"]):
            if rng.random() < settings["faceless"]:
                crops.append(maker.faceless(rng))
                face.append(0.0)
            else:
                crop, points[b] = maker.face(rng)
                crops.append(crop)
                face.append(1.0)
        images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
        out = network(images.contiguous(memory_format=torch.channels_last))
        return landmark_losses(out, torch.from_numpy(points), torch.tensor(face))

    average = run.run(losses)
    header = {"kind": "landmarks", "arch": settings["arch"], "steps": run.step, "minutes": round(run.spent / 60, 1)}
    print(container.save(options.out / "landmarks.safetensors", average.state_dict(), header))
    return run.step


if __name__ == "__main__":
    main()
