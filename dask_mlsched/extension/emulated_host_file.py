"""The device without a GPU: a worker's data in two tiers, like dask-cuda's ``DeviceHostFile``.

Arrays enter the fast tier (the device). When it is over its limit, the least recently used leave
for the slow tier (the host), until it is within it again; reading an array that is there brings it
back. Each of these moves is a real copy that takes the time it would take on a bus of the given
bandwidth and latency, and blocks whoever asked, as dask-cuda's do. An array larger than the limit
is kept on the host, and each read copies it. All else, scalars or data frames, stays on the host.

Threads may share a store: ``zict.Buffer`` keeps an array in at least one tier at any moment.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING

import zict
from dask.sizeof import sizeof
from dask.typing import Key
from distributed.sizeof import safe_sizeof

from dask_mlsched.extension.device_copy import CopyEngine, is_array
from dask_mlsched.extension.quantities import parse_bandwidth, parse_duration, parse_size
from dask_mlsched.extension.sparse import register_sizeof

if TYPE_CHECKING:
    from dask_mlsched.extension.moves import TierStatistics


class EmulatedHostFile(MutableMapping[Key, object]):
    """A mapping of keys to values for ``distributed.Worker(data=...)``.

    Parameters
    ----------
    device_memory_limit
        Capacity of the device, in bytes or as a string (``"64MB"``).
    bandwidth
        Of copies between device and host, in bytes per second or as a string (``"1GB/s"``).
    latency
        Of each copy, in seconds or as a string (``"10us"``).

    Raises
    ------
    ValueError
        A parameter is not a quantity of its kind, or not above zero.

    Examples
    --------
    >>> import numpy as np
    >>> store = EmulatedHostFile(device_memory_limit=16, bandwidth="10GB/s", latency="1us")
    >>> store["a"], store["b"] = np.ones(1), np.ones(1)
    >>> store["c"] = np.ones(1)
    >>> list(store.device), list(store.host)
    (['b', 'c'], ['a'])
    """

    #: Arrays in both tiers; ``buffer.fast`` is the device.
    buffer: zict.Buffer[Key, object]
    #: What is not an array.
    others: dict[Key, object]

    def __init__(
        self,
        device_memory_limit: int | str,
        bandwidth: float | str,
        latency: float | str,
    ) -> None:
        # Here too: without an installation, only on the path, there is no entry point to do it.
        register_sizeof(sizeof)
        limit = parse_size("device_memory_limit", device_memory_limit)
        self._engine = CopyEngine(
            parse_bandwidth("bandwidth", bandwidth), parse_duration("latency", latency)
        )
        self._host = _HostTier(self._engine)
        self.buffer = zict.Buffer({}, self._host, limit, weight=_weight)
        self.others = {}

    @property
    def statistics(self) -> TierStatistics:
        """Every copy so far; the store's own count, which needs no adapter."""
        return self._engine.statistics

    @property
    def device(self) -> MutableMapping[Key, object]:
        """The arrays on the device, not to be changed. Reading one here moves nothing."""
        return self.buffer.fast.d

    @property
    def host(self) -> MutableMapping[Key, object]:
        """The arrays on the host, not to be changed. Reading one here moves nothing."""
        return self._host.arrays

    def __getitem__(self, key: Key) -> object:
        if key in self.others:
            return self.others[key]
        try:
            return self.buffer[key]
        except KeyError:
            # Another thread may have put a plain object in the array's place meanwhile.
            return self.others[key]

    def __setitem__(self, key: Key, value: object) -> None:
        # A key that changes kind is inserted before it is removed, so that it is never missing.
        if is_array(value):
            self.buffer[key] = value
            self.others.pop(key, None)
        else:
            self.others[key] = value
            self.buffer.discard(key)

    def __delitem__(self, key: Key) -> None:
        if key in self.others:
            del self.others[key]
        else:
            del self.buffer[key]

    def __contains__(self, key: object) -> bool:
        return key in self.others or key in self.buffer

    def __iter__(self) -> Iterator[Key]:
        return itertools.chain(self.buffer, self.others)

    def __len__(self) -> int:
        return len(self.buffer) + len(self.others)

    def __repr__(self) -> str:
        fast = self.buffer.fast
        return (
            f"<EmulatedHostFile: {fast.total_weight} of {fast.n} bytes in {len(fast)} arrays on "
            f"the device, {len(self.host)} arrays and {len(self.others)} other objects on the host>"
        )


class _HostTier(MutableMapping[Key, object]):
    """The slow tier: arrays are copied on their way in, and on their way out."""

    def __init__(self, engine: CopyEngine) -> None:
        self.arrays: dict[Key, object] = {}
        self._engine = engine

    def __getitem__(self, key: Key) -> object:
        return self._engine.copy(self.arrays[key], "load")

    def __setitem__(self, key: Key, value: object) -> None:
        self.arrays[key] = self._engine.copy(value, "evict")

    def __delitem__(self, key: Key) -> None:
        del self.arrays[key]

    def __contains__(self, key: object) -> bool:
        return key in self.arrays

    def __iter__(self) -> Iterator[Key]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def _weight(_key: Key, value: object) -> int:
    return safe_sizeof(value)
