"""The workers that a recorded run had, and whether they were as a simulation plays them: equal.

A simulated machine has so many workers, all of them there from the first task to the last, with as
many threads and as large a fast tier each. Where a run's workers were not like that, no figure of
such a machine is a bound on the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dask_mlsched.core import events as ev
from dask_mlsched.core.trace import Trace


@dataclass(frozen=True, slots=True)
class RunWorkers:
    """The workers that were there between the first task that began and the last that ended."""

    #: One that left and came back counts twice.
    count: int
    #: Of the smallest.
    threads: int
    limit: int | None
    #: What differs between them, in one line; None if nothing does.
    unequal: str | None


@dataclass(slots=True)
class _Worker:
    threads: int
    #: Of its fast tier: what it is said to be now, and all that it was ever said to be.
    limit: int | None = None
    limits: set[int] = field(default_factory=set)

    def limit_seen(self, limit: int | None) -> None:
        self.limit = limit
        if limit is not None:
            self.limits.add(limit)


def run_workers(trace: Trace) -> RunWorkers:
    """Find the workers of a run.

    One that left before the first task began, or came after the last one ended, had no part in it.

    Parameters
    ----------
    trace
        One in which a task has ended.
    """
    events = list(trace.events())
    first = next(place for place, each in enumerate(events) if isinstance(each, ev.TaskStarted))
    last = max(place for place, each in enumerate(events) if isinstance(each, ev.TaskFinished))
    #: By the numbers that they have now.
    there: dict[int, _Worker] = {}
    gone: list[_Worker] = []
    came = 0
    for place, event in enumerate(events[:last]):
        match event:
            case ev.WorkerJoined(worker=number, threads=threads, limit=limit):
                there[number] = _Worker(threads)
                there[number].limit_seen(limit)
                came += place > first
            case ev.LimitSeen(worker=number, limit=limit):
                there[number].limit_seen(limit)
            case ev.WorkerLeft(worker=number):
                left = there.pop(number)
                if place > first:
                    gone.append(left)
            case _:
                pass  # says nothing of a worker
    workers = [*gone, *there.values()]
    return RunWorkers(
        len(workers),
        min(each.threads for each in workers),
        min((limit for each in workers for limit in each.limits), default=None),
        ", ".join(_differences(workers, came, len(gone))) or None,
    )


def _differences(workers: Sequence[_Worker], came: int, left: int) -> Iterator[str]:
    """Say what differs between workers, and how many of them came and left on the way."""
    threads = sorted({each.threads for each in workers})
    if len(threads) > 1:
        yield f"workers of {_listed(threads)} threads"
    limits = sorted({limit for each in workers for limit in each.limits})
    if len(limits) > 1:
        yield f"fast tiers of {_listed(limits)} bytes"
    if limits and any(each.limit is None for each in workers):
        yield "workers with and without a limited fast tier"
    if left:
        yield "a worker left in the run" if left == 1 else f"{left} workers left in the run"
    if came:
        yield "a worker came in the run" if came == 1 else f"{came} workers came in the run"


def _listed(sizes: Sequence[int]) -> str:
    """Write two sizes out, and of more the least and the most."""
    return f"{sizes[0]:,} {'and' if len(sizes) == 2 else 'to'} {sizes[-1]:,}"
