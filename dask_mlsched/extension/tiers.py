"""One view of the stores that have a fast and a slow tier, whatever made them.

Every such store of Dask's world is a ``zict.Buffer``, or has one inside. An adapter watches it
through its public attributes, and takes nothing over:

- It appends to ``fast_to_slow_callbacks`` and ``slow_to_fast_callbacks``, which fire at the end of
  a move. Inserting and deleting fire nothing; :meth:`Tier.snapshot` shows those.
- Callbacks know no durations, so ``buffer.slow`` is replaced by a stopwatch, which passes
  everything on to the mapping that was there. :meth:`Tier.detach` puts that one back.

What zict does, and what follows:

- A raise in a callback cancels an eviction or breaks a read. Ours count errors and never raise.
- The callback of a load comes after the evictions that the load made necessary, so these are
  reported first.
- An eviction is reported before the array has left the fast tier. If a later callback raises, it
  stays there, and only a snapshot tells.
- An array larger than the limit is copied on each read and stays in the slow tier: a load without
  residency. Only arrays with ``nbytes > limit`` do so.

distributed also evicts from a ``SpillBuffer`` when the memory of the process is above its ``spill``
threshold; these evictions are seen like any other.
"""

from __future__ import annotations

import sys
import threading
import time
from abc import ABC, abstractmethod
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import zict
from distributed.spill import SpillBuffer

from dask_mlsched.extension.device_store import DeviceStore
from dask_mlsched.extension.emulated_host_file import EmulatedHostFile
from dask_mlsched.extension.moves import Direction, Move, TierStatistics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping, Sequence

    from dask.typing import Key
    from dask_cuda.device_host_file import DeviceHostFile

__all__ = ["Kind", "Move", "Tier", "TierStatistics", "adapt"]

Kind = Literal["device-store", "emulated-device", "device-host-file", "spill-buffer"]


class Tier(ABC):
    """What a worker's store holds in its fast tier, and what moves in and out.

    An adapter may be attached again after it was detached; its statistics go on.
    """

    kind: ClassVar[Kind]
    #: Whether an array that is in the slow tier, too, leaves the fast one without a copy.
    keeps_clean: bool = False
    #: Whether copies are made beside the event loop.
    copies_beside: bool = False
    statistics: TierStatistics

    @property
    @abstractmethod
    def limit(self) -> int:
        """Capacity of the fast tier, in bytes."""

    @abstractmethod
    def snapshot(self) -> list[tuple[Key, int]]:
        """Return the keys in the fast tier with their bytes, least recently used first."""

    def resident(self) -> list[Key]:
        """Return the keys in the fast tier, least recently used first."""
        return [key for key, _ in self.snapshot()]

    @abstractmethod
    def resident_bytes(self) -> int:
        """Return what the fast tier holds, in bytes."""

    @abstractmethod
    def attach(self, on_move: Callable[[Move], None]) -> None:
        """Call ``on_move`` after each move, in the thread that made it.

        What it raises is counted in ``statistics.callback_errors`` and goes no further.

        Raises
        ------
        RuntimeError
            The adapter is attached already.
        """

    @abstractmethod
    def detach(self) -> None:
        """Leave the store as it was found. Without effect when not attached."""

    @abstractmethod
    def evict(self, key: Key) -> bool:
        """Move an array to the slow tier; False when it is not resident or would not go."""

    @abstractmethod
    def load(self, key: Key) -> bool:
        """Bring an array to the fast tier as if it were read; False when it is not there then."""

    # Hints. They come in the thread of the worker's event loop, perhaps late, twice or never.

    @abstractmethod
    def expect(self, task: Key, reads: Mapping[Key, int], victims: Sequence[Key]) -> bool:
        """Prepare for a task that waits for a thread: what it reads, and what may go first for it.

        Parameters
        ----------
        reads
            The arrays with their bytes.

        Returns
        -------
        bool
            Whether `load_next` has something to do.
        """

    @abstractmethod
    def begin(self, task: Key, reads: Collection[Key], victims: Sequence[Key]) -> None:
        """Have `victims` go out for a task that reads its inputs next, and keep those from now."""

    @abstractmethod
    def end(self, task: Key) -> None:
        """Let go of what a task reads, which ended, was cancelled, or went away before it ran."""

    @abstractmethod
    def load_next(self) -> bool:
        """Load one array of a task that is expected; whether there is another one to load.

        It blocks, so it is for moments at which the event loop can wait; a store that copies
        beside it has nothing to do here.
        """


