"""Train IA-FaceS as published: the published networks, erased inputs, L1, perceptual and adversarial losses.

The perceptual term is LPIPS where its weights are given, else features of our own classifier, logged under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.datasets import load_faces
from encoders.compact import AttributeNet
from iafaces.losses import perceptual
from iafaces.official import PublishedDecoder, PublishedDiscriminator, PublishedEncoder
from training.distributed import Ranks
from training.ema import Ema
from training.files import attribute_guide
from training.task import Step
from workbench.face import to_uint8


def strokes(rng: np.random.Generator, size: int, thickest: int) -> np.ndarray:
    """(size,size) float, 0 where 32 to 64 random strokes erase: 60 % lines, 20 % discs, 20 % ellipses, 4 to ``thickest`` px."""
    mask = np.ones((size, size), np.uint8)
    for _ in range(int(rng.integers(32, 65))):
        kind, width = rng.random(), int(rng.integers(4, thickest + 1))
        x, y, x2, y2 = (int(v) for v in rng.integers(0, size, 4))
        if kind < 0.6:
            cv2.line(mask, (x, y), (x2, y2), 0, width)
        elif kind < 0.8:
            cv2.circle(mask, (x, y), width, 0, -1)
        else:
            turn, begin, end = (float(v) for v in rng.uniform(0, 360, 3))
            cv2.ellipse(mask, (x, y), (width, max(1, int(rng.integers(4, thickest + 1)))), turn, begin, end, 0, width)
    return mask.astype(np.float32)


class PaperTask:
    """Settings: [data], [network] (cam, encoder, decoder, discriminator widths), [train] rates, r1, weights, erasing."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        data, self.train, self.arch = body["data"], body["train"], body["network"]
        self.encoder = PublishedEncoder(**self.arch["encoder"]).to(device)
        self.decoder = PublishedDecoder(**self.arch["decoder"]).to(device)
        self.discriminator = PublishedDiscriminator(self.arch["discriminator"]).to(device)
        size, cache = self.encoder.size, data.get("cache", folder.parent / "cache")
        self.faces = load_faces([faces / z for z in data["zips"]], faces / data["labels"], size, cache)
        self.val = load_faces([faces / z for z in data["val_zips"]], faces / data["val_labels"], size, cache)
        self.modules: dict[str, nn.Module] = {
            "encoder": self.encoder,
            "decoder": self.decoder,
            "discriminator": self.discriminator,
        }
        self.averaged = ("encoder", "decoder")
        rate, lazy = self.train["rate"], self.train["r1_every"] / (self.train["r1_every"] + 1)
        self.optimizer = torch.optim.Adam(
            [*self.encoder.parameters(), *self.decoder.parameters()], lr=rate, betas=(0.0, 0.99)
        )
        self.judge_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), lr=rate * lazy, betas=(0.0, 0.99**lazy)
        )
        self.optimizers = {"autoencoder": self.optimizer, "discriminator": self.judge_optimizer}
        self.device, self.ranks = device, ranks
        self.guide: AttributeNet | None = None
        if self.train.get("perceptual"):
            self.guide = attribute_guide(self.train["perceptual"], folder.parent, device)

    def step(self, step: Step) -> dict[str, float | Tensor]:
        count, size = self.train["batch"], self.encoder.size
        index = step.numpy.integers(0, len(self.faces), count)
        flip = step.numpy.random(count) < 0.5
        erased = step.numpy.random(count) < self.train["erase"]
        holes = np.stack([strokes(step.numpy, size, self.train["thickest"]) for _ in range(count)])
        holes[~erased] = 1
        part = step.ranks.slice(count)
        photo = self.faces.batch(index[part], flip[part], self.device).contiguous()
        kept = torch.from_numpy(holes[part])[:, None].to(self.device)
        image = self.decoder(*self.encoder(photo, kept))
        self.discriminator.requires_grad_(True)
        lazy = step.index % self.train["r1_every"] == 0
        shown = photo.detach().requires_grad_(lazy)
        score = self.discriminator(shown)
        judge = F.softplus(-score).mean() + F.softplus(self.discriminator(image.detach())).mean()
        total = judge
        if lazy:
            (slope,) = torch.autograd.grad(score.sum(), shown, create_graph=True)
            weight = 0.5 * self.train["r1"] * self.train["r1_every"]
            total = total + weight * slope.square().sum([1, 2, 3]).mean()
        step.apply(total, self.judge_optimizer)
        self.discriminator.requires_grad_(False)
        terms = {"l1": (image - photo).abs().mean(), "fool": F.softplus(-self.discriminator(image)).mean()}
        if self.guide is not None:
            terms["percept_own"] = perceptual(self.guide, image, photo)
        loss = torch.stack(list(terms.values())).sum()
        step.apply(loss, self.optimizer)
        return {"loss": loss, "judge": judge.detach(), **terms}

    def _pictures(self, ema: Mapping[str, Ema], photos: Tensor) -> Tensor:
        encoder, decoder = ema["encoder"].module, ema["decoder"].module
        return torch.cat([decoder(*encoder(p[None])) for p in photos])

    @torch.inference_mode()
    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray:
        """Validation faces above their reconstructions."""
        photos = self.val.batch(np.arange(min(8, len(self.val))), device=self.device).contiguous()
        rows = [torch.cat(list(photos), 2), torch.cat(list(self._pictures(ema, photos)), 2)]
        return to_uint8(torch.cat(rows, 1))

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """published.pt: the averaged networks in the authors' form (``e_ema``, ``g_ema``), noise buffers included."""
        body = {"e_ema": ema["encoder"].module.state_dict(), "g_ema": ema["decoder"].module.state_dict()}
        torch.save({**body, "iteration": steps}, folder / "published.pt")
