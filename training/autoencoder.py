"""Train generator and projector together as an autoencoder that grows, optionally sharpened by a discriminator.

An adversarial run from scratch does not converge in CPU hours; this does. It starts from the linear model: the projector's
base code is a whitened principal-component code of a thumbnail, and the generator begins as a linear decoder (its
convolutions are unmodulated at first, only ToRGB depends on the code). Both then train jointly, coarse to fine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data import container
from data.datasets import FaceSet, load_faces
from encoders.compact import AttributeNet, CompactE4E, IdentityNet, resized
from stylegan2.discriminator import Discriminator
from stylegan2.generator import Generator
from training.distributed import Ranks
from training.ema import Ema
from training.reconstruction import identity_term, perceptual_term, pixel_terms
from training.task import Step, set_rate
from workbench.face import to_uint8


@dataclass(frozen=True)
class Stage:
    """Until step ``until``: pictures of ``side`` px in batches of ``batch``.

    ``adversarial``: length of the adversarial gradient on the pictures as a share of the reconstruction's; 0 is without.
    """

    until: int
    side: int
    batch: int
    adversarial: float = 0.0


@torch.no_grad()
def principal_components(
    faces: FaceSet, side: int, count: int, samples: int, power: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Linear code of thumbnails: weight (count,3*side*side), bias (count,), mean picture colour (3,).

    Component k is scaled by eigenvalue**-power (0.5 whitens, less keeps some of the order), then all by one factor to unit RMS.
    """
    index = np.linspace(0, len(faces) - 1, samples).astype(int)
    chunks = [resized(faces.batch(index[i : i + 256]), side) for i in range(0, samples, 256)]
    pictures = torch.cat(chunks)
    pictures = torch.cat([pictures, pictures.flip(3)]).flatten(1)
    mean = pictures.mean(0)
    _, singular, vectors = torch.svd_lowrank(pictures - mean, count, niter=3)
    eigen = singular.square() / len(pictures)
    scale = eigen.pow(-power)
    scale = scale / (eigen * scale.square()).mean().sqrt()
    weight = (vectors * scale).t().contiguous()
    return weight, -weight @ mean, mean.reshape(3, -1).mean(1)


def start_linear(generator: Generator, colour: Tensor) -> None:
    """Make ``generator`` a linear decoder of the mean ``colour`` (3,): no modulation but ToRGB's, no noise."""
    with torch.no_grad():
        for name, parameter in generator.named_parameters():
            if name.endswith("conv.modulation.weight") and "to_rgb" not in name:
                parameter.zero_()
            if "to_rgb" in name and name.endswith("conv.weight"):
                parameter.mul_(0.05)
        generator.to_rgb1.bias.copy_(colour.reshape(1, 3, 1, 1))


