"""The books of what is on a device: what is there, how full it is, and what leaves next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from dask.typing import Key

from dask_mlsched.extension.moves import Direction


class Array:
    """One array: its value while it is resident, and whether the host has a copy."""

    __slots__ = ("copied", "gone", "key", "moving", "nbytes", "number", "value", "wanted")

    def __init__(self, key: Key, number: int, value: object, nbytes: int) -> None:
        self.key = key
        #: Of its copy on the host. Of the array: one that takes its place has another.
        self.number = number
        self.nbytes = nbytes
        #: None while it is not resident.
        self.value: Any = value
        self.copied = False
        #: The direction in which a thread copies it now.
        self.moving: Direction | None = None
        #: Whether it was read while it was on its way out.
        self.wanted = False
        #: Whether it was deleted or replaced.
        self.gone = False


class ResidentArrays:
    """Arrays on a device, least recently used first; not for more than one thread at a time.

    Parameters
    ----------
    limit
        Bytes of the device.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: Least recently used first.
        self.arrays: dict[Key, Array] = {}
        #: Of `arrays`, now and at most so far.
        self.nbytes = 0
        self.peak = 0
        #: Bytes that are being loaded, and of arrays that are on their way out.
        self.reserved = 0
        self.leaving = 0
        #: How many tasks that run, and that come next, use an array.
        self.used: Counter[Key] = Counter()
        self.soon: Counter[Key] = Counter()
        #: What goes out first, in this order.
        self.victims: dict[Key, None] = {}

    def enter(self, array: Array) -> None:
        """Note that an array is resident now."""
        self.arrays[array.key] = array
        self.nbytes += array.nbytes
        self.peak = max(self.peak, self.nbytes)

    def exit(self, array: Array) -> None:
        """Note that it is not any more, and drop its value."""
        del self.arrays[array.key]
        self.victims.pop(array.key, None)
        self.nbytes -= array.nbytes
        array.value = None

    def touch(self, array: Array) -> None:
        """Note that it was read: whatever was said of it before, it leaves last."""
        self.arrays[array.key] = self.arrays.pop(array.key)
        self.victims.pop(array.key, None)
        array.wanted = True

    def excess(self) -> int:
        """Return the bytes that must go for all that is here or on its way; negative with room."""
        return self.nbytes + self.reserved - self.limit

    def victim(self, failed: Collection[Key], *, forced: bool) -> Array | None:
        """Find what leaves next: what was named, then what was used longest ago.

        Parameters
        ----------
        failed
            What would not go.
        forced
            Whether arrays may leave of tasks that come next, where nothing else can.

        Returns
        -------
        Array or None
            None if there is nothing but what running tasks use, or what is on its way.
        """
        for of_next in (False, True) if forced else (False,):
            for keys in (self.victims, self.arrays):
                for key in keys:
                    array = self.arrays[key]
                    if array.moving or key in failed or key in self.used:
                        continue
                    if (key in self.soon) == of_next:
                        return array
        return None
