"""A virtual clock that drives the controller through a whole DAG.

The simulator plays what surrounds the controller in a live run: Dask's scheduler, which tells of
tasks that become ready, start and end, of arrays that are released, and of what workers report;
and the workers themselves. Between the two, messages take time, so that the controller decides on
what it has heard, as it does live. All that happens is in one queue, by time and then in the order
in which it came about, so that a run depends on its arguments alone.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.dag import Dag, Integers
from dask_mlsched.core.machine import Machine, SimulationError, check_fits
from dask_mlsched.core.policies import Policy
from dask_mlsched.core.simulated_worker import SimulatedWorker, TaskRecord
from dask_mlsched.core.stock import StockAsTaken, StockDask
from dask_mlsched.core.taken import Sent

#: Makes a controller of a policy, settings and a stopwatch.
MakeController: TypeAlias = Callable[[Policy | None, Settings, Callable[[], float]], Controller]


@dataclass(frozen=True)
class SimulatedRun:
    """What a simulated run came to."""

    #: Seconds until the last task has ended.
    makespan: float
    bytes_loaded: int
    bytes_evicted: int
    #: Bytes that went from one worker to another.
    bytes_sent: int
    holds: int
    hold_seconds: float
    #: Decisions, and seconds that recent ones took.
    decisions: int
    decision_seconds: Sequence[float]
    #: Every task, in the order in which they started.
    schedule: Sequence[TaskRecord]


def simulate(
    dag: Dag,
    machine: Machine,
    policy: Policy | None,
    *,
    order: Integers,
    settings: Settings | None = None,
    stock: bool = False,
    sent: Sequence[Sent] | None = None,
    rng: np.random.Generator | None = None,
    stopwatch: Callable[[], float] = lambda: 0.0,
    controller: MakeController = Controller,
) -> SimulatedRun:
    """Run a DAG on a virtual cluster.

    Parameters
    ----------
    dag, machine
        What is run, and on what.
    policy
        Chooses; None for Dask's order.
    order
        [n] place of each task in Dask's order.
    settings
        Of the controller. Policies may take as long as they like: their time is not the run's.
    stock
        Leave all to Dask's own scheduling, as without us.
    sent
        What was sent where and when in a run that is to be repeated: with `stock`, Dask decides as
        it did then; without, the policy is to be `planners.taken.Taken`, and workers evict for
        each task what they were told to.
    rng
        Draws the noise on compute times; None for no noise.
    stopwatch
        Measures decisions.
    controller
        Makes the controller: one that is recorded, for a trace of the simulated run.

    Raises
    ------
    SimulationError
        If a task needs more than the fast tier holds, or the slow tier overflows.
    """
    settings = replace(settings or Settings(), time_budget=math.inf)
    scheduler: StockDask | StockAsTaken | None = None
    if stock and sent is not None:
        scheduler = StockAsTaken(sent, order, machine.workers)
    elif stock:
        scheduler = StockDask(dag, order, machine.workers, machine.threads)
    victims = {each.task: each.victims for each in sent} if sent is not None else None
    made = controller(policy, settings, stopwatch)
    return _Simulation(dag, machine, made, order, scheduler, victims, rng).run()


class _Simulation:
    """One run: the clock, the queue of what happens next, and Dask's scheduler."""

    def __init__(
        self,
        dag: Dag,
        machine: Machine,
        controller: Controller,
        order: Integers,
        stock: StockDask | StockAsTaken | None,
        victims: Mapping[int, tuple[int, ...]] | None,
        rng: np.random.Generator | None,
    ) -> None:
        check_fits(dag, machine.limit)
        costs = machine.costs
        self.machine = machine
        # Plain lists: reading one number at a time from an array takes three times as long.
        self.order: list[int] = order.tolist()
        self.nbytes: list[int] = dag.nbytes.tolist()
        self.inputs = _rows(dag.starts, dag.sources)
        self.readers = _rows(dag.reader_starts, dag.readers)
        self.wanted: list[bool] = dag.wanted.tolist()
        self.given: list[int] = np.flatnonzero(dag.given).tolist()
        noise = costs.noise * rng.standard_normal(len(dag)) if rng is not None else 0.0
        self.seconds: list[float] = (dag.seconds * np.exp(noise)).tolist()
        self.prefix: list[int] = dag.prefix.tolist()
        self.workers = [
            SimulatedWorker(
                name,
                machine.threads,
                machine.limit,
                self.nbytes,
                costs,
                keep_clean=machine.keep_clean,
                overlap=machine.overlap,
            )
            for name in range(machine.workers)
        ]
        self.controller = controller
        self.stock = stock
        self._victims = victims
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[..., None], tuple[int, ...]]] = []
        self._count = 0
        #: Whether the scheduler has heard something since it last decided; its clock.
        self._stirred = False
        self._scheduler_free_at = 0.0
        #: Per task: inputs that do not exist yet, and readers that have not run.
        self._unfinished = [len(inputs) for inputs in self.inputs]
        self._to_read = [len(readers) for readers in self.readers]
        #: task -> inputs on their way to its worker; (worker, array) -> tasks that wait for it.
        self._fetching: dict[int, int] = {}
        self._awaited: dict[tuple[int, int], list[int]] = {}
        self._hints: dict[int, tuple[int, ...]] = {}
        #: task -> worker, while it is on one.
        self._where: dict[int, int] = {}
        #: array -> the workers that hold it.
        self._holders: dict[int, set[int]] = {}
        self._schedule: list[TaskRecord] = []
        self._ended = 0
        self._bytes_sent = 0

    # The clock

    def at(self, time: float, action: Callable[..., None], *arguments: int) -> None:
        """Have something happen later."""
        self._count += 1
        heapq.heappush(self._queue, (time, self._count, action, arguments))

    def run(self) -> SimulatedRun:
        """Let everything happen."""
        self._begin()
        while self._queue:
            self.now, _, action, arguments = heapq.heappop(self._queue)
            action(*arguments)
            # What happens at one time, the scheduler hears before it decides.
            if self._stirred and (not self._queue or self._queue[0][0] > self.now):
                self._decide()
        assert self._ended == len(self.order), "every task ends: the controller sees to that"
        return self._result()

    def _result(self) -> SimulatedRun:
        controller, workers = self.controller, self.workers
        return SimulatedRun(
            makespan=max((record.end for record in self._schedule), default=0.0),
            bytes_loaded=sum(worker.bytes_loaded for worker in workers),
            bytes_evicted=sum(worker.bytes_evicted for worker in workers),
            bytes_sent=self._bytes_sent,
            holds=controller.holds,
            hold_seconds=controller.hold_seconds,
            decisions=sum(controller.chooser.reasons.values()) + controller.holds,
            decision_seconds=tuple(controller.chooser.recent_seconds),
            schedule=sorted(self._schedule, key=lambda record: record.start),
        )

    # Dask's scheduler

    def _begin(self) -> None:
        """Let workers join, and submit the graph."""
        handle, machine = self.controller.handle, self.machine
        for worker in self.workers:
            handle(ev.WorkerJoined(0.0, worker.name, machine.threads, machine.limit))
        specs = [
            ev.TaskSpec(task, tuple(inputs), (0, 0, self.order[task]), self.prefix[task])
            for task, inputs in enumerate(self.inputs)
        ]
        handle(ev.GraphArrived(0.0, tuple(specs)))
        everywhere = tuple(range(len(self.workers)))
        for array in self.given:
            handle(ev.ArrayAppeared(0.0, array, self.nbytes[array], everywhere))
            self._holders[array] = set(everywhere)
            for worker in self.workers:
                worker.give(array)
            self._ended += 1
        if self.given:
            for worker in self.workers:
                handle(ev.ResidencySeen(0.0, worker.name, ()))
        for array in self.given:
            for reader in self.readers[array]:
                self._unfinished[reader] -= 1
        given = set(self.given)
        ready = [t for t, n in enumerate(self._unfinished) if not n and t not in given]
        # In Dask's order, as Dask goes through a new graph.
        for task in sorted(ready, key=self.order.__getitem__):
            self._ready(task)
        self._stirred = True
        self.at(0.0, lambda: None)

    def _made(self, task: int) -> None:
        """Note that an array exists: its readers may be ready, and its inputs may go."""
        for reader in self.readers[task]:
            self._unfinished[reader] -= 1
            if not self._unfinished[reader]:
                self._ready(reader)
        for array in self.inputs[task]:
            self._to_read[array] -= 1
            if not self._to_read[array] and not self.wanted[array]:
                self._release(array)

    def _ready(self, task: int) -> None:
        if self.stock is not None:
            self.stock.ready(task)
        else:
            self.controller.handle(ev.TaskReady(self.now, task))

    def _release(self, array: int) -> None:
        self.controller.handle(ev.ArrayReleased(self.now, array))
        for worker in self._holders.pop(array):
            if self.machine.costs.message:
                self.at(self.now + self.machine.costs.message, self._free, worker, array)
            else:
                self._free(worker, array)

    def _free(self, worker: int, array: int) -> None:
        if self._unread(self.workers[worker], self._free, worker, array):
            return
        self.workers[worker].forget(array)

    def _unread(
        self, worker: SimulatedWorker, action: Callable[..., None], *arguments: int
    ) -> bool:
        """Put a message off while the worker's event loop is busy: it reads none until then."""
        if not self.machine.costs.message or worker.free_at <= self.now:
            return False
        self.at(worker.free_at, action, *arguments)
        return True

    def _decide(self) -> None:
        self._stirred = False
        if self.stock is not None:
            for task, worker in self.stock.decide(self._holders, self.nbytes):
                self._send(task, worker, self.now)
            return
        costs = self.machine.costs
        time = max(self.now, self._scheduler_free_at)
        for instruction in self.controller.handle(ev.Decide(self.now)):
            time += costs.decision
            if isinstance(instruction, ev.Run):
                victims = instruction.evict
                if self._victims is not None:
                    victims = self._victims.get(instruction.task, ())
                if victims:
                    self._hints[instruction.task] = victims
                self._send(instruction.task, instruction.worker, time)
            else:
                self.at(instruction.until, self._wake)
        self._scheduler_free_at = time

    def _wake(self) -> None:
        self._stirred = True

    def _send(self, task: int, worker: int, time: float) -> None:
        self.controller.handle(ev.TaskStarted(self.now, task, worker))
        self._where[task] = worker
        self.at(time + self.machine.costs.message, self._arrive, task)

    def _heard(self, task: int) -> None:
        """Hear that a task has made its array, and what moved for it."""
        worker = self.workers[self._where.pop(task)]
        seconds = self.seconds[task]
        self.controller.handle(ev.TaskFinished(self.now, task, self.nbytes[task], seconds))
        if self.stock is not None:
            self.stock.finished(task, worker.name, seconds)
        copies = worker.report()
        if copies:
            moves = tuple((array, loaded) for array, loaded, _, _ in copies)
            nbytes = sum(size for _, _, size, _ in copies)
            took = sum(copy_seconds for *_, copy_seconds in copies)
            self.controller.handle(
                ev.ArraysMoved(self.now, worker.name, moves, nbytes, took, copies)
            )
        self._holders[task] = {worker.name}
        self._ended += 1
        self._made(task)
        if not self._to_read[task] and not self.wanted[task]:
            self._release(task)
        self._stirred = True

    # Workers

    def _arrive(self, task: int) -> None:
        """Have a task reach its worker; what it reads and is elsewhere is fetched."""
        worker = self.workers[self._where[task]]
        if self._unread(worker, self._arrive, task):
            return
        missing = [array for array in self.inputs[task] if not worker.holds(array)]
        if not missing:
            self._enqueue(worker, task)
            return
        self._fetching[task] = len(missing)
        for array in missing:
            waiting = self._awaited.setdefault((worker.name, array), [])
            if not waiting:
                source = self.workers[min(self._holders[array])]
                leaves = source.send(array, self.now)
                took = self.machine.costs.send.seconds(self.nbytes[array])
                self._bytes_sent += self.nbytes[array]
                self.at(leaves + took, self._receive, worker.name, array)
            waiting.append(task)

    def _receive(self, name: int, array: int) -> None:
        worker = self.workers[name]
        worker.receive(array, self.now)
        self._holders[array].add(name)
        for task in self._awaited.pop((name, array)):
            self._fetching[task] -= 1
            if not self._fetching[task]:
                del self._fetching[task]
                self._enqueue(worker, task)

    def _enqueue(self, worker: SimulatedWorker, task: int) -> None:
        heapq.heappush(worker.queue, (self.order[task], task))
        self._work(worker.name)

    def _work(self, name: int) -> None:
        """Give a worker's free threads what is ready for them."""
        worker = self.workers[name]
        while worker.queue and worker.has_thread:
            task = worker.queue[0][1]
            worker.begin(self.now, self.inputs[task], self._hints.pop(task, ()))
            self._check_slow_tier(worker)
            self.at(worker.free_at + self.seconds[task], self._end, task)
        if self.machine.overlap:
            self._load_ahead(worker)

    def _load_ahead(self, worker: SimulatedWorker) -> None:
        """Load for those that wait, in Dask's order: what has no room keeps the next ones back."""
        for task in worker.waiting():
            # What is in use now may still go out when the task begins: it keeps its hints.
            victims = self._hints.get(task, ())
            if not worker.load_ahead(self.now, task, self.inputs[task], victims):
                return
            self._check_slow_tier(worker)

    def _end(self, task: int) -> None:
        worker = self.workers[self._where[task]]
        record = worker.end(task, self.now)
        self._check_slow_tier(worker)
        self._schedule.append(record)
        if not self.machine.costs.message:
            # The message before the next task: at no cost of messages, what is dead goes before.
            self.at(record.end, self._heard, task)
        self.at(record.end, self._free_thread, worker.name, task)

    def _free_thread(self, name: int, task: int) -> None:
        worker, message = self.workers[name], self.machine.costs.message
        worker.free_thread(task)
        self._work(name)
        if message:
            # The event loop begins the next task, if it has one, before it sends anything.
            self.at(max(self.now, worker.free_at) + message, self._heard, task)

    def _check_slow_tier(self, worker: SimulatedWorker) -> None:
        limit = self.machine.slow_limit
        if limit is not None and worker.residency.slow_bytes > limit:
            msg = (
                f"worker {worker.name} holds {worker.residency.slow_bytes} bytes in its slow tier "
                f"at {self.now:g} s, and its limit is {limit}; give it more, or more workers"
            )
            raise SimulationError(msg)


def _rows(starts: Integers, values: Integers) -> list[list[int]]:
    flat, ends = values.tolist(), starts.tolist()
    return [flat[start:end] for start, end in itertools.pairwise(ends)]
