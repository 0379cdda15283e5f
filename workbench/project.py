"""From an aligned face to its W+ code: one encoder pass, or a short optimisation that starts from it.

The optimisation moves the code and keeps it near the encoder's: large steps reconstruct better and edit worse, the
trade-off that e4e describes (arXiv 2102.02766).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoders.compact import AttributeNet
from stylegan2.generator import Generator
from workbench.devices import lock
from workbench.editor import Cancel, Progress
from workbench.errors import BadCheckpoint, Cancelled
from workbench.weights import Store

MAX_FEATURE_LEVELS = 4


@dataclass(frozen=True)
class Settings:
    """Weights of the refinement's losses, and its learning rate. Lengths of W are relative to the spread of W.

    The identity loss is light: it uses the network that also reports the identity, so a heavy one would lift the reported
    number (0.24 to 0.96 at weight 0.3) more than the likeness.
    """

    steps: int = 60
    rate: float = 0.1
    warm: float = 0.1
    pixel: float = 6.0
    pyramid: float = 1.0
    features: float = 0.05
    identity: float = 0.05
    prior: float = 0.01
    spread: float = 0.01


def render(generator: Generator, codes: Tensor) -> Tensor:
    """Pictures (B,3,S,S) of W+ ``codes`` (B,L,512), the same pixels every time."""
    return generator.synthesis(codes)


@torch.no_grad()
def encode(generator: Generator, projector: nn.Module, target: Tensor) -> Tensor:
    """Code (L,512) of ``target`` (3,S,S) in [-1, 1] by one pass of ``projector``. Raises BadCheckpoint on its shape."""
    code = projector(target[None])[0].float()
    if tuple(code.shape) != (generator.n_latent, generator.style_dim):
        raise BadCheckpoint(
            f"The projector gives codes {tuple(code.shape)} and the generator takes "
            f"({generator.n_latent}, {generator.style_dim}); use files that belong together."
        )
    return code


class Refiner:
    """Optimises one code towards one picture. Deterministic: no random number is drawn.

    ``start`` (L,512): the encoder's code; ``mean`` (L,512): the mean of W; ``target`` (3,S,S); all on one device.
    """

    def __init__(
        self,
        generator: Generator,
        identity: nn.Module,
        attributes: nn.Module,
        start: Tensor,
        mean: Tensor,
        target: Tensor,
        settings: Settings,
    ) -> None:
        self.generator, self.identity, self.attributes = generator, identity, attributes
        self.start, self.target, self.settings = start.clone()[None], target.clone()[None], settings
        self.scale = (self.start - mean[None]).square().mean().sqrt().clamp_min(1e-3)
        with torch.no_grad():
            self.wanted_identity = self.identity(self.target)
            self.wanted_features = self._features(self.target)
        self.offset = torch.zeros_like(self.start).requires_grad_(True)
        self.optimiser = torch.optim.Adam([self.offset], lr=settings.rate, betas=(0.9, 0.99))
        self.best, self.best_loss = self.start[0].clone(), math.inf

    def code(self) -> Tensor:
        """The code (1,L,512) now."""
        return self.start + self.offset * self.scale

    def step(self, index: int, steps: int) -> float:
        """One step of ``steps``; returns the loss before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate * schedule(index, steps, self.settings.warm)
        with torch.enable_grad():
            code = self.code()
            loss = self.loss(code)
            (self.offset.grad,) = torch.autograd.grad(loss, [self.offset])
        value = float(loss.detach())
        if value < self.best_loss:
            self.best, self.best_loss = code.detach()[0].clone(), value
        self.optimiser.step()
        return value

    def loss(self, code: Tensor) -> Tensor:
        """Distance of the picture of ``code`` (1,L,512) to the target, and of the code to where it should stay."""
        s = self.settings
        image = render(self.generator, code)
        total = s.pixel * F.mse_loss(image, self.target) + s.pyramid * pyramid_l1(image, self.target)
        total = total + s.identity * (1 - F.cosine_similarity(self.identity(image), self.wanted_identity).mean())
        for got, wanted in zip(self._features(image), self.wanted_features, strict=True):
            total = total + s.features * feature_distance(got, wanted)
        moved = self.offset - self.offset.mean(1, keepdim=True)
        return total + s.prior * self.offset.square().mean() + s.spread * moved.square().mean()

    def _features(self, image: Tensor) -> Sequence[Tensor]:
        """Maps of the attribute network at its finest levels: a perceptual distance of our own networks."""
        if not isinstance(self.attributes, AttributeNet):
            return []
        return self.attributes.features(image)[:MAX_FEATURE_LEVELS]


