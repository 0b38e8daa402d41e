"""A worker's data on a device, on the host and on disk, with nothing copied that need not be.

Arrays enter the device. When it is over its limit, some leave for the host: first those that a hint
named, then what was used longest ago. Unlike the stores of distributed and dask-cuda, this one

- keeps the host's copy of an array that was loaded, while there is room, so that the array can
  leave the device again for free: Dask's data never changes (but see `check_writes`);
- never evicts what a task uses that runs, where it is told of tasks (`begin`, `end`);
- loads ahead: a thread copies in what the next task reads while others compute (`expect`), and
  makes the room that an output has taken;
- blocks only those who wait for the very array that is being copied.

An array larger than the device stays on the host, and each read copies it. What is not an array of
the device stays on the host as it is. Beyond `host_memory_limit`, the host's part goes to disk.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from dask.sizeof import sizeof
from dask.typing import Key
from distributed.sizeof import safe_sizeof

from dask_mlsched.extension.devices import by_name
from dask_mlsched.extension.devices.device import Device
from dask_mlsched.extension.host_tier import HostTier
from dask_mlsched.extension.moves import TierStatistics
from dask_mlsched.extension.quantities import parse_size
from dask_mlsched.extension.sparse import register_sizeof
from dask_mlsched.extension.tiered_arrays import TieredArrays


class DeviceStore(MutableMapping[Key, object]):
    """A mapping of keys to values for ``data=`` of a worker or a cluster.

    Parameters
    ----------
    worker_local_directory
        For what goes to disk; Dask gives a worker's. By default where temporary files go.
    device_memory_limit
        Capacity of the device, in bytes or as a string (``"64MB"``).
    device
        Makes the copies: ``"cuda"``, ``"emulated"``, or one of `dask_mlsched.extension.devices`.
    host_memory_limit
        What stays in the host's memory, in bytes or as a string; None for all of it.
    loads_ahead
        Whether copies are made beside computing.
    keep_clean
        Whether the host keeps its copy of an array that is loaded.
    check_writes
        Whether to look, before an array leaves for free, if a task has written into it, which Dask
        forbids: it is then told of, and the array copied. Costs as much as the copies that it
        saves. Otherwise what was written is lost when the array leaves, and later tasks see the
        array as it was made.

    Raises
    ------
    ValueError
        A parameter is not a quantity of its kind, or not above zero, or there is no such device.

    Examples
    --------
    >>> import numpy as np
    >>> store = DeviceStore(device_memory_limit=16, device="emulated", loads_ahead=False)
    >>> store["a"], store["b"] = np.ones(1), np.ones(1)
    >>> store["c"] = np.ones(1)
    >>> store.resident()
    [('b', 8), ('c', 8)]
    """

    #: What is copied in and out, and what is resident.
    arrays: TieredArrays
    limit: int

    def __init__(
        self,
        worker_local_directory: str | None = None,
        *,
        device_memory_limit: int | str,
        device: Device | str = "cuda",
        host_memory_limit: int | str | None = None,
        loads_ahead: bool = True,
        keep_clean: bool = True,
        check_writes: bool = False,
    ) -> None:
        # Here too: without an installation, only on the path, there is no entry point to do it.
        register_sizeof(sizeof)
        self.limit = parse_size("device_memory_limit", device_memory_limit)
        on_host = host_memory_limit
        if on_host is not None:
            on_host = parse_size("host_memory_limit", on_host)
        self.device = by_name(device) if isinstance(device, str) else device
        self._host = HostTier(on_host, worker_local_directory)
        self.arrays = TieredArrays(
            self.device,
            self._host,
            self.limit,
            keep_clean=keep_clean,
            check_writes=check_writes,
        )
        self.keeps_clean = keep_clean
        self.loads_ahead = loads_ahead
        #: Where on the host what is no array of the device is.
        self._others: dict[Key, int] = {}
        self._numbers = itertools.count(-1, -1)  # apart from those of arrays
        self._copier: Executor | None = None
        if loads_ahead:
            self._copier = ThreadPoolExecutor(1, "mlsched-copier")
        #: task -> what it reads, while it runs; and while it waits for a thread.
        self._running: dict[Key, tuple[Key, ...]] = {}
        self._next: dict[Key, tuple[Key, ...]] = {}

    @property
    def statistics(self) -> TierStatistics:
        """Every copy so far."""
        return self.arrays.statistics

    @property
    def disk_failures(self) -> int:
        """Objects that could not be written to disk, and stayed in memory beyond its limit."""
        return self._host.disk_failures

    def resident(self) -> list[tuple[Key, int]]:
        """List the arrays on the device with their bytes, least recently used first."""
        return self.arrays.resident()

    def peek(self, key: Key) -> Any:
        """Return a value and move nothing: of an array on the host, its copy there.

        Raises
        ------
        KeyError
            There is none of this key.
        """
        number = self._others.get(key)
        return self.arrays.peek(key) if number is None else self._host.get(number)

    # A worker's data

    def __getitem__(self, key: Key) -> object:
        while True:
            number = self._others.get(key)
            try:
                return self.arrays.read(key) if number is None else self._host.get(number)
            except KeyError:
                # Another thread may have put a value of the other kind in its place meanwhile.
                if self._others.get(key) == number:
                    raise

    def __setitem__(self, key: Key, value: object) -> None:
        # A key that changes kind is inserted before it is removed, so that it is never missing.
        if self.device.owns(value):
            full = self.arrays.insert(key, value)
            self._forget_other(key)
            if full:
                self._beside(self.arrays.make_room)
        else:
            number, before = next(self._numbers), self._others.get(key)
            self.arrays.drop_clean_copies(safe_sizeof(value))
            self._host.put(number, value)
            self._others[key] = number
            if before is not None:
                self._host.discard(before)
            if key in self.arrays:
                self.arrays.delete(key)

    def __delitem__(self, key: Key) -> None:
        if key in self._others:
            self._forget_other(key)
        else:
            self.arrays.delete(key)

    def __contains__(self, key: object) -> bool:
        return key in self._others or key in self.arrays

    def __iter__(self) -> Iterator[Key]:
        return itertools.chain(self.arrays.keys(), list(self._others))

    def __len__(self) -> int:
        return len(self.arrays) + len(self._others)

    def __repr__(self) -> str:
        resident = self.resident()
        return (
            f"<DeviceStore: {self.arrays.books.nbytes} of {self.limit} bytes in {len(resident)} "
            f"arrays on the {self.device.name} device, {len(self.arrays) - len(resident)} arrays "
            f"and {len(self._others)} other objects on the host>"
        )

    def _forget_other(self, key: Key) -> None:
        number = self._others.pop(key, None)
        if number is not None:
            self._host.discard(number)

    # Hints, all of which may come late, twice or not at all

    def expect(self, task: Key, reads: Iterable[Key], victims: Iterable[Key] = ()) -> None:
        """Load ahead what a task reads that waits for a thread; evict `victims` first for room."""
        if self._copier is None or task in self._running:
            return
        self.unexpect(task)
        keys = self._next[task] = tuple(key for key in reads if key in self.arrays)
        self.arrays.pin(keys, soon=True)
        self.arrays.evict_first(victims)
        for key in keys:
            self._beside(self.arrays.load_ahead, key)

    def unexpect(self, task: Key) -> None:
        """Forget a task that was expected."""
        self.arrays.unpin(self._next.pop(task, ()), soon=True)

    def begin(self, task: Key, reads: Iterable[Key], victims: Iterable[Key] = ()) -> None:
        """Keep what a task reads on the device from now on; evict `victims` first for room."""
        self.end(task)
        keys = self._running[task] = tuple(key for key in reads if key in self.arrays)
        self.arrays.pin(keys)
        self.unexpect(task)
        self.arrays.evict_first(key for key in victims if key not in keys)

    def end(self, task: Key) -> None:
        """Let go of what a task reads that has ended, however it did."""
        self.arrays.unpin(self._running.pop(task, ()))

    def forget_tasks(self) -> None:
        """Let go of what all tasks read: nobody will say how they end."""
        for task in list(self._running):
            self.end(task)
        for task in list(self._next):
            self.unexpect(task)

    def _beside(self, work: Callable[..., object], *arguments: Any) -> None:
        copier = self._copier
        if copier is not None:
            try:
                copier.submit(work, *arguments).add_done_callback(_raise_if_failed)
            except RuntimeError:  # closed meanwhile, or the process ends
                copier = None
        if copier is None:
            work(*arguments)

    def close(self) -> None:
        """End the thread that copies; what is here can still be used."""
        copier, self._copier = self._copier, None
        if copier is not None:
            copier.shutdown(wait=True, cancel_futures=True)


def _raise_if_failed(future: Future[Any]) -> None:
    # The executor's own log then has it: nothing that runs there is meant to raise.
    if not future.cancelled():
        future.result()
