"""Train SDFlow's estimator and flow on the projector's codes of the training faces, in the shared loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data import container
from data.datasets import load_faces
from encoders.attributes import CELEBA_ATTRIBUTES
from encoders.compact import AttributeNet, CompactE4E, IdentityNet, resized
from idswap.guides import Shaken
from sdflow.estimator import SemanticEstimator
from sdflow.losses import kd_loss, row_precision, usual_directions
from sdflow.model import ConditionalFlow
from sdflow.train import SDFlowConfig, SDFlowTask, Usual
from stylegan2.generator import Generator
from training.attributes import jitter
from training.codes import all_codes, code_file
from training.distributed import Ranks
from training.ema import Ema
from training.files import find, load_network
from training.task import Step, set_rate
from workbench.errors import WrongSpace
from workbench.face import to_uint8


class SemanticTask:
    """Settings: [data]; [networks]; [estimator]; [flow]; [sdflow]; [train].

    [networks] names generator and projector, and where they are wanted the guides (``attributes``, ``identity``) and an
    ``estimator`` and a ``flow`` of the same shape to go on from.
    """

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        data, self.train, files = body["data"], body["train"], body["networks"]
        self.device, self.ranks, runs = device, ranks, folder.parent
        cache = data.get("cache", runs / "cache")
        self.generator, self.header = load_network(Generator, find(files["generator"], runs), device)
        projector, reader = load_network(CompactE4E, find(files["projector"], runs), device)
        if reader["generator"] != self.header["id"]:
            raise WrongSpace(f"'{files['projector']}' was made for another generator than '{files['generator']}'.")
        size = self.generator.size
        self.faces = load_faces([faces / z for z in data["zips"]], faces / data["labels"], size, cache)
        self.val = load_faces([faces / z for z in data["val_zips"]], faces / data["val_labels"], size, cache)
        self.mirrored = data["mirrored"]
        stored = code_file(cache, reader["id"], self.faces, self.mirrored)
        self.codes = all_codes(projector, self.faces, device, stored, mirrored=self.mirrored)
        stored = code_file(cache, reader["id"], self.val, False)
        self.val_codes = all_codes(projector, self.val, device, stored, mirrored=False)
        self.config = SDFlowConfig(**{**body["sdflow"], "attributes": tuple(body["sdflow"]["attributes"])})
        names = self.config.attributes
        self.columns = [CELEBA_ATTRIBUTES.index(a) for a in names]
        self.estimator_arch = {"attributes": len(names), **body["estimator"]}
        self.flow_arch = {"attributes": len(names), **body["flow"]}
        guides = {
            name: load_network(cls, find(files[name], runs), device)[0]
            for name, cls in (("attributes", AttributeNet), ("identity", IdentityNet))
            if name in files
        }
        self.view = Shaken() if self.train.get("shaken") else None
        self.core = SDFlowTask(
            self.config,
            SemanticEstimator(**self.estimator_arch).to(device),
            ConditionalFlow(**self.flow_arch).to(device),
            self.generator,
            classifier=guides.get("attributes"),
            embedder=guides.get("identity"),
            usual=self._usual() if self.config.natural else None,
            view=self.view,
        )
        for name, net in self.core.modules.items():
            if name in files:
                net.load_state_dict(container.load(find(files[name], runs))[0])
        self.modules, self.averaged = self.core.modules, ("estimator", "flow")
        groups = [
            {"params": list(self.core.estimator.parameters()), "lr": self.train["rate_estimator"]},
            {"params": list(self.core.flow.parameters()), "lr": self.train["rate_flow"]},
        ]
        self.optimizer = torch.optim.Adam(groups)
        self.optimizers = {"sdflow": self.optimizer}
        # Rare attributes are drawn more often: half of a batch holds a random attribute's rarer side.
        self.rarer = []
        for column in self.columns:
            on = np.flatnonzero(self.faces.labels[:, column])
            off = np.flatnonzero(self.faces.labels[:, column] == 0)
            self.rarer.append(on if len(on) < len(off) else off)

    def _usual(self) -> Usual:
        """How the training codes differ; a face's mean row stands for it, because its rows differ little."""
        rows = torch.from_numpy(self.codes[: len(self.faces)].mean(1, dtype=np.float32))
        labels = torch.from_numpy(self.faces.labels[:, self.columns])
        return Usual(row_precision(rows).to(self.device), usual_directions(rows, labels).to(self.device))

    def step(self, step: Step) -> dict[str, float | Tensor]:
        set_rate(self.optimizer, step.cosine(warmup=50, floor=0.02))
        count = self.train["batch"]
        index = step.numpy.integers(0, len(self.faces), count)
        for place in range(0, count, 2):
            rare = self.rarer[step.numpy.integers(len(self.rarer))]
            index[place] = rare[step.numpy.integers(len(rare))]
        flip = (step.numpy.random(count) < 0.5) & self.mirrored
        draw = torch.Generator().manual_seed(int(step.numpy.integers(2**62)))
        if self.view is not None:
            self.view.draw.manual_seed(int(step.numpy.integers(2**62)))
        draws = self.core.draw((count, *self.codes.shape[1:]), draw)
        part = step.ranks.slice(count)
        rows = index + flip * len(self.faces)
        small = self.core.estimator.input_size
        images = resized(self.faces.batch(index[part], flip[part], self.device), small)
        batch = {
            "image": jitter(images, step.numpy),
            "code": torch.from_numpy(self.codes[rows[part]].astype(np.float32)).to(self.device),
            "labels": torch.from_numpy(self.faces.labels[index[part]].astype(np.float32)).to(self.device),
        }
        mine = draws.part(part) if step.ranks.world > 1 else draws
        loss, logs = self.core.loss(batch, step.index, mine)
        loss = loss + self.more_reading(step)
        clip = self.train.get("clip", 0.0)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        step.ranks.average_gradients(self.core.parameters())
        if clip:
            torch.nn.utils.clip_grad_norm_(list(self.core.parameters()), clip)
        self.optimizer.step()
        # Losses on pictures are there only on rendered steps; the log shows their mean over those.
        scale: dict[str, int] = dict.fromkeys(("mi", "attr", "keep", "identity"), self.config.render_every)
        return {name: value * scale.get(name, 1) for name, value in logs.items()}

    def more_reading(self, step: Step) -> Tensor:
        """The paper's estimator loss on ``extra`` further photos: they are cheap, and the flow leans on what it reads."""
        count = self.train.get("extra", 0)
        if not count:
            return torch.zeros((), device=self.device)
        index = step.numpy.integers(0, len(self.faces), count)
        flip = step.numpy.random(count) < 0.5
        part = step.ranks.slice(count)
        images = resized(self.faces.batch(index[part], flip[part], self.device), self.core.estimator.input_size)
        labels = torch.from_numpy(self.faces.labels[index[part]][:, self.columns].astype(np.float32)).to(self.device)
        return self.config.kd * kd_loss(self.core.estimator(jitter(images, step.numpy)), labels)

    @torch.inference_mode()
    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray:
        """Eight validation faces: photo, projection, then each attribute flipped towards its other side."""
        estimator, flow = ema["estimator"].module, ema["flow"].module
        index = np.arange(20, 28)
        photo = self.val.batch(index, device=self.device)
        codes = torch.from_numpy(self.val_codes[index].astype(np.float32)).to(self.device)
        rows = [photo, self.render(codes)]
        read = estimator(photo)
        there = flow(codes, read)
        for column in range(len(self.columns)):
            target = read.clone()
            target[:, column] = torch.where(read[:, column] > 0.5, -0.2, 1.2)
            rows.append(self.render(flow(there.x, target, reverse=True).x))
        return to_uint8(torch.cat([torch.cat(list(r.cpu()), 2) for r in rows], 1))

    def render(self, codes: Tensor) -> Tensor:
        """Pictures of ``codes``."""
        return self.generator.synthesis(codes)

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """sdflow_estimator.safetensors and sdflow_flow.safetensors, bound to the generator."""
        names = list(self.config.attributes)
        held = torch.from_numpy(self.val.labels[:, self.columns].astype(np.float32))
        with torch.inference_mode():
            net = ema["estimator"].module
            reads = [
                net(self.val.batch(np.arange(i, min(i + 100, len(self.val))), device=self.device))
                for i in range(0, len(self.val), 100)
            ]
        accuracy = ((torch.cat(reads).cpu() > 0.5) == (held > 0.5)).float().mean(0).tolist()
        common = {
            "attributes": names,
            "generator": self.header["id"],
            "steps": steps,
            "data": "CelebA-HQ, CelebA's training partition; non-commercial research",
        }
        header = {
            **common,
            "kind": "sdflow_estimator",
            "arch": self.estimator_arch,
            "accuracy": [round(a, 4) for a in accuracy],
        }
        container.save(folder / "sdflow_estimator.safetensors", ema["estimator"].module.state_dict(), header)
        header = {**common, "kind": "sdflow_flow", "arch": self.flow_arch}
        container.save(folder / "sdflow_flow.safetensors", ema["flow"].module.state_dict(), header)