class AutoencoderTask:
    """Settings: [data], [generator], [projector], [discriminator], [[stage]], [train] rates and loss weights."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        data, self.train, self.arch = body["data"], body["train"], body["generator"]
        self.encoder_arch = {"size": self.arch["size"], **body["projector"]}
        cache = data.get("cache", folder.parent / "cache")
        size = self.arch["size"]
        self.faces = load_faces([faces / z for z in data["zips"]], faces / data["labels"], size, cache)
        self.val = load_faces([faces / z for z in data["val_zips"]], faces / data["val_labels"], size, cache)
        self.stages = tuple(Stage(**s) for s in body["stage"])
        self.generator = Generator(**self.arch).to(device)
        self.projector = CompactE4E(**self.encoder_arch).to(memory_format=torch.channels_last).to(device)  # pyright: ignore[reportCallIssue]
        self.modules: dict[str, torch.nn.Module] = {"generator": self.generator, "projector": self.projector}
        self.averaged = ("generator", "projector")
        self.device, self.ranks, self.folder = device, ranks, folder
        if not (folder / "checkpoint.pt").is_file():
            weight, bias, colour = principal_components(
                self.faces,
                self.projector.thumbnail,
                self.projector.style_dim,
                min(8000, len(self.faces)),
                self.train["whitening"],
            )
            with torch.no_grad():
                self.projector.linear.weight.copy_(weight)
                self.projector.linear.bias.copy_(bias)
            start_linear(self.generator, colour.to(device))
        linear = [*self.projector.linear.parameters()]
        convolutional = [p for n, p in self.projector.named_parameters() if not n.startswith("linear.")]
        drawn = [p for n, p in self.generator.named_parameters() if not n.startswith("style.") and "noise" not in n]
        self.optimizer = torch.optim.Adam(
            [
                {"params": drawn, "lr": self.train["rate_generator"]},
                {"params": convolutional, "lr": self.train["rate_projector"]},
                {"params": linear, "lr": self.train["rate_linear"]},
            ],
            betas=(0.9, 0.99),
            eps=self.train.get("epsilon", 1e-8),
        )
        self.optimizers = {"autoencoder": self.optimizer}
        if any(s.adversarial for s in self.stages):
            self.discriminator = Discriminator(**{"size": size, **body["discriminator"]}).to(device)
            self.modules["discriminator"] = self.discriminator
            self.judge_optimizer = torch.optim.Adam(
                self.discriminator.parameters(), lr=self.train["rate_discriminator"], betas=(0.0, 0.99)
            )
            self.optimizers["discriminator"] = self.judge_optimizer
        self.perceptual: AttributeNet | None = None
        self.identity: IdentityNet | None = None

    def load_guides(self) -> None:
        """Read the networks the losses look through; only stages of 64 px and more need them, so they may be trained meanwhile."""
        self.perceptual = self.perceptual or self.frozen(AttributeNet, self.train.get("perceptual"))
        self.identity = self.identity or self.frozen(IdentityNet, self.train.get("identity"))

    def frozen(self, cls: type, path: str | None) -> Any:
        """A fixed network of ours from ``path`` (seen from the run's parent folder), or None."""
        if not path:
            return None
        state, header = container.load(self.folder.parent / path)
        net = cls(**header["arch"])
        net.load_state_dict(state)
        return net.to(self.device, memory_format=torch.channels_last).eval().requires_grad_(False)

    def stage(self, index: int) -> Stage:
        """The stage that holds step ``index`` (the last one after its end)."""
        return next((s for s in self.stages if index < s.until), self.stages[-1])

    def losses(self, image: Tensor, target: Tensor, index: int) -> dict[str, Tensor]:
        """Reconstruction terms for pictures (B,3,s,s)."""
        terms = pixel_terms(image, target)
        if image.shape[2] >= 64 and index % self.train.get("perceptual_every", 1) == 0:
            if self.perceptual is not None:
                terms["perceptual"] = perceptual_term(self.perceptual, image, target)
            if self.identity is not None:
                terms["identity"] = identity_term(self.identity, image, target)
        return terms

    def step(self, step: Step) -> dict[str, float | Tensor]:
        stage = self.stage(step.index)
        if stage.side >= 64:
            self.load_guides()
        set_rate(self.optimizer, step.cosine(warmup=20, floor=0.05))
        index = step.numpy.integers(0, len(self.faces), stage.batch)
        flip = step.numpy.random(stage.batch) < 0.5
        part = step.ranks.slice(stage.batch)
        full = self.faces.batch(index[part], flip[part], self.device)
        target = resized(full, stage.side)
        self.projector.train()
        codes = self.projector(full)
        image = self.generator.synthesis(codes, until=stage.side)
        terms = self.losses(image, target, step.index)
        deltas = codes[:, 1:] - codes[:, :1]
        terms["delta"] = deltas.square().mean()
        terms["norm"] = codes[:, 0].square().mean()
        weights = self.train["weights"]
        loss = sum((weights.get(n, 1.0) * v for n, v in terms.items()), torch.zeros((), device=self.device))
        if stage.adversarial and stage.side == self.arch["size"]:
            terms |= self.fight(step, target, image)
            share = self.balance(loss, terms["fool"], image)
            loss = loss + stage.adversarial * share * terms["fool"]
        step.apply(loss, self.optimizer)
        return {"loss": loss, **terms}

    def balance(self, loss: Tensor, fool: Tensor, image: Tensor) -> Tensor:
        """Factor that makes the gradient of ``fool`` on ``image`` as long as that of ``loss``.

        A fixed weight either does nothing or outgrows the reconstruction, as the discriminator's slope changes by orders of
        magnitude while it learns (Esser 2021, section 3.2, balances at the last layer; on the pictures it is cheaper).
        """
        (wanted,) = torch.autograd.grad(loss, image, retain_graph=True)
        (pushed,) = torch.autograd.grad(fool, image, retain_graph=True)
        return (self.ranks.average(wanted.norm()) / self.ranks.average(pushed.norm()).clamp_min(1e-8)).clamp_max(1e3)

    def fight(self, step: Step, real: Tensor, image: Tensor) -> dict[str, Tensor]:
        """One discriminator step on ``real`` and the detached ``image`` (lazy R1), then the generator's term."""
        self.discriminator.requires_grad_(True)
        every = self.train.get("r1_every", 16)
        lazy = step.index % every == 0
        shown = real.detach().requires_grad_(lazy)
        score = self.discriminator(shown)
        loss = F.softplus(self.discriminator(image.detach())).mean() + F.softplus(-score).mean()
        if lazy:
            (slope,) = torch.autograd.grad(score.sum(), shown, create_graph=True)
            loss = loss + 0.5 * self.train["r1"] * every * slope.square().sum([1, 2, 3]).mean()
        step.apply(loss, self.judge_optimizer)
        self.discriminator.requires_grad_(False)
        return {"judge": loss.detach(), "fool": F.softplus(-self.discriminator(image)).mean()}

    @torch.inference_mode()
    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray:
        """Validation faces above their projections, two rows of each."""
        rows = []
        count = min(10, len(self.val) // 2)
        for at in (0, count):
            full = self.val.batch(np.arange(at, at + count), device=self.device)
            image = ema["generator"].module.synthesis(ema["projector"].module(full))  # type: ignore[operator]
            rows += [torch.cat(list(full), 2), torch.cat(list(image), 2)]
        return to_uint8(torch.cat(rows, 1))

    @torch.inference_mode()
    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """generator.safetensors and projector.safetensors; the mean latent is that of 1,000 training faces' base codes."""
        generator, projector = ema["generator"].module, ema["projector"].module
        index = np.unique(np.linspace(0, len(self.faces) - 1, 1000).astype(int))
        parts = np.array_split(index, max(1, len(index) // 100))
        bases = [projector(self.faces.batch(part, device=self.device))[:, 0] for part in parts]
        mean = torch.cat(bases).mean(0)
        state = {**generator.state_dict(), "latent_avg": mean}
        identity = container.save(
            folder / "generator.safetensors", state, {"kind": "generator", "arch": self.arch, "steps": steps}
        )
        header = {"kind": "projector", "arch": self.encoder_arch, "generator": identity, "steps": steps}
        container.save(folder / "projector.safetensors", projector.state_dict(), header)
