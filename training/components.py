"""Train the component auto-encoder: reconstruction, swaps between faces, and at the end a discriminator on crops."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data import container
from data.datasets import load_faces
from encoders.compact import AttributeNet, resized
from iafaces.losses import consistency, exchanged, outside, perceptual, reconstruction
from iafaces.model import Code, ComponentAutoencoder
from stylegan2.discriminator import Discriminator
from training.distributed import Ranks
from training.ema import Ema
from training.files import attribute_guide
from training.task import Step, set_rate
from workbench.face import to_uint8

# The square, as fractions of the image, that holds all four boxes with some skin around them.
MIDDLE = (0.25, 0.35)


@dataclass(frozen=True)
class Stage:
    """Until step ``until``: pictures of ``side`` px, ``batch`` of them reconstructed and the first ``swap`` also swapped.

    ``adversarial``: length of the adversarial gradient on the pictures as a share of the other losses'; 0 is without.
    """

    until: int
    side: int
    batch: int
    swap: int
    adversarial: float = 0.0


class ComponentsTask:
    """Settings: [data], [network] encoder and decoder, [discriminator], [[stage]], [train] rates and loss weights."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        data, self.train, self.arch = body["data"], body["train"], body["network"]
        cache, size = data.get("cache", folder.parent / "cache"), self.arch["size"]
        self.faces = load_faces([faces / z for z in data["zips"]], faces / data["labels"], size, cache)
        self.val = load_faces([faces / z for z in data["val_zips"]], faces / data["val_labels"], size, cache)
        self.stages = tuple(Stage(**s) for s in body["stage"])
        self.net = self.network().to(device)
        self.modules: dict[str, torch.nn.Module] = {"components": self.net}
        self.averaged = ("components",)
        self.device, self.ranks, self.folder = device, ranks, folder
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), lr=self.train["rate"], betas=tuple(self.train.get("betas", (0.9, 0.99)))
        )
        self.optimizers = {"components": self.optimizer}
        if any(s.adversarial for s in self.stages):
            self.discriminator = Discriminator(**{"size": size // 2, **body["discriminator"]}).to(device)
            self.modules["discriminator"] = self.discriminator
            self.judge_optimizer = torch.optim.Adam(
                self.discriminator.parameters(), lr=self.train["rate_discriminator"], betas=(0.0, 0.99)
            )
            self.optimizers["discriminator"] = self.judge_optimizer
        self.guide: AttributeNet | None = None
        if self.train.get("perceptual"):
            self.guide = attribute_guide(self.train["perceptual"], folder.parent, device)

    def network(self) -> ComponentAutoencoder:
        """The network to train."""
        return ComponentAutoencoder(**self.arch)

    def stage(self, index: int) -> Stage:
        """The stage that holds step ``index`` (the last one after its end)."""
        return next((s for s in self.stages if index < s.until), self.stages[-1])

    def step(self, step: Step) -> dict[str, float | Tensor]:
        stage = self.stage(step.index)
        set_rate(self.optimizer, step.cosine(warmup=50, floor=0.05))
        index = step.numpy.integers(0, len(self.faces), stage.batch)
        flip = step.numpy.random(stage.batch) < 0.5
        swap = step.numpy.random((stage.batch, 4)) < 0.4
        swap[np.arange(stage.batch), step.numpy.integers(0, 4, stage.batch)] = True
        corner = step.numpy.random(2) * 0.5
        part = step.ranks.slice(stage.batch)
        full = self.faces.batch(index[part], flip[part], self.device).contiguous()
        count = max(1, stage.swap * len(full) // stage.batch)
        rows = torch.from_numpy(swap[part][:count]).to(self.device)
        target = resized(full, stage.side)
        code = self.net.encoder(full)
        mixed = exchanged(Code(code.content[:count], code.nodes[:count]), code.nodes.roll(1, 0)[:count], rows)
        both = Code(torch.cat([code.content, mixed.content]), torch.cat([code.nodes, mixed.nodes]))
        images = self.net.decoder(both, until=stage.side)
        image, swapped = images[: len(full)], images[len(full) :]
        terms = reconstruction(image, target, self.train.get("emphasis", 1.0))
        if self.guide is not None and stage.side >= 64:
            terms["perceptual"] = perceptual(self.guide, image, target)
        terms["outside"] = outside(swapped, target[:count], rows, self.train.get("margin", 0.05))
        if stage.side == self.arch["size"]:
            terms["consistency"] = consistency(self.net.encoder, swapped, mixed.nodes)
        weights = self.train["weights"]
        loss = sum((weights.get(n, 1.0) * v for n, v in terms.items()), torch.zeros((), device=self.device))
        if stage.adversarial and stage.side == self.arch["size"]:
            # Reconstructions are judged anywhere, swaps where the components are.
            real = torch.cat([window(target, corner), window(target[:count], MIDDLE)])
            fake = torch.cat([window(image, corner), window(swapped, MIDDLE)])
            terms |= self.fight(step, real, fake)
            loss = loss + stage.adversarial * self.balance(loss, terms["fool"], images) * terms["fool"]
        step.apply(loss, self.optimizer)
        return {"loss": loss, **terms}

    def balance(self, loss: Tensor, fool: Tensor, images: Tensor) -> Tensor:
        """Factor that makes the gradient of ``fool`` on ``images`` as long as that of ``loss``."""
        (wanted,) = torch.autograd.grad(loss, images, retain_graph=True)
        (pushed,) = torch.autograd.grad(fool, images, retain_graph=True)
        return (self.ranks.average(wanted.norm()) / self.ranks.average(pushed.norm()).clamp_min(1e-8)).clamp_max(1e3)

    def fight(self, step: Step, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """One discriminator step on crops ``real`` and the detached ``fake`` (lazy R1), then the decoder's term."""
        self.discriminator.requires_grad_(True)
        every = self.train.get("r1_every", 16)
        lazy = step.index % every == 0
        shown = real.detach().requires_grad_(lazy)
        score = self.discriminator(shown)
        loss = F.softplus(self.discriminator(fake.detach())).mean() + F.softplus(-score).mean()
        if lazy:
            (slope,) = torch.autograd.grad(score.sum(), shown, create_graph=True)
            loss = loss + 0.5 * self.train["r1"] * every * slope.square().sum([1, 2, 3]).mean()
        step.apply(loss, self.judge_optimizer)
        self.discriminator.requires_grad_(False)
        return {"judge": loss.detach(), "fool": F.softplus(-self.discriminator(fake)).mean()}

    @torch.inference_mode()
    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray:
        """Validation faces, their reconstructions, and the face with the next one's eyes, nose, mouth, and all of them."""
        net = ema["components"].module
        assert isinstance(net, ComponentAutoencoder)
        full = self.val.batch(np.arange(min(10, len(self.val))), device=self.device).contiguous()
        code = net.encoder(full)
        rows = [full, net.decoder(code)]
        for chosen in ((0, 1), (2,), (3,), (0, 1, 2, 3)):
            mask = torch.zeros(len(full), 4, dtype=torch.bool, device=self.device)
            mask[:, list(chosen)] = True
            rows.append(net.decoder(exchanged(code, code.nodes.roll(1, 0), mask)))
        return to_uint8(torch.cat([torch.cat(list(row), 2) for row in rows], 1))

    @torch.inference_mode()
    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """components.safetensors, with the PSNR (peak 2, mean over pictures) on 200 validation faces in its header."""
        net, values = ema["components"].module, []
        index = np.arange(min(200, len(self.val)))
        for part in np.array_split(index, max(1, len(index) // 10)):
            full = self.val.batch(part, device=self.device).contiguous()
            values.append(10 * torch.log10(4 / (net(full).clamp(-1, 1) - full).square().mean([1, 2, 3])))
        psnr = float(torch.cat(values).mean())
        header = {"kind": "components", "arch": self.arch, "steps": steps, "psnr_val": round(psnr, 2)}
        container.save(folder / "components.safetensors", net.state_dict(), header)
        with (folder / "val.jsonl").open("a") as file:
            file.write(json.dumps({"step": steps, "psnr": psnr}) + "\n")


def window(image: Tensor, corner: tuple[float, float] | np.ndarray) -> Tensor:
    """The crop of half the size whose left top ``corner`` (x, y) is given as fractions of the image."""
    side = image.shape[2]
    x, y = (round(float(v) * side) for v in corner)
    return image[:, :, y : y + side // 2, x : x + side // 2]
