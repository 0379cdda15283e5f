"""Train a StyleGAN2 generator against a discriminator (arXiv 1912.04958) with adaptive augmentation (arXiv 2006.06676).

Work for an accelerator: the data set is held on the device. A run at twice the size starts from the files of a smaller one
([start]), whose layers carry over: half the minutes at half the size buy more pictures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from data import container
from data.datasets import load_faces
from evaluation.generator import GeneratorJudge, feature_network
from stylegan2.discriminator import Discriminator
from stylegan2.generator import Generator
from training.augment import Augment
from training.distributed import Ranks
from training.ema import Ema
from training.files import find
from training.held import HeldFaces
from training.task import Step, set_rate
from workbench.errors import BadCheckpoint
from workbench.face import to_uint8

SHEET = 8


def grown_keys(state: Mapping[str, Tensor], steps: int) -> dict[str, Tensor]:
    """Keys of a discriminator's ``state`` as they are called at 2 ** ``steps`` times its size.

    Blocks are numbered from the picture down, so each moves by ``steps``; the layer that reads colours is left out.
    """
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        found = re.fullmatch(r"convs\.(\d+)\.(.+)", key)
        if found is None:
            out[key] = value
        elif steps == 0 or int(found[1]) > 0:
            out[f"convs.{int(found[1]) + steps}.{found[2]}"] = value
    return out


def take_over(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Copy what ``state`` has of ``module``; what it has not stays fresh. Raises BadCheckpoint when a shape differs."""
    own = module.state_dict()
    with torch.no_grad():
        for key in own.keys() & state.keys():
            if own[key].shape != state[key].shape:
                shapes = f"{tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
                raise BadCheckpoint(f"The {what} to start from has other channels ('{key}' is {shapes}).")
            own[key].copy_(state[key])


def start_generator(generator: Generator, state: Mapping[str, Tensor]) -> None:
    """Begin with the layers of a smaller generator; levels it has not add nothing to the picture at first."""
    take_over(generator, {k: v for k, v in state.items() if k != "latent_avg"}, "generator")
    for index, layer in enumerate(generator.to_rgbs):
        if f"to_rgbs.{index}.conv.weight" not in state:
            nn.init.zeros_(layer.get_parameter("conv.weight"))


