"""What is left to run, as a request to the specialist: the controller's graph, Dask's wishes.

Sizes are those measured, else the mean of the prefix, else that of all prefixes; times likewise,
and Dask's own estimate where nothing has finished here. It all passes through arrays, because the
event loop waits for it: some milliseconds for thousands of tasks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Final

import numpy as np

from dask_mlsched.core.controller import Controller
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Booleans, Dag, Floats, Integers
from dask_mlsched.core.device import Device
from dask_mlsched.core.graph import TaskGraph, TaskState
from dask_mlsched.core.graph_message import Request
from dask_mlsched.core.machine import Machine, needed_bytes
from dask_mlsched.core.topology import row_starts, topological, transposed
from dask_mlsched.extension.translator import Translator

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler

#: Seconds of a message between a worker and the scheduler.
MESSAGE: Final = 0.002


@dataclass(frozen=True)
class Estimates:
    """What stands for the tasks of a prefix that have not run."""

    #: prefix -> bytes of an array, and seconds.
    nbytes: Mapping[int, float]
    seconds: Mapping[int, float]

    @classmethod
    def of(cls, graph: TaskGraph, known_to_dask: Mapping[int, float]) -> Estimates:
        """Estimate every prefix of a graph, of which at least one has finished.

        Parameters
        ----------
        graph
            With what was measured.
        known_to_dask
            prefix -> seconds, of those that Dask has an estimate of.
        """
        finished = {name: each for name, each in graph.prefixes.items() if each.finished}
        nbytes = {name: each.nbytes for name, each in finished.items()}
        seconds = {**known_to_dask, **{name: each.seconds for name, each in finished.items()}}
        mean_bytes, mean_seconds = _mean(nbytes.values()), _mean(seconds.values())
        return cls(
            {name: nbytes.get(name, mean_bytes) for name in graph.prefixes},
            {name: seconds.get(name, mean_seconds) for name in graph.prefixes},
        )

    def differ(self, graph: TaskGraph, share: float) -> bool:
        """Tell whether a prefix with tasks to come has been measured to be of another size."""
        return any(
            each.finished
            and each.unfinished
            and abs(each.nbytes - self.nbytes.get(name, 0.0))
            > share * max(self.nbytes.get(name, 0.0), 1.0)
            for name, each in graph.prefixes.items()
        )


@dataclass(frozen=True)
class Pressed:
    """The devices of a cluster, as far as a simulation tells them apart."""

    limit: int
    workers: int
    threads: int
    #: Bytes per second as measured; None before any copies were.
    bandwidth: float | None

    @classmethod
    def of(cls, controller: Controller) -> Pressed | None:
        """Look at the devices; None if all that is known of fits in the fast tiers."""
        devices = [each for each in controller.devices.values() if not each.paused]
        limits = [each.residency.limit for each in devices if each.residency.limit is not None]
        total = controller.graph.expected_total_bytes()
        if len(limits) < max(1, len(devices)) or total is None or total <= sum(limits):
            return None
        return cls(
            limit=min(limits),
            workers=len(devices),
            threads=max(1, round(_mean(each.threads for each in devices))),
            bandwidth=_measured(devices),
        )

    def machine(self, controller: Controller) -> Machine:
        """Return the machine that a simulation plays."""
        settings = controller.settings
        copy = CopyCost(self.bandwidth or settings.bandwidth)
        send = CopyCost(settings.network_bandwidth)
        return Machine(
            self.limit,
            workers=self.workers,
            threads=self.threads,
            costs=Costs(copy, copy, send, message=MESSAGE),
            keep_clean=settings.keep_clean,
            overlap=settings.overlap,
        )


def collect(
    scheduler: Scheduler,
    controller: Controller,
    translator: Translator,
    pressed: Pressed,
    *,
    number: int,
    seconds_per_task: float,
    least_seconds: float,
    most_seconds: float,
) -> tuple[Request, Estimates] | None:
    """Collect what is left to run; None if that is nothing."""
    graph = controller.graph
    known_to_dask = {
        name: known.duration_average
        for name in graph.prefixes
        if (known := scheduler.task_prefixes.get(translator.prefix_name(name))) is not None
        and known.duration_average >= 0
    }
    estimates = Estimates.of(graph, known_to_dask)
    rows, given, starts, sources = _left(graph)
    if given.all():
        return None
    tasks = rows.tolist()
    names = np.array([graph.prefix[task] for task in tasks], np.int64)
    prefixes, prefix = np.unique(names, return_inverse=True)
    of_prefix = np.array([estimates.nbytes[name] for name in prefixes.tolist()])
    took = np.array([estimates.seconds[name] for name in prefixes.tolist()])
    made = np.array([graph.nbytes[task] for task in tasks], np.int64)
    wanted = [
        (ts := scheduler.tasks.get(translator.tasks.key(task))) is not None and bool(ts.who_wants)
        for task in tasks
    ]
    seconds: Floats = np.where(given, 0.0, took[prefix])
    reader_starts, readers = transposed(starts, sources)
    dag = Dag(
        name="what is left",
        keys=tuple(map(str, tasks)),
        prefixes=tuple(map(str, prefixes.tolist())),
        prefix=prefix.astype(np.int64),
        starts=starts,
        sources=sources,
        reader_starts=reader_starts,
        readers=readers,
        nbytes=np.where(given, made, np.rint(of_prefix[prefix]).astype(np.int64)),
        seconds=seconds,
        wanted=np.array(wanted, np.bool_),
        given=given,
    )
    order = np.empty(len(dag), np.int64)
    order[sorted(range(len(tasks)), key=lambda at: graph.order(tasks[at]))] = np.arange(len(dag))
    machine = pressed.machine(controller)
    # An estimate must not make a task too large for the device, or nothing could be simulated.
    machine = replace(machine, limit=max(pressed.limit, int(needed_bytes(dag).max())))
    copies = machine.costs.load.bandwidth
    request = Request(
        number=number,
        dag=dag,
        order=order,
        machine=machine,
        settings=replace(controller.settings, bandwidth=copies),
        objective="bytes" if pressed.bandwidth is None else "makespan",
        seconds=min(most_seconds, max(least_seconds, seconds_per_task * int((~given).sum()))),
        seed=controller.settings.seed,
    )
    return request, estimates


def _left(graph: TaskGraph) -> tuple[Integers, Booleans, Integers, Integers]:
    """List the tasks that are to run and the arrays that they read, dependencies first.

    Returns
    -------
    rows, given, starts, sources
        [n] numbers in the graph, [n] whether the array is there, and the edges as in `Dag`.
    """
    states = np.array(graph.state, np.int64)
    there = states == TaskState.COMPUTED
    to_run = ~there & (states != TaskState.UNKNOWN)
    # What is done and released is not made again unless somebody asks for it.
    to_run &= ~(np.array(graph.released, np.bool_) & (states == TaskState.WAITING))
    running = np.flatnonzero(to_run)
    counts, reads = _edges(graph, running)
    needed = np.zeros(len(states), np.bool_)
    needed[reads] = True
    rows = np.flatnonzero(to_run | (there & needed))
    place = np.full(len(states), -1, np.int64)
    place[rows] = np.arange(len(rows))
    sources, readers = place[reads], place[np.repeat(running, counts)]
    known = sources >= 0
    sources, readers = sources[known], readers[known]
    # By reader: the running ones were in ascending order, so these are.
    per_row = np.bincount(readers, minlength=len(rows))
    first = topological(per_row, sources)
    moved = np.empty(len(rows), np.int64)
    moved[first] = np.arange(len(rows))
    sources, readers = moved[sources], moved[readers]
    by_reader = np.lexsort((sources, readers))
    rows = rows[first]
    return rows, there[rows], row_starts(readers[by_reader], len(rows)), sources[by_reader]


def _edges(graph: TaskGraph, tasks: Integers) -> tuple[Integers, Integers]:
    reads = [graph.dependencies[task] for task in tasks.tolist()]
    counts = np.fromiter(map(len, reads), np.int64, len(reads))
    return counts, np.fromiter(chain.from_iterable(reads), np.int64, int(counts.sum()))


def _measured(devices: Iterable[Device]) -> float | None:
    speeds = [each.bandwidth for each in devices if each.measured]
    return _mean(speeds) if speeds else None


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every) if every else 0.0
