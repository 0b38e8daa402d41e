"""The arrays of a device's store: which are resident, and the copies that make them so.

One lock guards the books; no copy is made under it. An array that is on its way is marked, and only
those who want that very array wait for it, or for the room that it makes. A reader takes an array
that is on its way out as it is, and it stays.

Room is reserved before a load begins, so the device never holds more than its limit, but for what
is inserted (it is there already when it comes), and for what must be loaded while all else is in
use.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from dask.typing import Key
from distributed.sizeof import safe_sizeof

from dask_mlsched.extension.devices.device import Device
from dask_mlsched.extension.host_tier import HostTier
from dask_mlsched.extension.moves import Direction, Move, TierStatistics
from dask_mlsched.extension.resident_arrays import Array, ResidentArrays

logger = logging.getLogger(__name__)


class TieredArrays:
    """Arrays on a device and on the host; threads may share them.

    Parameters
    ----------
    device
        Makes the copies.
    host
        Keeps what was evicted.
    limit
        Bytes of the device.
    keep_clean
        Whether the host keeps its copy of an array that is loaded, while it has room.
    check_writes
        Whether such an array is compared with its copy before it leaves.
    """

    #: Every copy so far.
    statistics: TierStatistics
    #: What is on the device, and what may leave it.
    books: ResidentArrays
    #: Called after each move, under the lock, in the order of the moves.
    on_move: Callable[[Move], None] | None

    def __init__(
        self,
        device: Device,
        host: HostTier,
        limit: int,
        *,
        keep_clean: bool = True,
        check_writes: bool = False,
    ) -> None:
        self.statistics = TierStatistics()
        self.books = ResidentArrays(limit)
        self.on_move = None
        self._device = device
        self._host = host
        self._keep_clean = keep_clean
        self._check_writes = check_writes
        self._numbers = count()
        self._arrays: dict[Key, Array] = {}
        #: Guards all of it, and tells of every end of a copy.
        self.changed = threading.Condition(threading.Lock())

    # As a mapping

    def __contains__(self, key: object) -> bool:
        """Tell whether the array is here, in any tier."""
        return key in self._arrays

    def __len__(self) -> int:
        """Count the arrays of all tiers."""
        return len(self._arrays)

    def keys(self) -> list[Key]:
        """List the arrays of all tiers."""
        with self.changed:
            return list(self._arrays)

    def resident(self) -> list[tuple[Key, int]]:
        """List the arrays on the device with their bytes, least recently used first."""
        with self.changed:
            return [(key, array.nbytes) for key, array in self.books.arrays.items()]

    def is_resident(self, key: Key) -> bool:
        """Tell whether an array is on the device."""
        return key in self.books.arrays

    def insert(self, key: Key, value: object) -> bool:
        """Take in an array that is on the device; tell whether room must be made for it now."""
        nbytes = safe_sizeof(value)
        with self.changed:
            # What the last one took must be there first: never more than one is too many.
            self._make_room(forced=True)
            self._forget(key)
            array = Array(key, next(self._numbers), value, nbytes)
            self._arrays[key] = array
            self.books.enter(array)
            # It would push out all others, and stay too large.
            if nbytes > self.books.limit and not self._evict(array) and not array.gone:
                self.books.victims[key] = None
            return self.books.excess() > 0

    def read(self, key: Key) -> Any:
        """Return an array, from the host if need be: then it is resident, unless too large.

        Raises
        ------
        KeyError
            There is none of this key, or it was deleted meanwhile.
        MemoryError
            There is no memory for it on the device, even after others have left.
        OSError
            It is on disk, which cannot be read.
        """
        with self.changed:
            while True:
                array = self._arrays[key]
                if array.value is not None:
                    self.books.touch(array)
                    return array.value
                if array.moving is not None:
                    self.changed.wait()
                    continue
                try:
                    value = self._load(array, ahead=False)
                except Exception:
                    if not array.gone:
                        raise
                else:
                    if not array.gone:
                        return value
                # Deleted meanwhile, or replaced: by what is there now.

    def peek(self, key: Key) -> Any:
        """Return an array where it is: as it is on the device, or as a copy on the host."""
        with self.changed:
            array = self._arrays[key]
            return self._host.get(array.number) if array.value is None else array.value

    def delete(self, key: Key) -> None:
        """Forget an array.

        Raises
        ------
        KeyError
            There is none of this key.
        """
        with self.changed:
            if key not in self._arrays:
                raise KeyError(key)
            self._forget(key)

    # Hints

    def evict(self, key: Key) -> bool:
        """Move an array to the host; False if it is not resident, in use, or would not go."""
        with self.changed:
            array = self.books.arrays.get(key)
            if array is None or array.moving or self.books.used[key] or self.books.soon[key]:
                return False
            return self._evict(array)

    def pin(self, keys: Iterable[Key], *, soon: bool = False) -> None:
        """Keep arrays for a task that runs, or for one that comes `soon`."""
        with self.changed:
            (self.books.soon if soon else self.books.used).update(keys)

    def unpin(self, keys: Iterable[Key], *, soon: bool = False) -> None:
        """Let go of what was kept for a task."""
        with self.changed:
            counts = self.books.soon if soon else self.books.used
            counts.subtract(keys)
            for key in [key for key in keys if counts[key] <= 0]:
                del counts[key]

    def evict_first(self, keys: Iterable[Key]) -> None:
        """Have arrays leave before others, in this order, as soon as room is needed.

        What is read again before stays as others do.
        """
        with self.changed:
            for key in keys:
                if key in self.books.arrays:
                    self.books.victims[key] = None

    def load_ahead(self, key: Key) -> bool:
        """Load an array that a task will soon read; tell whether it is resident.

        Nothing that is in use leaves for it: without room it stays where it is. What goes wrong is
        counted: whoever reads the array will see it, if it does so again.
        """
        with self.changed:
            array = self._arrays.get(key)
            if array is None or array.moving or not self.books.soon[key]:
                return False
            if array.value is None and array.nbytes <= self.books.limit:
                try:
                    self._load(array, ahead=True)
                except Exception as error:  # noqa: BLE001 - as said
                    if not array.gone:
                        self._failed("loaded ahead", array, error)
            return array.value is not None

    def make_room(self) -> None:
        """Evict until the device is within its limit, or nothing may go."""
        with self.changed:
            self._make_room(forced=True)

    def drop_clean_copies(self, nbytes: int) -> None:
        """Make room in host memory for something else, of what need not be there."""
        with self.changed:
            self._drop_clean_copies(nbytes)

    # All below is under the lock, but for the copies themselves.

    def _forget(self, key: Key) -> None:
        array = self._arrays.pop(key, None)
        if array is None:
            return
        array.gone = True
        if array.value is not None:
            self.books.exit(array)
        self._drop_copy(array)

    def _make_room(self, *, forced: bool) -> bool:
        """Evict until all that is resident or reserved fits; False if nothing more may go."""
        failed: set[Key] = set()
        while self.books.excess() > 0:
            victim = None
            # Not more than needed: what is on its way out makes room, too.
            if self.books.excess() > self.books.leaving:
                victim = self.books.victim(failed, forced=forced)
            if victim is not None:
                if not self._evict(victim):
                    failed.add(victim.key)
            elif self.books.leaving:
                self.changed.wait()
            else:
                return False
        return True

    def _evict(self, array: Array) -> bool:
        """Copy a resident array to the host, unless a copy is there, and drop it."""
        try:
            clean = array.copied and not (self._check_writes and self._was_written(array))
        except Exception as error:  # noqa: BLE001 - as below
            self._failed("compared with its copy", array, error)
            return False
        if clean:
            self.books.exit(array)
            self._moved(array, "evict", 0, 0.0)
            return True
        array.moving, array.wanted = "evict", False
        self.books.leaving += array.nbytes
        try:
            seconds = self._copy_out(array)
        except Exception as error:  # noqa: BLE001 - of any array; it stays where it is
            self._failed("evicted", array, error)
            return False
        finally:
            self.books.leaving -= array.nbytes
            array.moving = None
            self.changed.notify_all()
        if array.gone:
            self._host.discard(array.number)
            self.statistics.add("evict", array.nbytes, seconds)
            return True
        array.copied = True
        if array.wanted and array.nbytes <= self.books.limit:
            self.statistics.add("evict", array.nbytes, seconds)
            if not self._keep_clean:
                self._drop_copy(array)
            return False
        self.books.exit(array)
        self._moved(array, "evict", array.nbytes, seconds)
        return True

    def _copy_out(self, array: Array) -> float:
        """Copy an array to the host; return how long that took, in seconds."""
        self._drop_clean_copies(array.nbytes)
        value = array.value
        with self._unlocked():
            copy, seconds = self._device.to_host(value)
            self._host.put(array.number, copy)
        return seconds

    def _drop_clean_copies(self, nbytes: int) -> None:
        """Make room in host memory with copies of resident arrays, what was used last first."""
        for array in reversed(self.books.arrays.values()):
            if self._host.has_room(nbytes):
                return
            # A copy on disk takes no memory.
            if array.moving is None and self._host.in_memory(array.number):
                self._drop_copy(array)

    def _drop_copy(self, array: Array) -> None:
        if array.copied:
            array.copied = False
            self._host.discard(array.number)

    def _load(self, array: Array, *, ahead: bool) -> Any:
        """Bring an array in and return it; None if there is no room and it can wait."""
        stays = array.nbytes <= self.books.limit
        reserved = array.nbytes if stays else 0
        array.moving = "load"
        self.books.reserved += reserved
        try:
            if stays and not self._make_room(forced=not ahead) and ahead:
                self.statistics.no_room_ahead += 1
                return None
            value, seconds = self._copy_in(array, forced=not ahead)
        finally:
            self.books.reserved -= reserved
            array.moving = None
            self.changed.notify_all()
        if array.gone:
            self.statistics.add("load", array.nbytes, seconds)
            return value
        if stays:
            array.value = value
            self.books.enter(array)
            if not self._keep_clean:
                self._drop_copy(array)
        self.statistics.loads_ahead += ahead
        self._moved(array, "load", array.nbytes, seconds)
        return value

    def _copy_in(self, array: Array, *, forced: bool) -> tuple[Any, float]:
        """Copy an array from the host; others leave if the device has no memory."""
        with self._unlocked():
            copy = self._host.get(array.number)
        for last in (False, True):
            try:
                with self._unlocked():
                    return self._device.to_device(copy)
            except MemoryError as error:
                freed = 0 if last else self._free(array.nbytes, forced=forced)
                if not freed:
                    msg = (
                        f"no memory on the device for array {array.key!r} of {array.nbytes} bytes "
                        f"beside {self.books.nbytes} bytes of others, and the store's limit is "
                        f"{self.books.limit}; lower device_memory_limit, or use smaller chunks"
                    )
                    raise MemoryError(msg) from error
        raise AssertionError("the second attempt returns or raises")

    def _free(self, nbytes: int, *, forced: bool) -> int:
        """Evict so many bytes, if the device has less than its limit; return how many went."""
        freed, failed = 0, set[Key]()
        while freed < nbytes and (victim := self.books.victim(failed, forced=forced)) is not None:
            if self._evict(victim):
                freed += victim.nbytes
            else:
                failed.add(victim.key)
        return freed

    def _was_written(self, array: Array) -> bool:
        """Tell whether a task changed a resident array; its copy is then worth nothing."""
        before = self._host.get(array.number)
        if same_bytes(before, self._device.to_host(array.value)[0]):
            return False
        self._drop_copy(array)
        self.statistics.writes_found += 1
        logger.warning(
            "a task has written into its input %r, which Dask forbids: some tasks see the array "
            "before and some after; have the task copy its input first",
            array.key,
        )
        return True

    def _moved(self, array: Array, direction: Direction, nbytes: int, seconds: float) -> None:
        self.statistics.add(direction, nbytes, seconds)
        if self.on_move is None:
            return
        now = time.monotonic()
        try:
            self.on_move(Move(now, array.key, direction, nbytes, seconds, self.books.nbytes))
        except Exception:  # noqa: BLE001 - a store goes on whatever becomes of its reports
            self.statistics.callback_errors += 1

    def _failed(self, what: str, array: Array, error: Exception) -> None:
        self.statistics.failed_copies += 1
        if self.statistics.failed_copies == 1:
            logger.warning(
                "array %r of %s bytes could not be %s (%s: %s); it stays where it is",
                array.key,
                array.nbytes,
                what,
                type(error).__name__,
                error,
            )

    @contextmanager
    def _unlocked(self) -> Iterator[None]:
        self.changed.release()
        try:
            yield
        finally:
            self.changed.acquire()


def same_bytes(left: object, right: object) -> bool:
    """Tell whether two copies on the host are equal in every byte."""
    from distributed.protocol.serialize import serialize

    (_, ours), (_, theirs) = serialize(left), serialize(right)
    return [bytes(frame) for frame in ours] == [bytes(frame) for frame in theirs]
