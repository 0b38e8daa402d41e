"""The machine that a trace was recorded on, as a simulation plays it, with costs fitted to the run.

Copies have a latency and a bandwidth per direction (`costs.fit_copies`). What is left of the time
between the ends of two tasks on a worker, after computing and copying, is the worker's event loop;
where the worker had nothing else to do, it is also a message there and one back. Tasks that were
sent to an idle worker and those that were not tell the two apart.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Final

import numpy as np

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, CopyFit, Costs, fit_copies
from dask_mlsched.core.machine import Machine, SimulationError
from dask_mlsched.core.planners.taken import Differences
from dask_mlsched.core.planners.taken import Taken as TakenPlanner
from dask_mlsched.core.simulator import SimulatedRun, simulate
from dask_mlsched.core.taken import Taken, taken
from dask_mlsched.core.trace import Copy, Trace

#: Seconds that a message takes where a trace does not tell; it takes no less and no more than the
#: others. Dask collects messages for 2 ms in one direction and 5 ms in the other, but only while
#: others were sent just before. What takes longer was no message, but a worker that was busy.
_MESSAGE: Final = 0.002
_QUICKEST: Final = 0.001
_SLOWEST: Final = 0.005

#: So many tasks must have been sent to an idle worker, and as many to a busy one, to tell.
_ENOUGH: Final = 5

#: The two figures depend on each other; so many rounds bring them together.
_ROUNDS: Final = 20

#: A load is for one of so many tasks that end next on its worker.
_AHEAD: Final = 50


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to, live or simulated."""

    #: Seconds from the first task that was sent to the last that was heard of.
    makespan: float
    bytes_loaded: int
    bytes_evicted: int


@dataclass(frozen=True)
class Calibration:
    """A recorded run, ready to be simulated."""

    #: Its decisions, and its DAG with measured sizes and times.
    taken: Taken
    machine: Machine
    settings: Settings
    #: Whether Dask decided alone, while we observed.
    stock: bool
    #: What was fitted; None for a direction in which nothing was copied.
    load: CopyFit | None
    evict: CopyFit | None
    #: What was measured.
    live: Figures


@dataclass(frozen=True)
class Repetition:
    """The decisions of a trace, taken again in a simulation."""

    run: SimulatedRun
    #: Empty for stock.
    differences: Differences

    @property
    def figures(self) -> Figures:
        """What it came to."""
        return Figures(self.run.makespan, self.run.bytes_loaded, self.run.bytes_evicted)


def calibrate(trace: Trace, name: str = "trace") -> Calibration:
    """Fit a machine to a recorded run.

    Parameters
    ----------
    trace
        May be cut: what stands in it counts.
    name
        The DAG's name.

    Raises
    ------
    SimulationError
        If no task has ended in the trace.
    """
    decisions = taken(trace, name)
    if not decisions.sent:
        msg = "no task of this trace has ended; expected a trace of a run that got so far"
        raise SimulationError(msg)
    copies = list(trace.copies())
    load, evict = _fit(copies, loaded=True), _fit(copies, loaded=False)
    settings = trace.header.settings
    assumed = CopyCost(settings.bandwidth)
    fitted = load or evict
    costs = Costs(
        load=load.cost if load else fitted.cost if fitted else assumed,
        evict=evict.cost if evict else fitted.cost if fitted else assumed,
        send=CopyCost(settings.network_bandwidth),
        decision=_decision_seconds(trace),
    )
    message, task = _overheads(trace, copies, costs)
    costs = replace(costs, message=message, task=task)
    workers, threads, limit = _workers(trace)
    machine = Machine(
        limit=limit, workers=workers, threads=threads, costs=costs, keep_clean=settings.keep_clean
    )
    stock = trace.header.policy == "stock" or trace.header.mode != "manage"
    return Calibration(decisions, machine, settings, stock, load, evict, _live(trace, copies))


def repeat(calibration: Calibration, machine: Machine | None = None) -> Repetition:
    """Simulate the decisions of a recorded run.

    Parameters
    ----------
    machine
        Instead of the one that was fitted; with as many workers.

    Raises
    ------
    SimulationError
        If a task does not fit the machine.
    """
    dag, sent = calibration.taken.dag, calibration.taken.sent
    planner = None if calibration.stock else TakenPlanner(sent)
    run = simulate(
        dag,
        machine or calibration.machine,
        planner,
        # The DAG of a trace stands in Dask's order.
        order=np.arange(len(dag)),
        settings=calibration.settings,
        stock=calibration.stock,
        sent=sent,
    )
    return Repetition(run, Differences() if planner is None else planner.differences)


def _fit(copies: Sequence[Copy], *, loaded: bool) -> CopyFit | None:
    # A copy that took no time was none: the slow tier had the array still.
    real = [c for c in copies if c.loaded == loaded and c.nbytes > 0 and c.seconds > 0]
    if not real:
        return None
    return fit_copies([copy.nbytes for copy in real], [copy.seconds for copy in real])


def _workers(trace: Trace) -> tuple[int, int, int | None]:
    """Count workers, and find the threads and the limit of the smallest of them."""
    threads: list[int] = []
    limits: list[int] = []
    for event in trace.events():
        if isinstance(event, ev.WorkerJoined):
            threads.append(event.threads)
        if isinstance(event, ev.WorkerJoined | ev.LimitSeen) and event.limit is not None:
            limits.append(event.limit)
    return len(threads), min(threads), min(limits, default=None)


