"""Tasks that tests run; in a module of their own, so that worker processes can import them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Event, get_client, get_worker, rejoin, secede, worker_client


def chunk(kilobytes: int, value: float = 1.0) -> np.ndarray[Any, Any]:
    """Return an array that a device store takes in."""
    return np.full(kilobytes * 125, value)


def total(*arrays: Any) -> float:
    return float(sum(np.sum(array) for array in arrays))


def added(*arrays: Any) -> np.ndarray[Any, Any]:
    """Return the sum of chunks, a chunk again."""
    return np.asarray(sum(arrays))


def inc(number: int) -> int:
    return number + 1


def wait_then(event: str, value: Any = None, *_: Any) -> Any:
    """Return the value when the event is set."""
    Event(event).wait()
    return value


def slow_inc(number: int, seconds: float = 0.02) -> int:
    time.sleep(seconds)
    return number + 1


def fail(*_: Any) -> None:
    raise ZeroDivisionError("meant to fail")


def fail_until(path: str, times: int) -> str:
    """Fail so many times, counted in a file, then succeed."""
    with Path(path).open("a") as file:
        file.write("x")
    if Path(path).stat().st_size <= times:
        raise ZeroDivisionError("meant to fail")
    return "at last"


def address(*_: Any) -> str:
    return str(get_worker().address)


def sum_of_subtasks(count: int) -> int:
    """Submit tasks from a task, which leaves the thread pool while it waits for them."""
    with worker_client() as client:
        return int(sum(client.gather(client.map(inc, range(count), pure=False))))


def sum_of_subtasks_after_secede(count: int) -> int:
    """Do the same by hand, and come back to the pool."""
    secede()
    client = get_client()
    results = client.gather(client.map(inc, range(count), pure=False))
    rejoin()
    return int(sum(results))


def kill_once(path: str, value: Any, *_: Any) -> Any:
    """Kill the worker's process, but only the first time."""
    marker = Path(path)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


class Counter:
    """An actor."""

    def __init__(self) -> None:
        self.number = 0

    def add(self) -> int:
        self.number += 1
        return self.number


class SlowToPickle:
    """Counts as 80 kB, and takes its time to be written and to be read."""

    #: Seconds.
    WRITE, READ = 0.05, 0.02

    def __init__(self, number: int) -> None:
        self.number = number

    def __sizeof__(self) -> int:
        return 80_000

    def __reduce__(self) -> tuple[Any, ...]:
        time.sleep(self.WRITE)
        return SlowToPickle.read, (self.number,)

    @classmethod
    def read(cls, number: int) -> SlowToPickle:
        """Make what was written."""
        time.sleep(cls.READ)
        return cls(number)
