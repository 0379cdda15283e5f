"""Generate faces with their w for the swapping methods: seeded per index, resumable, by several workers and ranks."""

from __future__ import annotations

import io
import multiprocessing
import os
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from data.swap_layouts import LAYOUTS
from data.swap_sets import ABOUT, BLOCK, block_file, png, read_about, write, write_about, write_block
from stylegan2.generator import Generator
from workbench.errors import BadRequest, FacetError
from workbench.export import check_place
from workbench.face import to_uint8
from workbench.manifest import open_family
from workbench.weights import Store

SHARD = "shard"


@dataclass(frozen=True)
class Job:
    """What to make. ``truncation`` None: the layout's own (0.7 of rows 0 to 7 for Nitzan, 0.5 of all rows else)."""

    out: Path
    layout: str = "nitzan"
    count: int = 70_000
    seed: int = 0
    truncation: float | None = None
    batch: int = 8
    family: str = "starter"
    manifest: str | None = None
    device: str = "cpu"

    @property
    def psi(self) -> float:
        """Truncation in use."""
        published = LAYOUTS[self.layout].truncation if self.layout in LAYOUTS else 0.7
        return published if self.truncation is None else self.truncation

    @property
    def truncated_rows(self) -> int | None:
        """How many rows it applies to, None for all."""
        return LAYOUTS[self.layout].truncated_rows if self.layout in LAYOUTS else None


@dataclass(frozen=True)
class Progress:
    """Of one worker since its start: pictures made, pictures found already there, bytes written, and in what time."""

    made: int
    there: int
    bytes: int
    seconds: float = 0.0


def draw_z(seed: int, index: int, width: int) -> Tensor:
    """z (width,) of picture ``index``: it depends on the two numbers alone, not on who makes the picture."""
    return torch.from_numpy(np.random.default_rng([seed, index]).standard_normal(width, dtype=np.float32))


def codes_of(generator: Generator, z: Tensor, center: Tensor, psi: float, rows: int | None) -> Tensor:
    """W+ codes (B,L,D) of ``z`` (B,D), truncated by ``psi`` towards ``center`` on the first ``rows`` rows (None: all)."""
    some = None if rows is None else range(min(rows, generator.n_latent))
    return generator.codes(z, truncation=psi, center=center, truncate_rows=some)


