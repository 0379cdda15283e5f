"""A bounded cache that threads can share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LRU(Generic[Value]):
    """Keeps the ``capacity`` values used last. ``get`` computes outside the lock, so a slow value blocks nobody."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: OrderedDict[object, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._items.clear()

    def peek(self, key: object) -> Value | None:
        """The value of ``key`` if it is there; it counts as used."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        return None

    def get(self, key: object, make: Callable[[], Value]) -> Value:
        """The value of ``key``, made by ``make`` when it is not there. Two threads may both make it; one stays."""
        found = self.peek(key)
        if found is not None:
            return found
        value = make()
        with self._lock:
            value = self._items.setdefault(key, value)
            self._items.move_to_end(key)
            while len(self._items) > self._capacity:
                self._items.popitem(last=False)
        return value
