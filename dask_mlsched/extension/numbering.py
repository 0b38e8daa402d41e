"""Numbers for keys, workers and prefixes: the core knows only integers."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, ItemsView
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Numbering(Generic[K]):
    """Gives each key a small integer, and gives freed ones out again, smallest first."""

    def __init__(self) -> None:
        self._numbers: dict[K, int] = {}
        self._keys: list[K | None] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        """Count the keys that have a number."""
        return len(self._numbers)

    def get(self, key: K) -> int | None:
        """Return the key's number; None if it has none."""
        return self._numbers.get(key)

    def add(self, key: K) -> int:
        """Return the key's number, a new one if need be."""
        number = self._numbers.get(key)
        if number is None:
            if self._free:
                number = heapq.heappop(self._free)
                self._keys[number] = key
            else:
                number = len(self._keys)
                self._keys.append(key)
            self._numbers[key] = number
        return number

    def key(self, number: int) -> K:
        """Return the key that has the number."""
        key = self._keys[number]
        assert key is not None, number
        return key

    def free(self, key: K) -> None:
        """Take the key's number back."""
        number = self._numbers.pop(key)
        self._keys[number] = None
        heapq.heappush(self._free, number)

    def keys(self) -> list[K]:
        """List the keys that have a number."""
        return list(self._numbers)

    def items(self) -> ItemsView[K, int]:
        """Show the keys and their numbers."""
        return self._numbers.items()