def _live(trace: Trace, copies: Sequence[Copy]) -> Figures:
    begun = min(event.time for event in trace.events() if isinstance(event, ev.TaskStarted))
    ended = max(event.time for event in trace.events() if isinstance(event, ev.TaskFinished))
    real = [copy for copy in copies if copy.seconds > 0]
    return Figures(
        ended - begun,
        sum(copy.nbytes for copy in real if copy.loaded),
        sum(copy.nbytes for copy in real if not copy.loaded),
    )


def _decision_seconds(trace: Trace) -> float:
    """Return the median over passes of what one instruction took."""
    took = [
        (step.readings[-1] - step.readings[0]) * 1e-9 / len(step.instructions)
        for step in trace.steps()
        if step.instructions and step.readings
    ]
    return median(took) if took else 0.0


@dataclass(slots=True)
class _Ended:
    """A task that has ended on a worker."""

    inputs: frozenset[int]
    #: When it was sent, and when the scheduler heard of its end.
    sent: float
    heard: float
    #: Of computing, and of copies for it.
    seconds: float
    #: Of sending what it reads and other workers made.
    fetch_seconds: float = 0.0
    load_seconds: float = 0.0
    evict_seconds: float = 0.0


def _overheads(trace: Trace, copies: Sequence[Copy], costs: Costs) -> tuple[float, float]:
    """Estimate the seconds of a message, and those that a worker spends on each task."""
    threads = {e.worker: e.threads for e in trace.events() if isinstance(e, ev.WorkerJoined)}
    workers = [
        (_ended(trace, worker, [c for c in copies if c.worker == worker], costs), count)
        for worker, count in threads.items()
    ]
    message, task = _MESSAGE, 0.0
    for _ in range(_ROUNDS):
        idle: list[float] = []
        busy: list[float] = []
        for ended, count in workers:
            for waited, left in _left(ended, count, message, task):
                (idle if waited else busy).append(left)
        # A makespan is a sum, so the mean: what few tasks have to wait for counts as well.
        task = fmean([*idle, *busy])
        if min(len(idle), len(busy)) < _ENOUGH:
            message = _clamped(message + min(0.0, task))
        else:
            message = _clamped(message + (median(idle) - median(busy)) / 4)
        task = max(0.0, task)
    return message, task


def _clamped(message: float) -> float:
    return min(max(_QUICKEST, message), _SLOWEST)


def _left(
    ended: Sequence[_Ended], threads: int, message: float, task_seconds: float
) -> Iterator[tuple[bool, float]]:
    """Yield for each task whether its thread waited for it, and the seconds that nothing explains.

    As the worker saw it: what the scheduler heard left it a message before that, and if the next
    task was there already, after that had been begun.
    """
    free = [-math.inf] * threads
    for number, each in enumerate(ended):
        end = each.heard - message
        if number + 1 < len(ended):
            following = ended[number + 1]
            earlier = end - task_seconds - following.load_seconds
            if following.sent + message + following.fetch_seconds <= earlier:
                end = earlier
        before = heapq.heapreplace(free, end)
        arrived = each.sent + message + each.fetch_seconds
        explained = each.seconds + each.load_seconds + each.evict_seconds
        yield arrived > before, end - max(arrived, before) - explained


def _ended(trace: Trace, worker: int, copies: Sequence[Copy], costs: Costs) -> list[_Ended]:
    """List the tasks that ended on a worker, as they did, with what was copied for them."""
    inputs: dict[int, frozenset[int]] = {}
    begun: dict[int, float] = {}
    #: array -> its bytes, if it is only on other workers.
    elsewhere: dict[int, int] = {}
    found: list[_Ended] = []
    for event in trace.events():
        match event:
            case ev.GraphArrived(tasks=specs):
                inputs.update((spec.task, frozenset(spec.dependencies)) for spec in specs)
            case ev.TaskStarted(time=time, task=task, worker=where) if where == worker:
                begun[task] = time
            case ev.TaskFinished(time=time, task=task, seconds=seconds) if task in begun:
                row = _Ended(inputs[task], begun.pop(task), time, max(0.0, seconds))
                row.fetch_seconds = sum(
                    costs.send.seconds(elsewhere.pop(array))
                    for array in row.inputs
                    if array in elsewhere
                )
                found.append(row)
            case ev.TaskFinished(task=task, nbytes=nbytes):
                elsewhere[task] = nbytes
    _add_copies(found, copies, costs)
    return found


def _add_copies(ended: Sequence[_Ended], copies: Sequence[Copy], costs: Costs) -> None:
    """Add the seconds of copies to the tasks that they were for.

    A load is for the next task that reads the array, and evictions that follow are, too. Copies
    take what was fitted: what single ones took beyond that is for the overheads to explain.
    """
    if not ended:
        return
    place = 0
    for copy in copies:
        if copy.loaded:
            place = next(_readers(ended, copy.array, place), place)
            ended[place].load_seconds += costs.load.seconds(copy.nbytes)
        elif copy.seconds > 0:
            ended[place].evict_seconds += costs.evict.seconds(copy.nbytes)


def _readers(ended: Sequence[_Ended], array: int, first: int) -> Iterator[int]:
    for place in range(first, min(first + _AHEAD, len(ended))):
        if array in ended[place].inputs:
            yield place


def with_costs(machine: Machine, costs: Sequence[Costs]) -> Machine:
    """Return a machine whose messages and event loops are as quick as others are at the median."""
    return replace(
        machine,
        costs=replace(
            machine.costs,
            message=median(each.message for each in costs),
            decision=median(each.decision for each in costs),
            task=median(each.task for each in costs),
        ),
    )
