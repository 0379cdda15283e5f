"""The fast form of synthesis against the reference form and against its bare convolutions, on CPU in one run."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.memory import peak_mib
from stylegan2.generator import Generator

REPEATS = 5
SIZES = (256, 1024)
FORMS = ("reference", "fast")


def network(size: int) -> tuple[Generator, Tensor]:
    """The published channel table with random weights, noise strengths and biases that matter, and one code."""
    torch.manual_seed(0)
    generator = Generator(size).eval().requires_grad_(False)
    for name, value in generator.named_parameters():
        if name.endswith(("noise.weight", "activate.bias")):
            value.copy_(0.1 * torch.randn_like(value))
    return generator, torch.randn(1, generator.n_latent, generator.style_dim)


def bare_shapes(generator: Generator) -> list[tuple[Tensor, int, bool]]:
    """Kernel (O,I,k,k), side of its input and whether it doubles the size, for each convolution of one picture."""
    return [(layer.weight[0].detach(), side, layer.up) for layer, side in generator.convolutions()]


def bare_convolutions(generator: Generator) -> Callable[[], None]:
    """All convolutions of one picture and nothing else: the same shapes through conv2d and conv_transpose2d."""
    last = torch.channels_last
    jobs: list[tuple[Tensor, Tensor, bool]] = []
    for kernel, side, up in bare_shapes(generator):
        x = torch.randn(1, kernel.shape[1], side, side).contiguous(memory_format=last)
        jobs.append((x, (kernel.transpose(0, 1) if up else kernel).contiguous(memory_format=last), up))

    def work() -> None:
        for x, weight, up in jobs:
            if up:
                F.conv_transpose2d(x, weight, stride=2)
            else:
                F.conv2d(x, weight, padding=weight.shape[2] // 2)

    return work


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _render(generator: Generator, code: Tensor, form: str, precision: torch.dtype = torch.float32) -> Tensor:
    generator.set_form("reference" if form == "reference" else "fast").set_precision(precision)
    return generator.synthesis(code)


def _measure(size: int, repeats: int, bf16: bool) -> dict[str, Any]:
    generator, code = network(size)
    generator.prepare()
    jobs: dict[str, Callable[[], object]] = {
        "reference": lambda: _render(generator, code, "reference"),
        "fast": lambda: _render(generator, code, "fast"),
        "bare": bare_convolutions(generator),
    }
    reference = _render(generator, code, "reference")
    jobs["bare"]()

    def apart(image: Tensor) -> float:
        return float(f"{float((image - reference).norm() / reference.norm()):.3g}")

    error = apart(_render(generator, code, "fast"))
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, work in jobs.items():
            times[name].append(_seconds(work))
    medians = {name: statistics.median(values) for name, values in times.items()}
    result: dict[str, Any] = {
        f"ratio_{size}": round(medians["reference"] / medians["fast"], 3),
        f"floor_{size}": round(medians["fast"] / medians["bare"], 3),
        f"error_{size}": error,
    }
    result |= {f"{name}_ms_{size}": round(1000 * value, 1) for name, value in medians.items()}
    if not bf16:
        return result | {f"bf16_ms_{size}": None, f"bf16_error_{size}": None}
    started = time.perf_counter()
    image = _render(generator, code, "fast", torch.bfloat16)
    elapsed = time.perf_counter() - started
    return result | {f"bf16_ms_{size}": round(1000 * elapsed, 1), f"bf16_error_{size}": apart(image)}


def peak_of_one(form: str, size: int) -> float:
    """Largest memory in MiB of this process after rendering one picture; call it in a fresh process."""
    generator, code = network(size)
    with torch.no_grad():
        _render(generator, code, form)
    return peak_mib()


def _peak_elsewhere(form: str, size: int) -> float:
    code = f"from evaluation.bench_synthesis import peak_of_one; print(peak_of_one({form!r}, {size}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@torch.no_grad()
def run(repeats: int = REPEATS, *, sizes: Sequence[int] = SIZES, peak: bool = True) -> dict[str, Any]:
    """Medians of ``repeats`` pictures per form, taken in turns, with the published channel table.

    ``ratio_S``: reference over fast form at S pixels. ``floor_S``: fast form over its bare convolutions. ``error_S``:
    relative distance of the fast picture from the reference one. ``*_ms_S``: milliseconds; ``bf16`` is one picture with
    bfloat16 convolutions, left out (None) where the size before it took over three times its float32 time, as it does
    on processors without bfloat16 instructions. ``peak_mib_*_S``: peak memory of a fresh process that renders one
    picture, PyTorch included.
    """
    result: dict[str, Any] = {"repeats": repeats, "threads": torch.get_num_threads(), "torch": torch.__version__}
    bf16 = True
    for size in sizes:
        result |= _measure(size, repeats, bf16)
        bf16 = bf16 and result[f"bf16_ms_{size}"] < 3 * result[f"fast_ms_{size}"]
        if peak:
            result |= {f"peak_mib_{form}_{size}": _peak_elsewhere(form, size) for form in FORMS}
    return result