def adapt(data: MutableMapping[Key, Any]) -> Tier | None:
    """Return the adapter for a worker's store, or None when that has no two tiers of known size.

    A ``SpillBuffer`` whose ``target`` is switched off, and a ``DeviceHostFile`` without a limit,
    have none. dask-cuda is not imported for the question.
    """
    if isinstance(data, DeviceStore):
        return DeviceStoreTier(data)
    if isinstance(data, EmulatedHostFile):
        return EmulatedHostFileTier(data)
    if isinstance(data, SpillBuffer):
        return SpillBufferTier(data) if 0 < data.n < sys.maxsize else None
    dask_cuda = sys.modules.get("dask_cuda.device_host_file")
    if (
        dask_cuda is not None
        and isinstance(data, dask_cuda.DeviceHostFile)
        and isinstance(data.device_buffer, zict.Buffer)
        and data.device_buffer.n > 0
    ):
        return DeviceHostFileTier(data)
    return None


class _BufferTier(Tier):
    """What all stores with a ``zict.Buffer`` have in common."""

    def __init__(self, data: MutableMapping[Key, Any], buffer: zict.Buffer[Key, Any]) -> None:
        self.statistics = TierStatistics()
        self._data = data
        self._buffer = buffer
        self._on_move: Callable[[Move], None] | None = None
        self._stopwatch: _Stopwatch | None = None
        #: task -> what it reads, while it runs; and while it waits for a thread.
        self._running: dict[Key, Collection[Key]] = {}
        self._next: dict[Key, Mapping[Key, int]] = {}

    @property
    def limit(self) -> int:
        return int(self._buffer.n)

    def snapshot(self) -> list[tuple[Key, int]]:
        fast = self._buffer.fast
        with fast.lock:
            return [(key, int(fast.weights[key])) for key in fast.order]

    def resident_bytes(self) -> int:
        return int(self._buffer.fast.total_weight)

    def attach(self, on_move: Callable[[Move], None]) -> None:
        if self._stopwatch is not None:
            raise RuntimeError("the adapter is attached already; detach it first")
        self._on_move = on_move
        self._stopwatch = _Stopwatch(self._buffer.slow)
        self._buffer.slow = self._stopwatch  # type: ignore[assignment]
        self._buffer.fast_to_slow_callbacks.append(self._evicted)
        self._buffer.slow_to_fast_callbacks.append(self._loaded)

    def detach(self) -> None:
        if self._stopwatch is None:
            return
        self._buffer.fast_to_slow_callbacks.remove(self._evicted)
        self._buffer.slow_to_fast_callbacks.remove(self._loaded)
        self._stopwatch.remove_from(self._buffer)
        self._on_move = self._stopwatch = None

    def evict(self, key: Key) -> bool:
        if key not in self._buffer.fast:
            return False
        try:
            return self._buffer.fast.evict(key)[0] is not None
        except Exception:  # noqa: BLE001 - from any serializer or disk; zict kept the array
            self.statistics.callback_errors += 1
            return False

    def load(self, key: Key) -> bool:
        if key not in self._buffer:
            return False
        try:
            self._data[key]
        except Exception:  # noqa: BLE001 - as above; the array is still in the slow tier
            self.statistics.callback_errors += 1
            return False
        return key in self._buffer.fast

    def expect(self, task: Key, reads: Mapping[Key, int], victims: Sequence[Key]) -> bool:
        self._next[task] = reads
        return True

    def begin(self, task: Key, reads: Collection[Key], victims: Sequence[Key]) -> None:
        self._next.pop(task, None)
        self._running[task] = reads
        in_use = set(chain.from_iterable(self._running.values()))
        for victim in victims:
            if victim not in in_use:
                self.evict(victim)

    def end(self, task: Key) -> None:
        self._running.pop(task, None)
        self._next.pop(task, None)

    def load_next(self) -> bool:
        fast = self._buffer.fast
        in_use = set(chain.from_iterable(self._running.values()))
        for task, reads in list(self._next.items()):
            missing = [key for key in reads if key not in fast and key in self._buffer]
            there = sum(fast.weights.get(key, 0) for key in in_use.union(reads))
            if not missing or there + reads[missing[0]] > self.limit:
                del self._next[task]
                continue
            # What leaves for it was used longest ago: not these, as all of them fit.
            in_use.update(reads)
            for key in in_use:
                if key in fast:
                    fast[key]  # now it is what was used last
            if self.load(missing[0]):
                self.statistics.loads_ahead += 1
                return True
            del self._next[task]
        return False

    def _evicted(self, key: Key, _value: object) -> None:
        fast = self._buffer.fast
        try:
            # The array is still in the fast tier now, and leaves it next.
            nbytes = int(fast.weights[key])
            self._report(key, "evict", nbytes, int(fast.total_weight) - nbytes)
        except Exception:  # noqa: BLE001 - a raise would cancel the eviction
            self.statistics.callback_errors += 1

    def _loaded(self, key: Key, value: object) -> None:
        fast = self._buffer.fast
        try:
            nbytes = int(fast.weights.get(key) or self._buffer.weight(key, value))
            self._report(key, "load", nbytes, int(fast.total_weight))
        except Exception:  # noqa: BLE001 - a raise would break the read
            self.statistics.callback_errors += 1

    def _report(self, key: Key, direction: Direction, nbytes: int, resident_bytes: int) -> None:
        if self._stopwatch is None or self._on_move is None:
            return  # detached by another thread while the array moved
        seconds = self._stopwatch.read(key, direction)
        self.statistics.add(direction, nbytes, seconds)
        self._on_move(Move(time.monotonic(), key, direction, nbytes, seconds, resident_bytes))


