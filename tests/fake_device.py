"""A device for tests: its copies are counted, fail when told to, and can be held half-way."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from distributed.protocol import dask_serialize

from dask_mlsched.extension.device_copy import copy_array, is_array
from dask_mlsched.extension.moves import Direction

#: Long enough for any machine; what waits so long never ends.
PATIENCE_SECONDS = 30.0


#: Of each array of the tests that count them; four fit.
NBYTES = 80
LIMIT = 4 * NBYTES


def array(fill: float, nbytes: int = NBYTES) -> np.ndarray[Any, Any]:
    """Make an array of so many bytes, all of one number."""
    return np.full(nbytes // 8, fill)


class Unserializable(np.ndarray[Any, Any]):
    """An array that the host can keep in memory, but not write to disk."""


@dask_serialize.register(Unserializable)
def _refuse(array: Unserializable) -> None:
    raise TypeError("this array cannot be serialized")


class Gate:
    """Holds one copy: it says that it has `begun`, and goes on when told."""

    def __init__(self) -> None:
        self._begun = threading.Event()
        self._open = threading.Event()

    def pass_through(self) -> None:
        """In the thread that copies: wait until it may go on."""
        self._begun.set()
        assert self._open.wait(PATIENCE_SECONDS), "nobody let the copy go on"

    def begun(self) -> None:
        """Wait until a copy is half-way."""
        assert self._begun.wait(PATIENCE_SECONDS), "no copy began"

    def let_go(self) -> None:
        """Have it go on."""
        self._open.set()


class FakeDevice:
    """Copies at once; each direction has its list of what is to happen in its next copies."""

    name = "fake"

    def __init__(self) -> None:
        #: Bytes of the copies that were made, by direction, in order.
        self.made: dict[Direction, list[int]] = {"load": [], "evict": []}
        #: What the next copies do before they are made: raise, run something, or wait at a gate.
        self.plans: dict[Direction, deque[Exception | Callable[[], object]]] = {
            "load": deque(),
            "evict": deque(),
        }

    def owns(self, value: object) -> bool:
        return is_array(value)

    def to_host(self, value: Any) -> tuple[Any, float]:
        return self._copy(value, "evict"), 0.5

    def to_device(self, copy: Any) -> tuple[Any, float]:
        return self._copy(copy, "load"), 0.25

    def hold(self, direction: Direction) -> Gate:
        """Have the next copy of this direction wait."""
        gate = Gate()
        self.plans[direction].append(gate.pass_through)
        return gate

    def _copy(self, value: Any, direction: Direction) -> Any:
        if self.plans[direction]:
            plan = self.plans[direction].popleft()
            if isinstance(plan, Exception):
                raise plan
            plan()
        self.made[direction].append(int(value.nbytes))
        return copy_array(value)