def refiner(store: Store, device: torch.device, start: Tensor, target: Tensor, steps: int) -> Refiner:
    """A refiner with the networks of ``store`` from the code ``start`` (L,512) towards ``target`` (3,S,S)."""
    guides = store.module("identity"), store.module("attributes")
    settings = Settings(steps=steps)
    return Refiner(store.generator(), *guides, start.to(device), store.latent_avg(), target.to(device), settings)


@torch.no_grad()
def drawn(store: Store, device: torch.device, seed: int, truncation: float) -> Tensor:
    """The code (L,512) on the CPU of the face that ``seed`` gives, ``truncation`` of the way from the mean face."""
    generator = store.generator()
    z = torch.randn(1, generator.style_dim, generator=torch.Generator().manual_seed(seed))
    with lock(device):
        mean = store.latent_avg()
        w = generator.map(z.to(device))
        return (mean + truncation * (w - mean)).float().cpu().clone()


def refine(refiner: Refiner, steps: int, device: torch.device, progress: Progress, cancel: Cancel) -> Tensor:
    """The best code (L,512) of ``steps`` steps. The device is free between steps. Raises Cancelled within one step."""
    for index in range(steps):
        if cancel():
            raise Cancelled("The refinement was cancelled; the encoder's projection is still there.")
        with lock(device):
            loss = refiner.step(index, steps)
        progress((index + 1) / (steps + 1), f"step {index + 1} of {steps}, distance {loss:.4f}")
    with lock(device), torch.no_grad():
        final = refiner.code().detach()
        if float(refiner.loss(final)) < refiner.best_loss:
            refiner.best = final[0].clone()
    return refiner.best


def schedule(index: int, steps: int, warm: float) -> float:
    """Factor on the learning rate: linear warm-up over the share ``warm`` of the steps, then half a cosine to 0."""
    position = (index + 1) / steps
    return min(1.0, position / max(warm, 1e-9)) * 0.5 * (1 + math.cos(math.pi * index / steps))


def pyramid_l1(image: Tensor, target: Tensor, levels: int = 4) -> Tensor:
    """Mean absolute difference at full, half, quarter ... size, averaged; images (B,3,H,W)."""
    total = F.l1_loss(image, target)
    count = 1
    while count < levels and image.shape[-1] >= 16:
        image, target = F.avg_pool2d(image, 2), F.avg_pool2d(target, 2)
        total = total + F.l1_loss(image, target)
        count += 1
    return total / count


def feature_distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of channel-normalised feature maps, as LPIPS measures it without its heads."""
    return (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(1).mean()


def warnings(identity: float, l2: float, low_identity: float, high_l2: float) -> tuple[str, ...]:
    """Sentences about a projection that left the domain of the generator."""
    found = []
    if identity < low_identity:
        found.append(
            f"The projection does not look like this person (identity {identity:.2f}, usually above {low_identity:.2f}):"
            " glasses, profiles, children and covered faces are hard; try 'refined' or another photo."
        )
    if l2 > high_l2:
        found.append(
            f"The projection is far from the photo (distance {l2:.3f}, usually below {high_l2:.3f}): "
            "the face may be badly aligned or unlike what the generator knows."
        )
    return tuple(found)
