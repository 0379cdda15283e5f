"""Train Nitzan's and Zhou's swapping methods in the shared loop.

Settings: [data] (``generated``: "fly", a folder, or how many to keep; ``photos``: share of photos, with zips, labels and a
projector); [networks] (files: generator, identity, landmarks, perceptual, projector); [encoder]; [mapper]; [nitzan] or
[zhou] (``preset`` and what differs from it); [train] (``codes_only`` first steps without a rendering, ``freeze_norm_at``,
``side`` of the rendering, ``schedule``, ``start`` = "projector" for new networks that begin there and ``start_identity`` at
the family's recogniser, ``rate_linear``, ``shaken``); optionally [start] (a file for each of the method's networks, of the
same shape, to go on from).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data import container
from data.datasets import load_faces
from data.swap_sets import open_set
from encoders.compact import CompactE4E, IdentityNet, resized
from idswap import losses
from idswap.compact import AttributeHead, CompactAttributes, CompactSwapEncoder
from idswap.guides import Shaken
from idswap.models import DISCRIMINATOR, CodeMapper, WDiscriminator
from idswap.presets import NITZAN_PRESETS, ZHOU_PRESETS, configured
from idswap.starts import centred_thumbnails, compact_recogniser, from_projector
from idswap.swap import IdSwap, NitzanSwap, ZhouSwap, sheet
from idswap.train import Guides, NitzanLosses, Pair, Terms, ZhouLosses, freeze_norms
from training import files, swap_networks
from training.codes import all_codes, code_file
from training.distributed import Ranks
from training.ema import Ema
from training.swap_data import HELD_OUT, Fly, Kept, Mixture, Photos, Source, Stored
from training.task import Step, set_rate
from workbench.errors import BadCheckpoint, BadRequest
from workbench.face import to_uint8

SHEET = 6


class SwapTask:
    """What both methods share: generator, guides, pictures, the mapper, the sample sheet."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        self.body, self.device, self.ranks = body, device, ranks
        self.train: Mapping[str, Any] = body.get("train", {})
        self.data, self.files = body["data"], body["networks"]
        self.runs, self.folder = folder.parent, folder
        self.generator, self.generator_id, self.mean = files.generator(self.files["generator"], self.runs, device)
        recogniser = swap_networks.identity(self.files, self.runs, device)
        self.identity, self.identity_id = recogniser.net, recogniser.id
        self.shaken = Shaken()
        self.guides = Guides(
            self.render,
            self.identity,
            swap_networks.landmarks(self.files, self.runs, device),
            swap_networks.perceptual(self.files, self.runs, device),
            *([self.shaken] if self.train.get("shaken") else []),
        )
        psi, rows = self.data.get("truncation", 0.7), self.data.get("truncated_rows")
        self.fly = Fly(self.generator, self.mean, psi, rows, device, self.data.get("seed", 0))
        self.reader: CompactE4E | None = None
        self.photos: Photos | None = None
        self.source, self.shown = self.sources(faces)
        self.modules: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.averaged: Iterable[str] = ()

    @property
    def size(self) -> int:
        """Side of the pictures a step sees."""
        return self.train.get("side", self.generator.size)

    def render(self, codes: Tensor) -> Tensor:
        """Pictures of ``codes`` at the training side."""
        return self.generator.synthesis(codes, until=self.size)

    def sources(self, faces: Path) -> tuple[Source, Tensor]:
        """Where pictures come from, and those of the sample sheet: validation photos, or generated faces held out."""
        data, cache = self.data, Path(self.data.get("cache", self.runs / "cache"))
        kind = data.get("generated", "fly")
        generated: Source = self.fly
        if isinstance(kind, int):
            about = f"{self.generator_id}-{self.fly.seed}-{self.fly.psi}-{self.fly.rows}-{kind}"
            generated = Kept(self.fly, kind, cache / f"generated-{about}.npy")
        elif kind != "fly":
            generated = Stored(open_set(kind), self.generator, self.device)
        held = self.fly.made(np.arange(HELD_OUT, HELD_OUT + SHEET)).image
        share = data.get("photos", 0.0)
        if not share:
            return generated, held
        size = self.generator.size
        reader = self.reader = files.projector(self.files["projector"], self.runs, self.generator_id, self.device)
        reader_id = container.read_header(files.find(self.files["projector"], self.runs))["id"]
        train = load_faces([faces / z for z in data["zips"]], faces / data["labels"], size, cache)
        mirrored = data.get("mirrored", False)
        stored = code_file(cache, reader_id, train, mirrored)
        photos = Photos(train, all_codes(reader, train, self.device, stored, mirrored=mirrored), size, self.device)
        self.photos = photos
        val = load_faces([faces / z for z in data["val_zips"]], faces / data["val_labels"], size, cache)
        shown = val.batch(np.arange(min(SHEET, len(val))), device=self.device)
        return (photos if share >= 1 else Mixture(photos, generated, share)), shown

    def mapper(self, identity: int, attributes: int) -> CodeMapper:
        """A new mapper, centred on the mean latent where the settings say so."""
        table = self.body.get("mapper", {})
        self.mapper_arch = {
            "widths": [identity + attributes, *table.get("hidden", (2048, 1024, 512)), self.generator.style_dim],
            "rows": self.generator.n_latent,
            "rank": table.get("rank", 0),
        }
        if table.get("skip", False):
            self.mapper_arch["skip"] = attributes
        made = CodeMapper(**self.mapper_arch).to(self.device)
        # Measured on training pairs once the steps are done, in which it takes no part.
        made.identity_gain.fill_(table.get("identity_gain", 1.0))
        if table.get("centred", False):
            made.center.copy_(self.mean)
            # The first guess is the mean face, from which a few thousand steps get further.
            with torch.no_grad():
                made.mapper.model[-1].weight.mul_(0.1)  # pyright: ignore[reportArgumentType, reportCallIssue]
        return made

    def start(self, head: AttributeHead, mapper: CodeMapper, *, unit: bool) -> None:
        """Begin at the projector where the settings say so (``start = "projector"``)."""
        if self.train.get("start") != "projector":
            return
        if self.reader is None or self.photos is None:
            raise BadRequest("A start from the projector needs photos; set 'photos' above 0 in [data].")
        some = np.unique(np.linspace(0, len(self.photos.faces) - 1, 4000).astype(int))
        codes = torch.from_numpy(self.photos.codes[some].astype(np.float32)).to(self.device)
        from_projector(head, mapper, self.reader, codes, unit=unit)
        thumbnails = [resized(self.photos.at(part).image, head.thumbnail) for part in np.array_split(some, 16)]
        centred_thumbnails(head, torch.cat(thumbnails))

    def go_on(self) -> None:
        """Take over the networks that [start] names. Raises BadRequest, and BadCheckpoint where a shape differs."""
        for name, path in self.body.get("start", {}).items():
            if name not in self.averaged:
                raise BadRequest(
                    f"[start] names '{name}'; the networks of this method are: {', '.join(self.averaged)}."
                )
            state, _ = container.load(files.find(path, self.runs))
            try:
                self.modules[name].load_state_dict(state)
            except RuntimeError as error:
                raise BadCheckpoint(f"'{path}' holds no '{name}' of the shape in the settings ({error}).") from error
        mapper = self.modules["mapper"]
        if isinstance(mapper, CodeMapper) and "identity_gain" in self.body.get("mapper", {}):
            mapper.identity_gain.fill_(self.body["mapper"]["identity_gain"])

    def pictures(self, step: Step, count: int) -> tuple[Tensor, Tensor]:
        """This rank's part of ``count`` faces at the training side, and their codes."""
        drawn = self.source.draw(step.numpy, count, step.ranks.slice(count))
        return resized(drawn.image, self.size), drawn.codes

    def pair(self, step: Step, count: int, *, same: bool) -> Pair:
        """Two different faces per row, or the same one twice."""
        image, codes = self.pictures(step, count)
        if same:
            return Pair(image, image, codes, codes)
        other, other_codes = self.pictures(step, count)
        return Pair(image, other, codes, other_codes)

    def rate(self, step: Step) -> float:
        """Learning-rate factor: published trainings keep it constant, ours follows a cosine."""
        if self.train.get("schedule", "constant") == "constant":
            return 1.0
        return step.cosine(warmup=self.train.get("warmup", 20), floor=self.train.get("floor", 0.02))

    def only_codes(self, step: Step) -> bool:
        """Whether this step compares codes alone."""
        return step.index < self.train.get("codes_only", 0)

    def descend(self, step: Step, terms: Terms, optimizer: torch.optim.Optimizer) -> dict[str, float | Tensor]:
        """One step on the sum of ``terms``; returns the log."""
        loss = torch.stack(list(terms.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.finish(step, optimizer)
        return {"loss": loss.detach(), **{name: value.detach() for name, value in terms.items()}}

    def finish(self, step: Step, optimizer: torch.optim.Optimizer) -> None:
        """Average gradients over the ranks, clip, step."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        step.ranks.average_gradients(parameters)
        if clip := self.train.get("clip", 0.0):
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()

    def prepare(self, step: Step, freeze_at: int | None) -> None:
        """Training mode, with batch norms at rest from step ``freeze_at`` on."""
        self.shaken.draw = step.torch
        for module in self.modules.values():
            module.train()
            if freeze_at is not None and step.index >= freeze_at:
                freeze_norms(module)

    def method(self, ema: Mapping[str, Ema]) -> IdSwap:
        """The averaged networks behind the common interface."""
        raise BadRequest(f"{type(self).__name__} makes no method.")

    @torch.inference_mode()
    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray:
        """A sheet: identities above, attribute pictures on the left, swaps between."""
        method = self.method(ema)
        codes = method.encode(self.shown)
        cells = sheet(method, codes, codes)
        blank = torch.ones_like(self.shown[:1])
        rows = [torch.cat([blank, self.shown])]
        rows += [torch.cat([self.shown[i : i + 1], cells[i]]) for i in range(len(self.shown))]
        return to_uint8(torch.cat([torch.cat(list(row.cpu()), 2) for row in rows], 1))

    def header(self, kind: str, arch: Mapping[str, Any], steps: int, **more: Any) -> dict[str, Any]:
        """Header of a weights file."""
        about = self.body.get("about", {})
        return {"kind": kind, "arch": dict(arch), "steps": steps, **about, **more}


def adam(parameters: Iterable[nn.Parameter], rate: float, epsilon: float) -> torch.optim.Adam:
    """Adam as all published trainings use it."""
    return torch.optim.Adam(list(parameters), lr=rate, betas=(0.9, 0.999), eps=epsilon)


def adam_of(modules: Iterable[nn.Module], rate: float, rate_linear: float, epsilon: float) -> torch.optim.Adam:
    """Adam for ``modules``; what reads thumbnails and what enters w straight learns at ``rate_linear``.

    Those matrices hold the projector from the start, and act on thousands of numbers at once.
    """
    usual, slow = [], []
    for module in modules:
        for name, parameter in module.named_parameters():
            (slow if "linear." in name or name.startswith("skip.") else usual).append(parameter)
    groups = [{"params": part, "lr": r} for part, r in ((usual, rate), (slow, rate_linear)) if part]
    return torch.optim.Adam(groups, betas=(0.9, 0.999), eps=epsilon)


class NitzanTask(SwapTask):
    """Nitzan et al. 2020: attribute encoder and mapper, and a discriminator on W."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        super().__init__(body, faces, folder, device, ranks)
        self.config = c = configured(body["nitzan"], NITZAN_PRESETS)
        encoder, self.encoder_arch, width = swap_networks.attribute_encoder(body["encoder"], self.runs)
        with torch.no_grad():
            known = self.identity(self.shown[:1]).shape[1]
        self.attributes, self.codes = encoder.to(device), self.mapper(known, width)
        self.losses = NitzanLosses(c, self.attributes, self.codes, self.guides)
        self.modules = {"attributes": self.attributes, "mapper": self.codes}
        self.averaged = ("attributes", "mapper")
        if isinstance(encoder, CompactAttributes):
            self.start(encoder.head, self.codes, unit=False)
        self.go_on()
        linear = self.train.get("rate_linear", c.rate)
        self.optimizers = {"main": adam_of([self.attributes, self.codes], c.rate, linear, c.epsilon)}
        if c.adversarial:
            self.discriminator = WDiscriminator(self.body.get("discriminator", {}).get("widths", DISCRIMINATOR))
            self.modules["discriminator"] = self.discriminator.to(device)
            own = [*self.attributes.parameters(), *self.codes.mapper.parameters()]
            self.optimizers["adversarial"] = adam(own, c.rate_adversarial, c.epsilon)
            self.optimizers["discriminator"] = adam(self.discriminator.parameters(), c.rate_discriminator, c.epsilon)

    def step(self, step: Step) -> dict[str, float | Tensor]:
        c = self.config
        self.prepare(step, self.train.get("freeze_norm_at"))
        for optimizer in self.optimizers.values():
            set_rate(optimizer, self.rate(step))
        chance = float(step.numpy.random())
        if self.only_codes(step):
            pair = self.pair(step, self.train.get("codes_batch", c.batch), same=True)
            return self.descend(step, self.losses.codes_only(pair), self.optimizers["main"])
        cross = c.crosses(step.index, chance)
        made = self.losses(self.pair(step, c.batch, same=not cross), cross=cross)
        if c.fights(step.index):
            fooled, gradients = self.fool(step, made.w)
            log = self.descend(step, made.terms, self.optimizers["main"])
            self.apply(step, "adversarial", gradients)
            log |= {"fool": fooled, **self.judge(step, made.w.detach())}
        else:
            log = self.descend(step, made.terms, self.optimizers["main"])
        return {name: value / c.share(name) for name, value in log.items()}

    def fool(self, step: Step, w: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        """The generator's adversarial loss and its gradients, taken before the other step moves the weights they flow through."""
        self.discriminator.requires_grad_(False)
        loss = self.config.adversarial_weight * losses.fool(self.discriminator(w))
        self.discriminator.requires_grad_(True)
        parameters = self.parameters("adversarial")
        return loss.detach(), list(torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True))

    def parameters(self, optimizer: str) -> list[nn.Parameter]:
        """What an optimiser moves."""
        return [p for group in self.optimizers[optimizer].param_groups for p in group["params"]]

    def apply(self, step: Step, optimizer: str, gradients: list[Tensor | None]) -> None:
        """One step of ``optimizer`` with gradients known already."""
        for parameter, gradient in zip(self.parameters(optimizer), gradients, strict=True):
            parameter.grad = gradient
        self.finish(step, self.optimizers[optimizer])

    def judge(self, step: Step, fake: Tensor) -> dict[str, float | Tensor]:
        """One step of the discriminator, with the penalty on its slope at real w."""
        c, width = self.config, self.generator.style_dim
        # Row 0 is truncated in every layout: the discriminator sees what the mapper shall hit.
        seeds = step.numpy.integers(0, HELD_OUT, len(fake) * step.ranks.world)
        part = step.ranks.slice(len(seeds))
        z = torch.stack([torch.randn(width, generator=torch.Generator().manual_seed(int(s))) for s in seeds[part]])
        with torch.no_grad():
            w = self.generator.map(z.to(self.device))
        real = (self.mean + self.fly.psi * (w - self.mean)).requires_grad_()
        logit = self.discriminator(real)
        judged = c.adversarial_weight * losses.judge(logit, self.discriminator(fake))
        penalty = losses.r1(logit, real, c.r1)
        optimizer = self.optimizers["discriminator"]
        optimizer.zero_grad(set_to_none=True)
        (judged + penalty).backward()
        self.finish(step, optimizer)
        return {"judge": judged.detach(), "r1": penalty.detach()}

    def method(self, ema: Mapping[str, Ema]) -> IdSwap:
        mapper = ema["mapper"].module
        assert isinstance(mapper, CodeMapper)
        return NitzanSwap(self.generator, self.identity, ema["attributes"].module, mapper)

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """nitzan_attributes.safetensors and nitzan_mapper.safetensors, bound to generator and recogniser."""
        bound = {"generator": self.generator_id, "identity": self.identity_id}
        kind = "nitzan_attributes" if self.body["encoder"]["form"] == "compact" else "nitzan_inception"
        header = self.header(kind, self.encoder_arch, steps, **bound)
        encoder = container.save(
            folder / "nitzan_attributes.safetensors", ema["attributes"].module.state_dict(), header
        )
        header = self.header("nitzan_mapper", self.mapper_arch, steps, encoder=encoder, **bound)
        container.save(folder / "nitzan_mapper.safetensors", ema["mapper"].module.state_dict(), header)


class ZhouTask(SwapTask):
    """Zhou et al. 2023: two-headed encoder and mapper."""

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        super().__init__(body, faces, folder, device, ranks)
        self.config = c = configured(body["zhou"], ZHOU_PRESETS)
        encoder, self.encoder_arch, widths = swap_networks.swap_encoder(body["encoder"], self.runs)
        self.encoder, self.codes = encoder.to(device), self.mapper(*widths)
        self.losses = ZhouLosses(c, self.encoder, self.codes, self.guides)
        self.modules = {"encoder": self.encoder, "mapper": self.codes}
        self.averaged = ("encoder", "mapper")
        if isinstance(encoder, CompactSwapEncoder):
            self.start(encoder.attributes, self.codes, unit=True)
            if self.train.get("start_identity", False):
                if not isinstance(self.identity, IdentityNet):
                    raise BadRequest("'start_identity' needs the compact recogniser; name its file under [networks].")
                compact_recogniser(encoder, self.identity)
        self.go_on()
        linear = self.train.get("rate_linear", c.rate)
        self.optimizers = {"main": adam_of([self.encoder, self.codes], c.rate, linear, c.epsilon)}

    def step(self, step: Step) -> dict[str, float | Tensor]:
        c, optimizer = self.config, self.optimizers["main"]
        self.prepare(step, c.freeze_norm_at)
        set_rate(optimizer, self.rate(step))
        if self.only_codes(step):
            pair = self.pair(step, self.train.get("codes_batch", c.batch), same=True)
            return self.descend(step, self.losses.codes_only(pair), optimizer)
        made = self.losses(self.pair(step, c.batch, same=False), step.torch)
        return self.descend(step, made.terms, optimizer)

    def method(self, ema: Mapping[str, Ema]) -> IdSwap:
        mapper = ema["mapper"].module
        assert isinstance(mapper, CodeMapper)
        return ZhouSwap(self.generator, ema["encoder"].module, mapper)

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """zhou_encoder.safetensors and zhou_mapper.safetensors, bound to the generator."""
        bound = {"generator": self.generator_id, "identity": self.identity_id}
        kind = "zhou_encoder" if self.body["encoder"]["form"] == "compact" else "zhou_irse50"
        header = self.header(kind, self.encoder_arch, steps, **bound)
        encoder = container.save(folder / "zhou_encoder.safetensors", ema["encoder"].module.state_dict(), header)
        header = self.header("zhou_mapper", self.mapper_arch, steps, encoder=encoder, **bound)
        container.save(folder / "zhou_mapper.safetensors", ema["mapper"].module.state_dict(), header)
