"""Give an autoencoder's W a mapping network: learn how its codes are distributed, then map noise onto them.

A rectified flow (Liu et al., arXiv 2209.03003) between N(0, I) and the codes of the training faces is learned by flow
matching; its pairs (z, w) then teach StyleGAN2's eight-layer mapping network by regression. Sampling, truncation and style
mixing work as in any StyleGAN2 afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data import container
from data.datasets import FaceSet, load_faces
from encoders.compact import CompactE4E
from stylegan2.generator import Generator
from training.distributed import Ranks
from training.ema import Ema
from training.task import Step, set_rate
from workbench.face import to_uint8


class Velocity(nn.Module):
    """Velocity (B,D) at position x (B,D) and time t (B,) in [0, 1]."""

    def __init__(self, dim: int, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, width)
        self.time = nn.Linear(32, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(depth)
        )
        self.last = nn.Linear(width, dim)
        self.register_buffer("frequencies", torch.exp(torch.linspace(0, math.log(100), 16)), persistent=False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        phase = t[:, None] * self.get_buffer("frequencies")
        hidden = self.first(x) + self.time(torch.cat([phase.sin(), phase.cos()], 1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.last(F.silu(hidden))


@torch.inference_mode()
def base_codes(projector: CompactE4E, faces: FaceSet, device: str) -> Tensor:
    """Base codes (2N,D) of all faces and their mirror images."""
    rows = []
    for mirrored in (False, True):
        for at in range(0, len(faces), 128):
            index = np.arange(at, min(at + 128, len(faces)))
            rows.append(projector(faces.batch(index, np.full(len(index), mirrored), device))[:, 0])
    return torch.cat(rows).clone()


class MappingTask:
    """Settings: [data]; autoencoder (run folder name); [train] batch, rate, width, depth, flow_share, solver_steps.

    The first ``flow_share`` of the steps learns the flow, the rest the mapping network.
    """

    def __init__(self, body: Mapping[str, Any], faces: Path, folder: Path, device: str, ranks: Ranks) -> None:
        data, self.train = body["data"], body["train"]
        source = folder.parent / body["autoencoder"]
        state, self.header = container.load(source / "generator.safetensors")
        self.center = state.pop("latent_avg")
        self.generator = Generator(**self.header["arch"])
        self.generator.load_state_dict(state)
        self.generator.to(device).requires_grad_(False)
        self.mapping = self.generator.style.requires_grad_(True)
        self.projector_state, self.projector_header = container.load(source / "projector.safetensors")
        projector = CompactE4E(**self.projector_header["arch"])
        projector.load_state_dict(self.projector_state)
        faces_set = load_faces(
            [faces / z for z in data["zips"]],
            faces / data["labels"],
            self.generator.size,
            data.get("cache", folder.parent / "cache"),
        )
        codes = base_codes(projector.to(device).eval(), faces_set, device)
        self.mean = codes.mean(0)
        # Rotating into principal axes makes every direction of the codes one standard normal number.
        values, axes = torch.linalg.eigh((codes - self.mean).t() @ (codes - self.mean) / len(codes))
        self.turn = axes * values.clamp(min=1e-6).rsqrt()
        self.back = (axes * values.clamp(min=1e-6).sqrt()).t()
        self.codes = (codes - self.mean) @ self.turn
        self.flow = Velocity(codes.shape[1], self.train["width"], self.train["depth"]).to(device)
        self.modules = {"flow": self.flow, "mapping": self.mapping}
        self.averaged = ("flow", "mapping")
        self.flow_optimizer = torch.optim.Adam(self.flow.parameters(), lr=self.train["rate"])
        self.map_optimizer = torch.optim.Adam(self.mapping.parameters(), lr=self.train["rate"], betas=(0.9, 0.99))
        self.optimizers = {"flow": self.flow_optimizer, "mapping": self.map_optimizer}
        self.device, self.ranks = device, ranks
        self.pairs: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def transport(self, z: Tensor) -> Tensor:
        """Carry z (B,D) to standardised codes along the flow (midpoint steps)."""
        x, steps = z.clone(), self.train["solver_steps"]
        for i in range(steps):
            t = torch.full((len(x),), i / steps, device=x.device)
            half = x + self.flow(x, t) / (2 * steps)
            x = x + self.flow(half, t + 0.5 / steps) / steps
        return x

    def draw_pairs(self) -> tuple[Tensor, Tensor]:
        """The regression's table: normalised z and codes w, drawn once (a resumed run draws the same)."""
        draw = torch.Generator().manual_seed(11)
        z = torch.randn(self.train["pairs"], self.codes.shape[1], generator=draw).to(self.device)
        w = torch.cat([self.transport(part) for part in z.split(2048)])
        return z, w @ self.back + self.mean

    def step(self, step: Step) -> dict[str, float | Tensor]:
        turn = int(step.total * self.train["flow_share"])
        count = self.train["batch"]
        part = step.ranks.slice(count)
        if step.index < turn:
            set_rate(self.flow_optimizer, 0.5 * (1 + math.cos(math.pi * step.index / turn)) + 0.01)
            index = torch.from_numpy(step.numpy.integers(0, len(self.codes), count)[part])
            goal = self.codes[index]
            start = torch.from_numpy(step.numpy.standard_normal((count, goal.shape[1]), np.float32)[part]).to(
                self.device
            )
            t = torch.from_numpy(step.numpy.random(count, np.float32)[part]).to(self.device)
            here = torch.lerp(start, goal, t[:, None])
            loss = F.mse_loss(self.flow(here, t), goal - start)
            step.apply(loss, self.flow_optimizer)
            return {"flow": loss}
        self.pairs = self.pairs or self.draw_pairs()
        set_rate(self.map_optimizer, 0.5 * (1 + math.cos(math.pi * (step.index - turn) / (step.total - turn))) + 0.01)
        index = torch.from_numpy(step.numpy.integers(0, len(self.pairs[0]), count)[part])
        loss = F.mse_loss(self.mapping(self.pairs[0][index]), self.pairs[1][index])
        step.apply(loss, self.map_optimizer)
        return {"mapping": loss}

    @torch.inference_mode()
    def grid(self, ema: Mapping[str, Ema]) -> np.ndarray:
        """Faces from the flow (top two rows) and from the mapping network (bottom two rows), truncation 0.8."""
        z = torch.randn(20, self.codes.shape[1], generator=torch.Generator().manual_seed(7)).to(self.device)
        flow = self.transport(z) @ self.back + self.mean
        mapped = ema["mapping"].module(z)
        rows = []
        for codes in (flow[:10], flow[10:], mapped[:10], mapped[10:]):
            codes = self.mean + 0.8 * (codes - self.mean)
            image = self.generator.synthesis(codes[:, None].expand(-1, self.generator.n_latent, -1))
            assert isinstance(image, Tensor)
            rows.append(torch.cat(list(image), 2))
        return to_uint8(torch.cat(rows, 1))

    def export(self, ema: Mapping[str, Ema], folder: Path, steps: int) -> None:
        """generator.safetensors with the mapping network, and projector.safetensors bound to its new id."""
        averaged = {f"style.{k}": v for k, v in ema["mapping"].module.state_dict().items()}
        state = {**self.generator.state_dict(), **averaged, "latent_avg": self.mean}
        header = {k: v for k, v in self.header.items() if k != "id"} | {"mapping_steps": steps}
        identity = container.save(folder / "generator.safetensors", state, header)
        header = {k: v for k, v in self.projector_header.items() if k != "id"} | {"generator": identity}
        container.save(folder / "projector.safetensors", self.projector_state, header)
