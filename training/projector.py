"""Train the projector (e4e's role, arXiv 2102.02766) on a frozen generator, with photos and generated faces.

As in e4e: one base code, a delta per row that is let go row after row, a penalty on the deltas, and a discriminator that keeps
codes where the mapping network puts them. Generated faces have known codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data import container
from data.datasets import load_faces
from encoders.compact import CompactE4E, IdentityNet
from idswap import losses
from idswap.models import WDiscriminator
from training.distributed import Ranks
from training.ema import Ema
from training.files import attribute_guide, find, frozen
from training.files import generator as load_generator
from training.held import HeldFaces
from training.reconstruction import identity_term, perceptual_term, pixel_terms
from training.task import Step, set_rate
from workbench.errors import BadCheckpoint
from workbench.face import to_uint8


class ProjectorTask:
    """Settings: [data] with ``generated`` (share of a batch) and ``truncation``; [networks] generator, perceptual, identity;
    [projector]; [train] ``batch``, ``rate``, ``unlock_every`` (steps until the next row's delta), ``r1``, weights."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        self.data, self.train, files, runs = body["data"], body["train"], body["networks"], folder.parent
        self.about, self.device, self.source = body.get("about", {}), device, find(files["generator"], runs)
        self.generator, self.generator_id, self.mean = load_generator(files["generator"], runs, device)
        size, cache = self.generator.size, self.data.get("cache", runs / "cache")
        train = load_faces([faces / z for z in self.data["zips"]], faces / self.data["labels"], size, cache)
        val = load_faces([faces / z for z in self.data["val_zips"]], faces / self.data["val_labels"], size, cache)
        self.faces = HeldFaces(train, device)
        self.shown = val.batch(np.arange(min(20, len(val) // 2 * 2)), device=device)
        self.arch = {"size": size, "style_dim": self.generator.style_dim, **body["projector"]}
        self.projector = CompactE4E(**self.arch).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        with torch.no_grad():
            self.projector.base.bias.copy_(self.mean)  # the first guess is the mean face
            self.projector.linear.weight.zero_()
            self.projector.linear.bias.zero_()
        self.perceptual = attribute_guide(files["perceptual"], runs, device)
        recogniser = frozen(files["identity"], "identity", runs, device).net
        if not isinstance(recogniser, IdentityNet):
            raise BadCheckpoint(f"'{files['identity']}' holds no compact recogniser; name one under [networks].")
        self.identity = recogniser
        self.discriminator = WDiscriminator([self.generator.style_dim, *body.get("discriminator", (256, 128, 64)), 1])
        self.modules: dict[str, nn.Module] = {
            "projector": self.projector,
            "discriminator": self.discriminator.to(device),
        }
        self.averaged = ("projector",)
        linear = [*self.projector.linear.parameters()]
        others = [p for n, p in self.projector.named_parameters() if not n.startswith("linear.")]
        rate = self.train["rate"]
        groups = [{"params": others, "lr": rate}, {"params": linear, "lr": self.train.get("rate_linear", rate / 6)}]
        self.optimizers = {
            "projector": torch.optim.Adam(groups, betas=(0.9, 0.99)),
            "discriminator": torch.optim.Adam(
                self.discriminator.parameters(), lr=self.train.get("rate_discriminator", rate), betas=(0.0, 0.99)
            ),
        }

    def rows(self, index: int) -> int:
        """How many rows have a delta of their own at step ``index``, the base's row among them."""
        every = self.train.get("unlock_every", 0)
        return self.projector.n_latent if not every else min(self.projector.n_latent, 1 + index // every)

    def codes(self, image: Tensor, rows: int) -> Tensor:
        """W+ codes (B,L,D) whose rows from ``rows`` on are the base code."""
        codes = self.projector(image)
        return torch.cat([codes[:, :rows], codes[:, :1].expand(-1, codes.shape[1] - rows, -1)], 1)

    @torch.no_grad()
    def known(self, step: Step, count: int) -> tuple[Tensor, Tensor]:
        """Generated faces and their codes."""
        z = torch.randn(count, self.generator.style_dim, generator=step.torch).to(self.device)
        codes = self.generator.codes(z, truncation=self.data.get("truncation", 0.9), center=self.mean)
        return self.generator.synthesis(codes).float().clamp(-1, 1), codes

    def step(self, step: Step) -> dict[str, float | Tensor]:
        for optimizer in self.optimizers.values():
            set_rate(optimizer, step.cosine(warmup=50, floor=0.03))
        batch = self.train["batch"]
        part = step.ranks.slice(batch)
        index, flip = step.numpy.integers(0, len(self.faces), batch)[part], step.numpy.random(batch)[part] < 0.5
        made = round(len(index) * self.data.get("generated", 0.25))
        photos = self.faces.batch(index[made:], flip[made:])
        generated, known = self.known(step, made)
        target = torch.cat([generated, photos])
        self.projector.train()
        codes = self.codes(target, self.rows(step.index)).float()
        image = self.generator.synthesis(codes).float()
        terms = pixel_terms(image, target)
        terms["perceptual"] = perceptual_term(self.perceptual, image, target)
        terms["identity"] = identity_term(self.identity, image, target)
        terms["delta"] = (codes[:, 1:] - codes[:, :1]).square().mean()
        if made:
            terms["code"] = (codes[:made] - known).square().mean()
        weights = self.train["weights"]
        if weights.get("fool", 0.0):
            self.discriminator.requires_grad_(False)
            terms["fool"] = losses.fool(self.discriminator(codes.flatten(0, 1)))
        loss = torch.stack([weights.get(name, 1.0) * value for name, value in terms.items()]).sum()
        step.apply(loss, self.optimizers["projector"])
        log: dict[str, float | Tensor] = {
            "loss": loss.detach(),
            **{name: value.detach() for name, value in terms.items()},
        }
        if weights.get("fool", 0.0):
            log |= self.judge(step, codes.detach().flatten(0, 1))
        return log

    def judge(self, step: Step, fake: Tensor) -> dict[str, Tensor]:
        """One step of the discriminator on w of the mapping network and of the projector."""
        self.discriminator.requires_grad_(True)
        z = torch.randn(len(fake), self.generator.style_dim, generator=step.torch).to(self.device)
        with torch.no_grad():
            real = self.generator.map(z).float()
        real.requires_grad_()
        logit = self.discriminator(real)
        judged, penalty = (
            losses.judge(logit, self.discriminator(fake)),
            losses.r1(logit, real, self.train.get("r1", 10.0)),
        )
        step.apply(judged + penalty, self.optimizers["discriminator"])
        return {"judge": judged.detach(), "r1": penalty.detach()}

    @torch.inference_mode()
    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray:
        """Validation faces above their projections, two rows of each."""
        rows, half = [], len(self.shown) // 2
        for part in self.shown.split(half):
            image = self.generator.synthesis(ema["projector"].module(part)).clamp(-1, 1)
            rows += [torch.cat(list(part.cpu()), 2), torch.cat(list(image.float().cpu()), 2)]
        return to_uint8(torch.cat(rows, 1))

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """projector.safetensors, bound to its generator, a copy of which lies beside it for the runs that follow."""
        header = {"kind": "projector", "arch": self.arch, "generator": self.generator_id, "steps": steps, **self.about}
        container.save(folder / "projector.safetensors", ema["projector"].module.state_dict(), header)
        (folder / "generator.safetensors").write_bytes(self.source.read_bytes())
