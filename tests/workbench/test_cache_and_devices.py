"""The bounded cache and the device locks."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from workbench.cache import LRU
from workbench.devices import available, choose, lock
from workbench.errors import BadRequest, Cancelled


def test_the_least_used_value_goes_first() -> None:
    cache: LRU[int] = LRU(2)
    cache.get("a", lambda: 1)
    cache.get("b", lambda: 2)
    cache.get("a", lambda: 99)
    cache.get("c", lambda: 3)
    assert (cache.peek("a"), cache.peek("b"), cache.peek("c"), len(cache)) == (1, None, 3, 2)


def test_a_value_is_made_once() -> None:
    cache: LRU[list[int]] = LRU(4)
    made: list[int] = []
    for _ in range(3):
        cache.get("key", lambda: made.append(1) or [len(made)])
    assert made == [1]


def test_a_failed_value_is_not_kept() -> None:
    cache: LRU[int] = LRU(4)
    with pytest.raises(Cancelled):
        cache.get("key", _cancelled)
    assert cache.get("key", lambda: 5) == 5


def _cancelled() -> int:
    raise Cancelled("stopped")


def test_unknown_devices_are_refused_with_the_names_that_exist() -> None:
    with pytest.raises(BadRequest, match="cpu"):
        choose("toaster")
    if "cuda" not in available():
        with pytest.raises(BadRequest, match="not on this machine"):
            choose("cuda")
    assert choose("auto").type == available()[0]
    assert choose("cpu") == torch.device("cpu")


def test_two_threads_never_hold_one_device_at_once() -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(5):
            with lock(torch.device("cpu")):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1


def test_a_callback_runs_without_the_lock_and_the_lock_comes_back() -> None:
    device = torch.device("cpu")
    free: list[bool] = []

    def callback(value: int) -> int:
        def other() -> None:
            with lock(device):
                free.append(True)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=10)
        return value + 1

    with lock(device) as held:
        assert held.outside(callback)(1) == 2
        assert held._lock.locked()
    assert free == [True]
    assert not held._lock.locked()


def test_an_error_in_a_callback_leaves_the_lock_free() -> None:
    def stop() -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled), lock(torch.device("cpu")) as held:
        held.outside(stop)()
    with lock(torch.device("cpu")):
        pass
