"""What is resident on one device: the scheduler's prediction of a worker's store.

The worker's store keeps its arrays in a fast tier of limited size; reading an
array that is in the slow tier loads it, and whatever was used longest ago is
evicted until the fast tier is below its limit again (zict's LRU, as dask-cuda
and distributed use it). `Residency` plays the same rule on the scheduler, one
step ahead: the inputs of a task are touched when the task is sent off.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator


class Residency:
    """The fast tier of one worker, in eviction order.

    All methods that can change what is resident return the arrays that came in
    and those that went out, so that indexes can follow.

    Parameters
    ----------
    limit
        Capacity of the fast tier in bytes; None means without limit.
    """

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        #: Sum over `resident`, in bytes.
        self.resident_bytes = 0
        #: array -> bytes, least recently used first.
        self._resident: dict[int, int] = {}
        #: array -> bytes, what the worker holds in its slow tier.
        self._slow: dict[int, int] = {}
        #: Resident arrays that were in the slow tier before.
        self._clean: set[int] = set()
        #: Resident arrays that no task of the graph reads, as it was when they came; the oldest
        #: first.
        self.results: dict[int, None] = {}

    def __contains__(self, array: object) -> bool:
        """Tell whether the array is resident."""
        return array in self._resident

    def __iter__(self) -> Iterator[int]:
        """Iterate over the resident arrays, least recently used first."""
        return iter(self._resident)

    def __len__(self) -> int:
        """Count the resident arrays."""
        return len(self._resident)

    @property
    def all_resident(self) -> bool:
        """Whether the worker holds nothing in its slow tier."""
        return not self._slow

    @property
    def slow_bytes(self) -> int:
        """Bytes in the slow tier; adds them up."""
        return sum(self._slow.values())

    @property
    def clean_bytes(self) -> int:
        """Bytes of resident arrays that have been in the slow tier before; adds them up."""
        return sum(self._resident[array] for array in self._clean)

    def sizes(self) -> ItemsView[int, int]:
        """Return the resident arrays with their bytes, least recently used first."""
        return self._resident.items()

    def slow(self) -> list[int]:
        """List the arrays in the slow tier."""
        return list(self._slow)

    def held(self) -> list[int]:
        """List the arrays of both tiers."""
        return [*self._resident, *self._slow]

    def in_slow_tier(self, array: int) -> bool:
        """Tell whether the worker holds the array, but not in its fast tier."""
        return array in self._slow

    def is_clean(self, array: int) -> bool:
        """Tell whether a resident array has been in the slow tier before.

        Arrays never change, so a store that keeps the slow copy can drop the other one for free.
        """
        return array in self._clean

    def size(self, array: int) -> int:
        """Return the bytes of a resident array; 0 for any other."""
        return self._resident.get(array, 0)

    def note_result(self, array: int) -> None:
        """Note that no task reads an array, if it is resident."""
        if array in self._resident:
            self.results[array] = None

    def missing_bytes(self, arrays: Iterable[tuple[int, int]]) -> int:
        """Sum the bytes of those (array, bytes) that are not resident."""
        return sum(nbytes for array, nbytes in arrays if array not in self._resident)

    def touch(self, array: int, nbytes: int) -> tuple[list[int], list[int]]:
        """Read or insert an array: it becomes the most recently used one.

        An array larger than the limit stays in the slow tier, as it does in the store.
        """
        old = self._resident.pop(array, None)
        if old is not None:
            self._resident[array] = nbytes
            self.resident_bytes += nbytes - old
            return [], self._evict() if nbytes > old else []
        if self.limit is not None and nbytes > self.limit:
            self._slow[array] = nbytes
            return [], []
        if self._slow.pop(array, None) is not None:
            self._clean.add(array)
        self._resident[array] = nbytes
        self.resident_bytes += nbytes
        # Not among those evicted: it is the youngest and fits by itself.
        return [array], self._evict()

    def _evict(self) -> list[int]:
        evicted: list[int] = []
        if self.limit is None:
            return evicted
        while self.resident_bytes > self.limit and self._resident:
            array = next(iter(self._resident))
            self.evict(array)
            evicted.append(array)
        return evicted

    def set_limit(self, limit: int | None) -> list[int]:
        """Change the capacity; list what had to go out."""
        self.limit = limit
        return self._evict()

    def would_evict(self, nbytes: int) -> list[tuple[int, int]]:
        """List the (array, bytes) that would go out if `nbytes` more came in."""
        victims: list[tuple[int, int]] = []
        if self.limit is None:
            return victims
        excess = self.resident_bytes + nbytes - self.limit
        for array, size in self._resident.items():
            if excess <= 0:
                break
            victims.append((array, size))
            excess -= size
        return victims

    def resize(self, array: int, nbytes: int) -> list[int]:
        """Correct an array's size where it stands in the order; list what that evicted."""
        if array in self._slow:
            self._slow[array] = nbytes
            return []
        old = self._resident.get(array)
        if old is None:
            return self.touch(array, nbytes)[1]
        self._resident[array] = nbytes
        self.resident_bytes += nbytes - old
        return self._evict()

    def evict(self, array: int) -> bool:
        """Move an array to the slow tier; False if it was not resident."""
        nbytes = self._resident.pop(array, None)
        if nbytes is None:
            return False
        self.resident_bytes -= nbytes
        self._slow[array] = nbytes
        self._clean.discard(array)
        self.results.pop(array, None)
        return True

    def store_slow(self, array: int, nbytes: int) -> None:
        """Put an array that is in neither tier into the slow one."""
        assert array not in self._resident
        self._slow[array] = nbytes

    def discard(self, array: int) -> bool:
        """Forget an array in either tier; True if it was resident."""
        self._slow.pop(array, None)
        self._clean.discard(array)
        self.results.pop(array, None)
        nbytes = self._resident.pop(array, None)
        if nbytes is None:
            return False
        self.resident_bytes -= nbytes
        return True

    def replace(self, resident: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
        """Take over a worker's own list of (array, bytes), least recently used first."""
        new = dict(resident)
        gone = [array for array in self._resident if array not in new]
        came = [array for array in new if array not in self._resident]
        for array in gone:
            self._slow[array] = self._resident[array]
            self._clean.discard(array)
            self.results.pop(array, None)
        for array in came:
            if self._slow.pop(array, None) is not None:
                self._clean.add(array)
        self._resident = new
        self.resident_bytes = sum(new.values())
        return came, gone