class AdversarialTask:
    """Settings: [data], [generator], [discriminator], [augment], [train], and optionally [start] and [judged].

    [train]: ``batch``, ``rate_generator``, ``rate_discriminator``, ``r1``, ``r1_every``, ``mixing`` (chance of two styles),
    ``warmup`` steps. [start]: ``generator`` and ``discriminator``, files of an earlier run. [judged]: ``network`` and ``count``
    of random faces to measure at every save.
    """

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        data, self.train, self.arch = body["data"], body["train"], body["generator"]
        self.about, self.device, self.folder = body.get("about", {}), device, folder
        size, runs = self.arch["size"], folder.parent
        cache = data.get("cache", runs / "cache")
        loaded = load_faces([faces / z for z in data["zips"]], faces / data["labels"], size, cache)
        self.faces = HeldFaces(loaded, device)
        self.generator = Generator(**self.arch).to(device)
        self.score_arch = {"size": size, **body["discriminator"]}
        self.discriminator = Discriminator(**self.score_arch).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.augment = Augment(**body.get("augment", {})).to(device)
        if "start" in body and not (folder / "checkpoint.pt").is_file():
            self.begin(body["start"], runs)
        self.judge, self.judged = None, body.get("judged", {})
        if self.judged:
            val = load_faces([faces / z for z in data["val_zips"]], faces / data["val_labels"], size, cache)
            photos = [val.batch(part) for part in np.array_split(np.arange(len(val)), max(1, len(val) // 100))]
            features = feature_network(find(self.judged["network"], runs), "cpu")
            self.judge = GeneratorJudge(features, torch.cat(photos))
            features.net.to(device)
        self.modules: dict[str, nn.Module] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "augment": self.augment,
        }
        self.averaged = ("generator",)
        every = self.train.get("r1_every", 16)
        # A step in ``every`` has the penalty as well: the moments are those of the longer step (StyleGAN2, appendix B).
        lazy = every / (every + 1)
        rates = self.train["rate_generator"], self.train["rate_discriminator"] * lazy
        self.optimizers = {
            "generator": torch.optim.Adam(self.generator.parameters(), lr=rates[0], betas=(0.0, 0.99), eps=1e-8),
            "discriminator": torch.optim.Adam(
                self.discriminator.parameters(), lr=rates[1], betas=(0.0, 0.99**lazy), eps=1e-8
            ),
        }

    def begin(self, start: Mapping[str, str], runs: Path) -> None:
        """Take over an earlier run's networks."""
        state, header = container.load(find(start["generator"], runs))
        start_generator(self.generator, state)
        state, header = container.load(find(start["discriminator"], runs))
        steps = (self.arch["size"] // header["arch"]["size"]).bit_length() - 1
        take_over(self.discriminator, grown_keys(state, steps), "discriminator")

    def codes(self, step: Step, count: int) -> Tensor:
        """W+ codes (count,L,D) of fresh z; some rows mix two."""
        z = torch.randn(2, count, self.generator.style_dim, generator=step.torch).to(self.device)
        if float(torch.rand((), generator=step.torch)) >= self.train.get("mixing", 0.9):
            return self.generator.codes(z[0])
        at = int(torch.randint(1, self.generator.n_latent, (), generator=step.torch))
        return self.generator.codes([z[0], z[1]], mix_at=at)

    def draw(self, step: Step, count: int) -> Tensor:
        """Pictures with fresh noise."""
        noise = torch.Generator(self.device).manual_seed(int(torch.randint(2**62, (), generator=step.torch)))
        return self.generator.synthesis(self.codes(step, count), noise)

    def step(self, step: Step) -> dict[str, float | Tensor]:
        for optimizer in self.optimizers.values():
            set_rate(optimizer, min(1.0, (step.index + 1) / self.train.get("warmup", 1)))
        batch = self.train["batch"]
        part = step.ranks.slice(batch)
        index, flip = step.numpy.integers(0, len(self.faces), batch)[part], step.numpy.random(batch)[part] < 0.5
        real = self.faces.batch(index, flip)
        return self.fight(step, real, len(index), batch)

    def fight(self, step: Step, real: Tensor, count: int, batch: int) -> dict[str, float | Tensor]:
        """One step of each network; ``count`` pictures here, ``batch`` over all ranks."""
        self.discriminator.requires_grad_(True)
        with torch.no_grad():
            fake = self.draw(step, count)
        shown = self.augment(real, step.torch)
        of_fake, of_real = self.discriminator(self.augment(fake, step.torch)).float(), self.discriminator(shown).float()
        judge = F.softplus(of_fake).mean() + F.softplus(-of_real).mean()
        log: dict[str, float | Tensor] = {"judge": judge.detach()}
        loss = judge
        every = self.train.get("r1_every", 16)
        if step.index % every == 0:
            penalty = self.penalty(shown)
            loss = loss + 0.5 * self.train["r1"] * every * penalty
            log["r1"] = penalty.detach() * every
        step.apply(loss, self.optimizers["discriminator"])
        sign = step.ranks.average(of_real.detach().sign().mean())
        self.augment.adapt(sign, batch)
        self.discriminator.requires_grad_(False)
        fool = F.softplus(-self.discriminator(self.augment(self.draw(step, count), step.torch)).float()).mean()
        step.apply(fool, self.optimizers["generator"])
        return log | {"fool": fool.detach(), "sign": sign, "p": self.augment.p.clone()}

    def penalty(self, shown: Tensor) -> Tensor:
        """Squared slope of the score at real pictures as they were shown (Mescheder 2018), in full precision."""
        with torch.autocast(self.device.split(":")[0], enabled=False):
            at = shown.detach().float().requires_grad_()
            (slope,) = torch.autograd.grad(self.discriminator(at).sum(), at, create_graph=True)
            return slope.square().sum([1, 2, 3]).mean()

    @torch.inference_mode()
    def sample(self, generator: Generator, mean: Tensor, count: int, truncation: float, seed: int) -> Tensor:
        """Faces (count,3,S,S) in [-1, 1] of fixed z."""
        draw, parts = torch.Generator().manual_seed(seed), []
        for at in range(0, count, 64):
            z = torch.randn(min(64, count - at), generator.style_dim, generator=draw).to(self.device)
            parts.append(generator(z, truncation=truncation, center=mean).float().clamp(-1, 1))
        return torch.cat(parts)

    @torch.inference_mode()
    def mean(self, generator: Generator) -> Tensor:
        """Mean of 10,000 mapped z, (D,)."""
        return generator.mean_latent(10_000, torch.Generator().manual_seed(0))

    def gigaflop(self, generator: Generator) -> float:
        """Billions of operations (a multiplication and an addition are two) of one picture, as its convolutions are written."""
        code = torch.zeros(1, generator.n_latent, generator.style_dim, device=self.device)
        # With gradients asked for, the plain convolutions run, which the counter knows; inference has short cuts on a CPU.
        with torch.enable_grad(), FlopCounterMode(display=False) as counter:
            generator.synthesis(code.requires_grad_())
        return counter.get_total_flops() / 1e9

    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray:
        """Random faces at truncation 0.7, and below them at 1."""
        generator = ema["generator"].module
        assert isinstance(generator, Generator)
        mean, rows = self.mean(generator), []
        for truncation in (0.7, 1.0):
            faces = self.sample(generator, mean, SHEET * SHEET // 2, truncation, 1)
            rows += [torch.cat(list(row.cpu()), 2) for row in faces.split(SHEET)]
        return to_uint8(torch.cat(rows, 1))

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """generator.safetensors with its mean latent, discriminator.safetensors to go on from, and a line of metrics."""
        generator = ema["generator"].module
        assert isinstance(generator, Generator)
        mean, batch = self.mean(generator), self.train["batch"]
        header = {"kind": "generator", "arch": self.arch, "steps": steps, "images": steps * batch, **self.about}
        header |= {"gigaflop": round(self.gigaflop(generator), 5), "p": round(float(self.augment.p), 4)}
        container.save(folder / "generator.safetensors", {**generator.state_dict(), "latent_avg": mean}, header)
        header = {"kind": "discriminator", "arch": self.score_arch, "steps": steps, **self.about}
        container.save(folder / "discriminator.safetensors", self.discriminator.state_dict(), header)
        if self.judge is not None:
            found = self.judge.measure(generator, mean, self.judged["count"])
            with (folder / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"steps": steps, "images": steps * batch, **found}) + "\n")
