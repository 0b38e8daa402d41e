"""Functions of instances, run in other processes: the same results in the same order as here.

Instances are handed over once. A process ends by itself when the one that started it is gone,
however that ended: it then reads the end of its pipe.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from dask_mlsched.learning.instance import Instance

Result = TypeVar("Result")

#: Calls that are handed over at a time: so many that the pipe costs nothing, so few that no
#: process waits for another in the end.
_CHUNK: Final = 4


class Processes:
    """Processes that know some instances; give them back with ``with`` or `close`.

    Parameters
    ----------
    instances
        Calls name them by their place.
    count
        How many processes; with 1, all runs here.
    """

    def __init__(self, instances: Sequence[Instance], count: int = 1) -> None:
        self.instances = tuple(instances)
        #: How many calls run at a time.
        self.count = max(1, count)
        self._started: list[Any] = []
        self._pipes: list[Connection] = []
        # Not forked: threads of numba and torch would not survive that.
        context = multiprocessing.get_context("spawn")
        for _ in range(count if count > 1 else 0):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, self.instances), daemon=True)
            process.start()
            there.close()
            self._started.append(process)
            self._pipes.append(here)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; what they were doing is lost."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._started:
            # Its results are of no use, so it need not come to an end.
            process.terminate()
            process.join()
        self._pipes.clear()
        self._started.clear()

    def call(
        self,
        function: Callable[..., Result],
        calls: Sequence[tuple[Any, ...]],
    ) -> list[Result]:
        """Call ``function(instance, *rest)`` for each ``(place of the instance, *rest)``.

        Returns
        -------
        list
            The results, in the order of the calls.

        Raises
        ------
        Exception
            What the function raised.
        """
        if not self._pipes:
            return [function(self.instances[place], *rest) for place, *rest in calls]
        # The longest first, so that none is left for one process in the end.
        order = sorted(
            range(len(calls)), key=lambda number: -len(self.instances[calls[number][0]].dag)
        )
        chunks = [order[start : start + _CHUNK] for start in range(0, len(order), _CHUNK)]
        chunks.reverse()
        results: dict[int, Result] = {}
        waiting: dict[Connection, list[int]] = {}
        idle = list(self._pipes)
        while chunks or waiting:
            while idle and chunks:
                pipe, chunk = idle.pop(), chunks.pop()
                pipe.send((function, [calls[number] for number in chunk]))
                waiting[pipe] = chunk
            ready = wait(list(waiting))
            for pipe in [each for each in waiting if each in ready]:
                answer = pipe.recv()
                if isinstance(answer, BaseException):
                    self.close()
                    raise answer
                results.update(zip(waiting.pop(pipe), answer, strict=True))
                idle.append(pipe)
        return [results[number] for number in range(len(calls))]


def _serve(pipe: Connection, instances: Sequence[Instance]) -> None:
    with contextlib.suppress(EOFError, KeyboardInterrupt, BrokenPipeError):
        while True:
            function, calls = pipe.recv()
            try:
                answer: Any = [function(instances[place], *rest) for place, *rest in calls]
            except Exception as error:  # noqa: BLE001 - raised where it was called
                answer = error
            pipe.send(answer)
