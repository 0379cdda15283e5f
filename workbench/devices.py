"""Which device the networks run on, and one lock for each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from workbench.errors import BadRequest

Params = ParamSpec("Params")
Value = TypeVar("Value")


def available() -> tuple[str, ...]:
    """Names of the devices of this machine, the fastest first; "cpu" is always there."""
    names = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    return (*names, "cpu")


def choose(name: str) -> torch.device:
    """The device called ``name``; "auto" takes the fastest. Raises BadRequest when it is not on this machine."""
    if name == "auto":
        return torch.device(available()[0])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadRequest(f"There is no device called '{name}'; use auto, {', '.join(available())}.") from error
    known = device.type in available()
    if not known or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise BadRequest(f"The device '{name}' is not on this machine; use auto or {', '.join(available())}.")
    return device


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def dtype_of(precision: str) -> torch.dtype:
    """The dtype called ``precision``. Raises BadRequest with the names that exist."""
    if precision not in PRECISIONS:
        raise BadRequest(f"There is no precision '{precision}'; there are: {', '.join(PRECISIONS)}.")
    return PRECISIONS[precision]


@dataclass(frozen=True)
class Held:
    """A device lock that is being held."""

    _lock: threading.Lock

    def outside(self, callback: Callable[Params, Value]) -> Callable[Params, Value]:
        """``callback`` wrapped so that it runs without the lock: a user interface may stop or block in there."""

        def call(*args: Params.args, **kwargs: Params.kwargs) -> Value:
            self._lock.release()
            try:
                return callback(*args, **kwargs)
            finally:
                self._lock.acquire()

        return call


class DeviceLocks:
    """One lock per device: two threads never run a network on the same device at once."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    @contextmanager
    def __call__(self, device: torch.device) -> Iterator[Held]:
        """Hold the lock of ``device``. It is not re-entrant."""
        with self._guard:
            found = self._locks.setdefault(f"{device.type}:{device.index or 0}", threading.Lock())
        with found:
            yield Held(found)


lock = DeviceLocks()


def plain(tensor: Tensor) -> Tensor:
    """``tensor`` on the CPU, and usable where gradients are taken: tensors made in inference mode are not."""
    tensor = tensor.detach().float().cpu()
    return tensor.clone() if tensor.is_inference() else tensor