class Maker:
    """One worker's networks and its share of the units (batches, or blocks of a shard)."""

    def __init__(self, job: Job) -> None:
        self.job = job
        store = Store(open_family(job.family, job.manifest), torch.device(job.device))
        self.generator, self.center = store.generator(), store.latent_avg()[0]
        self.id = store.generator_id

    def about(self) -> dict[str, Any]:
        """What makes the pictures what they are."""
        job = self.job
        return {
            "layout": job.layout,
            "seed": job.seed,
            "truncation": job.psi,
            "truncated_rows": job.truncated_rows,
            "generator": self.id,
            "size": self.generator.size,
            "noise": "registered",
            "batch": job.batch,
        }

    @torch.inference_mode()
    def render(self, indices: range) -> tuple[np.ndarray, list[bytes]]:
        """Codes (n,L,D) float32 and PNGs."""
        z = torch.stack([draw_z(self.job.seed, i, self.generator.style_dim) for i in indices]).to(self.job.device)
        codes = codes_of(self.generator, z, self.center, self.job.psi, self.job.truncated_rows)
        return codes.cpu().numpy(), [png(to_uint8(image)) for image in self.generator.synthesis(codes)]

    def folders(self, part: int, parts: int) -> Iterator[Progress]:
        """Make this share of a published layout; a batch is made anew unless all its files are there."""
        job, layout, size = self.job, LAYOUTS[self.job.layout], self.generator.size
        for start in list(range(0, job.count, job.batch))[part::parts]:
            these = range(start, min(start + job.batch, job.count))
            names = [[layout.w_of(i, size), *layout.images_of(i, size, job.count)] for i in these]
            if all((job.out / name).is_file() for places in names for name in places):
                yield Progress(0, len(these), 0)
                continue
            codes, pictures = self.render(these)
            size_sum = 0
            for i, code, picture in zip(these, codes, pictures, strict=True):
                for place in layout.images_of(i, size, job.count):
                    write(job.out / place, picture)
                    size_sum += len(picture)
                data = npy(code if layout.broadcast else code[0])
                # The w comes last: a reader counts by it.
                write(job.out / layout.w_of(i, size), data)
                size_sum += len(data)
            yield Progress(len(these), 0, size_sum)

    def shard(self, part: int, parts: int) -> Iterator[Progress]:
        """Make this share of a shard's blocks."""
        job = self.job
        for block in list(range(-(-job.count // BLOCK)))[part::parts]:
            these = range(block * BLOCK, min((block + 1) * BLOCK, job.count))
            if block_file(job.out, block).is_file() and self.complete(block, len(these)):
                yield Progress(0, len(these), 0)
                continue
            rows, pictures = [], []
            for start in range(these.start, these.stop, job.batch):
                codes, some = self.render(range(start, min(start + job.batch, these.stop)))
                rows.append(codes[:, 0])
                pictures += some
                yield Progress(len(some), 0, 0)
            yield Progress(0, 0, write_block(job.out, block, np.concatenate(rows), pictures))

    def complete(self, block: int, wanted: int) -> bool:
        """Whether the block's file holds all rows (a smaller set may have ended inside it)."""
        with safe_open(str(block_file(self.job.out, block)), framework="np") as file:
            return file.get_slice("w").get_shape()[0] == wanted

    def run(self, part: int, parts: int) -> Iterator[Progress]:
        """Make the share ``part`` of ``parts``."""
        return self.shard(part, parts) if self.job.layout == SHARD else self.folders(part, parts)


def npy(array: np.ndarray) -> bytes:
    """``array`` as the bytes of an .npy file, float32."""
    buffer = io.BytesIO()
    np.save(buffer, array.astype(np.float32), allow_pickle=False)
    return buffer.getvalue()


def check(job: Job, maker: Maker) -> None:
    """Refuse settings that cannot be, and a folder that holds another set. Raises BadRequest."""
    if job.layout != SHARD and job.layout not in LAYOUTS:
        raise BadRequest(f"There is no layout '{job.layout}'; there are: {', '.join([*LAYOUTS, SHARD])}.")
    if job.count < 1 or job.batch < 1:
        raise BadRequest(f"A data set needs at least one picture and one per batch, not {job.count} and {job.batch}.")
    if not 0 <= job.psi <= 2:
        raise BadRequest(f"The truncation lies between 0 and 2 (1 is none), and {job.psi:g} was asked for.")
    if job.out.is_file():
        raise BadRequest(f"--out '{job.out}' is a file, and a data set needs a folder; name a folder.")
    check_place(job.out / ABOUT)
    mirrored = job.layout in LAYOUTS and LAYOUTS[job.layout].mirrored
    old = read_about(job.out)
    about = maker.about()
    if old is not None:
        kept = {name: old.get(name) for name in about}
        if kept != about or (mirrored and old.get("count") != job.count):
            other = [f"{n} {kept[n]}" for n in about if kept[n] != about[n]]
            other += [f"count {old.get('count')}"] if mirrored and old.get("count") != job.count else []
            raise BadRequest(
                f"'{job.out}' holds a data set of other settings ({', '.join(other)}); continue with those or name another "
                "folder."
            )
    elif job.out.is_dir() and any(path.suffix != ".part" for path in job.out.iterdir()):
        raise BadRequest(f"'{job.out}' is not empty and says nothing of a data set; name another folder.")


def _worker(job: Job, part: int, parts: int, threads: int, out: Any) -> None:
    torch.set_num_threads(threads)
    try:
        for step in Maker(job).run(part, parts):
            out.put(step)
        out.put(None)
    except FacetError as error:
        out.put(str(error))


def make(job: Job, *, workers: int = 1, say: Callable[[str], None] = print) -> Progress:
    """Make the set; under torchrun every rank makes its share, each with ``workers`` processes. Returns the totals of this rank.

    Raises BadRequest and CannotWrite.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    maker = Maker(job)
    check(job, maker)
    if workers < 1:
        raise BadRequest(f"A data set needs at least one worker, not {workers}.")
    if rank == 0:
        write_about(job.out, {**maker.about(), "count": job.count})
    started, told = time.monotonic(), time.monotonic()
    made = there = written = 0

    def line() -> str:
        rate = made / max(1e-9, time.monotonic() - started)
        share = f"rank {rank} of {world}: " if world > 1 else ""
        return f"{share}{made + there} pictures there, {made} made, {written:,} bytes written, {rate:.1f} images/s"

    for step in maker.run(rank, world) if workers == 1 else _spawn(job, rank, world, workers):
        made, there, written = made + step.made, there + step.there, written + step.bytes
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(line())
    say(line())
    return Progress(made, there, written, time.monotonic() - started)


def _spawn(job: Job, rank: int, world: int, workers: int) -> Iterator[Progress]:
    context = multiprocessing.get_context("spawn")
    steps: Any = context.Queue()
    threads = max(1, torch.get_num_threads() // workers)
    running = [
        context.Process(target=_worker, args=(job, rank * workers + k, world * workers, threads, steps), daemon=True)
        for k in range(workers)
    ]
    for process in running:
        process.start()
    left = workers
    try:
        while left:
            try:
                step = steps.get(timeout=5)
            except queue.Empty:
                if not any(process.is_alive() for process in running):
                    raise BadRequest(
                        "A worker ended before its work was done; start again with fewer workers."
                    ) from None
                continue
            if step is None:
                left -= 1
            elif isinstance(step, str):
                raise BadRequest(step)
            else:
                yield step
    finally:
        for process in running:
            process.join(timeout=5) if left == 0 else process.terminate()
