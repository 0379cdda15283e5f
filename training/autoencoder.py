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
from torch import Tensor, nn

from data import container
from data.datasets import FaceSet, load_faces
from encoders.compact import AttributeNet, CompactE4E, IdentityNet, resized
from stylegan2.generator import Generator, Noise
from training.distributed import Ranks
from training.ema import Ema
from training.files import find, load_network
from training.mapping import move_latent
from training.patches import Patches, believed, feature_distance, slope, told_apart
from training.reconstruction import identity_term, perceptual_term, pixel_terms
from training.task import Step, set_rate
from training.widen import start_wider
from workbench.errors import BadCheckpoint, BadRequest, WrongSpace
from workbench.face import to_uint8

SEEN = 2048
"""How many codes stand for their distribution while random faces are trained."""


@dataclass(frozen=True)
class Stage:
    """Until step ``until``: pictures of ``side`` px in batches of ``batch``.

    ``adversarial``: length of the adversarial gradient on the pictures as a share of the reconstruction's; 0 is without.
    ``random``: faces drawn at random besides, which only the discriminator judges.
    """

    until: int
    side: int
    batch: int
    adversarial: float = 0.0
    random: int = 0


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


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of ``terms``, each times its weight (1 where none is given)."""
    return torch.stack([weights.get(name, 1.0) * value for name, value in terms.items()]).sum()


class Seen(nn.Module):
    """The last ``count`` codes (L,D), of which random ones are mixed that have their mean and covariance."""

    codes: Tensor
    at: Tensor

    def __init__(self, count: int, rows: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(count, rows, dim))
        self.register_buffer("at", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def add(self, codes: Tensor) -> None:
        """Put ``codes`` (B,L,D) in the place of the oldest."""
        index = (self.at + torch.arange(len(codes), device=codes.device)) % len(self.codes)
        self.codes[index] = codes.detach().float()
        self.at.copy_((self.at + len(codes)) % len(self.codes))

    @torch.no_grad()
    def mixed(self, shares: Tensor) -> Tensor:
        """Codes (B,L,D) of standard normal ``shares`` (B,count)."""
        mean = self.codes.mean(0)
        return mean + torch.einsum("bn,nld->bld", shares, self.codes - mean) / len(self.codes) ** 0.5


class AutoencoderTask:
    """Settings: [data], [generator], [projector], [patches], [[stage]], [train] rates and loss weights, and optionally [start].

    [start]: ``generator`` and ``projector`` of an earlier run to go on from instead of the linear model; the generator may
    get more channels.
    """

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
        start = body.get("start")
        if start and not (folder / "checkpoint.pt").is_file():
            self.go_on_from(start, folder.parent)
        elif not (folder / "checkpoint.pt").is_file():
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
        drawn = [p for n, p in self.generator.named_parameters() if not n.startswith("style.")]
        self.optimizer = torch.optim.Adam(
            [
                {"params": drawn, "lr": self.train["rate_generator"]},
                {"params": convolutional, "lr": self.train["rate_projector"]},
                {"params": linear, "lr": self.train["rate_linear"]},
            ],
            betas=tuple(self.train.get("betas", (0.9, 0.99))),
            eps=self.train.get("epsilon", 1e-8),
        )
        self.optimizers = {"autoencoder": self.optimizer}
        if any(s.adversarial for s in self.stages):
            if "patches" not in body or "rate_patches" not in self.train:
                raise BadRequest("An adversarial stage needs [patches.scales] and 'rate_patches' in [train].")
            self.patches = Patches(body["patches"]["scales"]).to(device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            self.modules["patches"] = self.patches
            self.judge_optimizer = torch.optim.Adam(
                self.patches.parameters(), lr=self.train["rate_patches"], betas=(0.0, 0.99)
            )
            self.optimizers["patches"] = self.judge_optimizer
        if any(s.random for s in self.stages):
            self.seen = Seen(min(SEEN, len(self.faces)), self.generator.n_latent, self.generator.style_dim).to(device)
            self.modules["seen"] = self.seen
        self.perceptual: AttributeNet | None = None
        self.identity: IdentityNet | None = None

    def go_on_from(self, start: Mapping[str, str], runs: Path) -> None:
        """Take over an earlier generator, widened where the settings say so, and its projector."""
        for name in ("generator", "projector"):
            if name not in start:
                raise BadRequest(f"[start] names no '{name}'; a run goes on from both files of an earlier one.")
        state, header = container.load(find(start["generator"], runs))
        lift = state.pop("latent_avg", torch.zeros(self.generator.style_dim)).to(self.device)
        start_wider(self.generator, state)
        state, reader = container.load(find(start["projector"], runs))
        if reader.get("generator") != header["id"]:
            raise WrongSpace(f"'{start['projector']}' was made for another generator than '{start['generator']}'.")
        try:
            self.projector.load_state_dict(state)
        except RuntimeError as error:
            raise BadCheckpoint(f"'{start['projector']}' holds no projector of the shape in the settings.") from error
        # Around zero the styles' weights are well conditioned; ``training.mapping`` lifts the codes again at the end.
        move_latent(self.generator, self.projector, -lift)

    @torch.inference_mode()
    def some_codes(self, projector: nn.Module, count: int) -> Tensor:
        """Codes (<=count,L,D) of training faces spread over the data set."""
        projector.eval()
        index = np.unique(np.linspace(0, len(self.faces) - 1, count).astype(int))
        parts = np.array_split(index, max(1, len(index) // 100))
        return torch.cat([projector(self.faces.batch(part, device=self.device)) for part in parts])

    def load_guides(self) -> None:
        """Read the networks the losses look through; only stages of 64 px and more need them, so they may be trained meanwhile."""
        self.perceptual = self.perceptual or self.frozen(AttributeNet, self.train.get("perceptual"))
        self.identity = self.identity or self.frozen(IdentityNet, self.train.get("identity"))

    def frozen(self, cls: type, path: str | None) -> Any:
        """A fixed network of ours from ``path``, or None."""
        if not path:
            return None
        net, _ = load_network(cls, find(path, self.folder.parent), self.device)
        return net.to(memory_format=torch.channels_last)

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
        factor = step.cosine(warmup=self.train.get("warmup", 20), floor=0.05)
        set_rate(self.optimizer, factor)
        index = step.numpy.integers(0, len(self.faces), stage.batch)
        flip = step.numpy.random(stage.batch) < 0.5
        part = step.ranks.slice(stage.batch)
        full = self.faces.batch(index[part], flip[part], self.device)
        target = resized(full, stage.side)
        self.projector.train()
        codes = self.projector(full).float()
        fighting = stage.adversarial > 0 and stage.side == self.arch["size"]
        drawn = codes
        if fighting and stage.random:
            drawn = torch.cat([codes, self.random_codes(step, codes, stage.random)])
        image = self.generator.synthesis(drawn, self.noise(step, fighting), until=stage.side).float()
        # The gradient on the pictures is taken first, by each part alone: they are balanced there, and go down once.
        leaf = image.detach().requires_grad_()
        weights = self.train["weights"]
        terms = self.losses(leaf[: len(target)], target, step.index)
        of_pictures = weighted(terms, weights)
        (down,) = torch.autograd.grad(of_pictures, leaf)
        deltas = codes[:, 1:] - codes[:, :1]
        of_codes = {"delta": deltas.square().mean(), "norm": codes[:, 0].square().mean()}
        loss = weighted(of_codes, weights)
        if fighting:
            # It starts at once: while the others warm up it learns what there is to tell.
            set_rate(self.judge_optimizer, step.cosine(floor=0.05))
            judged, pull = self.fight(step, target, leaf)
            terms |= judged
            down = down + stage.adversarial * self.balance(down, pull) * pull
        step.apply(loss + (image * down).sum(), self.optimizer)
        return {"loss": (of_pictures + loss).detach(), **{n: v.detach() for n, v in (terms | of_codes).items()}}

    def noise(self, step: Step, fighting: bool) -> Noise:
        """Fresh noise for each picture; none where there is only reconstruction, which has no use for it."""
        if not fighting:
            return [torch.zeros_like(n) for n in self.generator.noise_maps(None, 1)]
        seed = int(torch.randint(2**62, (), generator=step.torch))
        return torch.Generator(self.device).manual_seed(seed)

    def random_codes(self, step: Step, codes: Tensor, count: int) -> Tensor:
        """Codes (count / world,L,D) of random faces; ``codes`` of this batch are remembered for later ones."""
        if not self.seen.codes.any():
            self.seen.add(step.ranks.average(self.some_codes(self.projector, len(self.seen.codes)).clone()))
            self.projector.train()
        batch = torch.zeros(len(codes) * step.ranks.world, *codes.shape[1:], device=self.device)
        batch[step.ranks.slice(len(batch))] = codes.detach() * step.ranks.world
        self.seen.add(step.ranks.average(batch))
        shares = torch.from_numpy(step.numpy.standard_normal((count, len(self.seen.codes)), np.float32))
        return self.seen.mixed(shares[step.ranks.slice(count)].to(self.device))

    def balance(self, wanted: Tensor, pushed: Tensor) -> Tensor:
        """Factor that makes the gradient ``pushed`` as long as ``wanted``.

        A fixed weight either does nothing or outgrows the reconstruction, as the discriminator's slope changes by orders of
        magnitude while it learns (Esser 2021, section 3.2, balances at the last layer; on the pictures it is cheaper).
        """
        ratio = self.ranks.average(wanted.square().sum()) / self.ranks.average(pushed.square().sum()).clamp_min(1e-24)
        return ratio.sqrt().clamp_max(1e4)

    def fight(self, step: Step, real: Tensor, image: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """One discriminator step on ``real`` and ``image``, then the generator's gradient on ``image``, a leaf.

        Of the pictures that have a ``real`` one, features are compared as well.
        """
        self.patches.requires_grad_(True)
        every = self.train.get("r1_every", 8)
        lazy = self.train.get("r1", 0.0) > 0 and step.index % every == 0
        shown = real.detach().requires_grad_(lazy)
        of_real = self.patches(shown)
        judge = told_apart(of_real, self.patches(image.detach()))
        steep = slope(of_real, shown) if lazy else torch.zeros(())
        step.apply(judge + 0.5 * self.train.get("r1", 0.0) * every * steep, self.judge_optimizer)
        self.patches.requires_grad_(False)
        with torch.no_grad():
            of_real = self.patches(real)
        of_fake = self.patches(image)
        fool = believed(of_fake)
        alike = feature_distance(of_real, [[m[: len(real)] for m in scale] for scale in of_fake])
        (pull,) = torch.autograd.grad(fool + self.train.get("features", 0.0) * alike, image)
        return {"judge": judge, "fool": fool, "features": alike, "r1": steep * every}, pull

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
        mean = self.some_codes(projector, 1000)[:, 0].mean(0)
        state = {**generator.state_dict(), "latent_avg": mean}
        identity = container.save(
            folder / "generator.safetensors", state, {"kind": "generator", "arch": self.arch, "steps": steps}
        )
        header = {"kind": "projector", "arch": self.encoder_arch, "generator": identity, "steps": steps}
        container.save(folder / "projector.safetensors", projector.state_dict(), header)