class DeviceStoreTier(Tier):
    """Our own store."""

    kind = "device-store"

    def __init__(self, data: DeviceStore) -> None:
        self._data = data
        self.keeps_clean = data.keeps_clean
        self.copies_beside = data.loads_ahead

    @property
    def statistics(self) -> TierStatistics:
        return self._data.arrays.statistics

    @statistics.setter
    def statistics(self, statistics: TierStatistics) -> None:
        self._data.arrays.statistics = statistics

    @property
    def limit(self) -> int:
        return self._data.limit

    def snapshot(self) -> list[tuple[Key, int]]:
        return self._data.resident()

    def resident_bytes(self) -> int:
        return self._data.arrays.books.nbytes

    def attach(self, on_move: Callable[[Move], None]) -> None:
        if self._data.arrays.on_move is not None:
            raise RuntimeError("the adapter is attached already; detach it first")
        self._data.arrays.on_move = on_move

    def detach(self) -> None:
        self._data.arrays.on_move = None
        self._data.forget_tasks()

    def evict(self, key: Key) -> bool:
        return self._data.arrays.evict(key)

    def load(self, key: Key) -> bool:
        try:
            self._data.arrays.read(key)
        except KeyError:
            return False
        except Exception:  # noqa: BLE001 - of any device; the array is where it was
            self.statistics.callback_errors += 1
            return False
        return self._data.arrays.is_resident(key)

    def expect(self, task: Key, reads: Mapping[Key, int], victims: Sequence[Key]) -> bool:
        self._data.expect(task, reads, victims)
        return False

    def begin(self, task: Key, reads: Collection[Key], victims: Sequence[Key]) -> None:
        self._data.begin(task, reads, victims)

    def end(self, task: Key) -> None:
        self._data.end(task)
        self._data.unexpect(task)

    def load_next(self) -> bool:
        return False


class EmulatedHostFileTier(_BufferTier):
    """dask-cuda's store, emulated."""

    kind = "emulated-device"

    def __init__(self, data: EmulatedHostFile) -> None:
        super().__init__(data, data.buffer)


class SpillBufferTier(_BufferTier):
    """distributed's store: host memory over disk."""

    kind = "spill-buffer"

    def __init__(self, data: SpillBuffer) -> None:
        super().__init__(data, data)


class DeviceHostFileTier(_BufferTier):
    """dask-cuda's store: device memory over host memory, over disk."""

    kind = "device-host-file"

    def __init__(self, data: DeviceHostFile) -> None:
        super().__init__(data, data.device_buffer)
        self._device_keys = data.device_keys

    def load(self, key: Key) -> bool:
        # To the buffer, host objects look like evicted arrays, which it must not try to decode.
        return key in self._device_keys and super().load(key)


class _Stopwatch:
    """Stands in for the slow tier of a buffer, and times what is read from it and written to it.

    Only the last move of each direction and thread is remembered: its callback asks for it before
    that thread can begin another of the same direction.
    """

    def __init__(self, slow: Any) -> None:
        self.slow = slow
        self._last = threading.local()

    def read(self, key: Key, direction: Direction) -> float:
        """Return the seconds that the thread's last move took; 0 when that was another's."""
        timed_key, seconds = getattr(self._last, direction, (None, 0.0))
        return seconds if timed_key == key else 0.0

    def remove_from(self, buffer: zict.Buffer[Key, Any]) -> None:
        """Put back what was there, also when another stopwatch was started meanwhile."""
        holder: Any = buffer
        while holder.slow is not self:
            holder = holder.slow
            if not isinstance(holder, _Stopwatch):
                return  # someone else's wrapper hides us; we go on passing everything through
        holder.slow = self.slow

    def __getitem__(self, key: Key) -> Any:
        start = time.perf_counter()
        value = self.slow[key]
        self._last.load = key, time.perf_counter() - start
        return value

    def __setitem__(self, key: Key, value: Any) -> None:
        start = time.perf_counter()
        self.slow[key] = value
        self._last.evict = key, time.perf_counter() - start

    def __delitem__(self, key: Key) -> None:
        del self.slow[key]

    def __contains__(self, key: object) -> bool:
        return key in self.slow

    def __iter__(self) -> Iterator[Key]:
        return iter(self.slow)

    def __len__(self) -> int:
        return len(self.slow)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.slow, name)
