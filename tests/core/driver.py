"""A virtual Dask: plays Dask's scheduler and its workers to a controller, on a virtual clock.

It knows keys, states and the rules by which Dask moves tasks: a task is ready
when its inputs are in memory, an array that nobody needs is released, a task
that nobody can ask for is forgotten and its number used again, and what was
lost with a worker is computed anew. Unless told otherwise it checks all of the
controller's tables after every event.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Literal, TypeAlias

from core.consistency import check
from core.graphs import NBYTES, Drawn, draw, in_order
from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.policies import Policy
from dask_mlsched.core.worker_line import BRIDGE

State: TypeAlias = Literal["released", "waiting", "parked", "processing", "memory", "erred"]

#: A task in one of these needs its inputs.
ACTIVE = ("waiting", "parked", "processing")


@dataclass(eq=False)
class Task:
    """A task as Dask sees it."""

    key: str
    number: int
    #: Grows with every task, so that an edge from an older to a younger one makes no cycle.
    born: int
    dependencies: list[str]
    priority: ev.Priority
    nbytes: int
    seconds: float
    wanted: bool
    #: Whether it is parked when it is ready; otherwise Dask places it by itself.
    ours: bool
    state: State = "released"
    dependents: dict[str, None] = field(default_factory=dict)
    worker: int | None = None
    holders: set[int] = field(default_factory=set)
    seceded: bool = False


@dataclass(eq=False)
class Worker:
    """A worker: computes up to `threads` tasks at once, in the order in which they came."""

    threads: int
    paused: bool = False
    queue: list[str] = field(default_factory=list)
    #: key -> when it will be done, for tasks that have a thread or have seceded.
    ends: dict[str, float] = field(default_factory=dict)


class Ticking:
    """A stopwatch that shows a microsecond more each time it is read."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1e-6
        return self.seconds


class VirtualDask:
    """Drives one controller.

    Parameters
    ----------
    policy
        For the controller.
    validate
        Whether to check the controller's tables after every event.
    stopwatch
        For the controller.
    **settings
        Fields of `Settings`.
    """

    def __init__(
        self,
        policy: Policy | None = None,
        *,
        validate: bool = True,
        stopwatch: Callable[[], float] | None = None,
        **settings: float | str,
    ) -> None:
        chosen = Settings(**settings)  # type: ignore[arg-type]  # each has a type of its own
        self.controller = Controller(policy, chosen, stopwatch or Ticking())
        self.validate = validate
        self.now = 0.0
        self.tasks: dict[str, Task] = {}
        self.workers: dict[int, Worker] = {}
        #: Everything the controller has said.
        self.instructions: list[ev.Instruction] = []
        #: Keys in the order in which they were sent off by the controller.
        self.sent: list[str] = []
        #: worker -> when its hold ends.
        self.deadlines: dict[int, float] = {}
        self._keys: dict[int, str] = {}
        self._free: list[int] = []
        self._births = count()
        self._generations = count()
        self._prefixes: dict[str, int] = {}

    def handle(self, event: ev.Event) -> list[ev.Instruction]:
        """Pass on one event, and check what it left behind."""
        instructions = self.controller.handle(event)
        if self.validate:
            check(self.controller)
        return instructions

    # What tests ask

    def number(self, key: str) -> int:
        return self.tasks[key].number

    def key(self, number: int) -> str:
        return self._keys[number]

    def keys(self, *states: State) -> list[str]:
        """List the keys in some of the states, oldest task first."""
        return [key for key, task in self.tasks.items() if task.state in states]

    @property
    def runs(self) -> list[ev.Run]:
        return [each for each in self.instructions if isinstance(each, ev.Run)]

    @property
    def holds(self) -> list[ev.Hold]:
        return [each for each in self.instructions if isinstance(each, ev.Hold)]

    # Graphs

    def submit(
        self,
        graph: str | Drawn,
        *,
        wanted: Iterable[str] | None = None,
        dasks_own: Iterable[str] = (),
        priority: Mapping[str, int] | int = 0,
        seconds: Mapping[str, float] | float = 1.0,
        one_by_one: bool = False,
    ) -> None:
        """Take in a graph; it may depend on keys that are known.

        Parameters
        ----------
        graph
            Drawn by `graphs.draw`, or as text for it.
        wanted
            Keys that a client keeps; without it those without dependents.
        dasks_own
            Keys that are not managed.
        priority
            The user's priority, for all or by key; higher is more urgent.
        seconds
            How long tasks compute, for all or by key (1 where nothing is said).
        one_by_one
            As by `Client.submit`: Dask has no order among the tasks.
        """
        drawn = draw(graph) if isinstance(graph, str) else graph
        new = [key for key in in_order(drawn.dependencies) if key not in self.tasks]
        inputs = {dep for key in new for dep in drawn.dependencies[key]}
        kept = {key for key in new if key not in inputs} if wanted is None else set(wanted)
        users = dict.fromkeys(new, priority) if isinstance(priority, int) else priority
        times = seconds if isinstance(seconds, Mapping) else dict.fromkeys(new, seconds)
        rank = {key: 0 if one_by_one else i for i, key in enumerate(drawn.dependencies)}
        generation = next(self._generations)
        for key in new:
            born = next(self._births)
            self.tasks[key] = Task(
                key,
                self._number(key),
                born,
                list(drawn.dependencies[key]),
                (-users.get(key, 0), generation, rank[key]),
                drawn.nbytes.get(key, NBYTES),
                times.get(key, 1.0),
                key in kept,
                key not in set(dasks_own),
            )
            for dep in drawn.dependencies[key]:
                self.tasks[dep].dependents[key] = None
        self.handle(ev.GraphArrived(self.now, tuple(self._spec(self.tasks[key]) for key in new)))
        for key in kept:
            if key in self.tasks:
                self.tasks[key].wanted = True
        for key in (*new, *sorted(kept)):
            if key in self.tasks and self._needed(self.tasks[key]):
                self._want(self.tasks[key])
        for key in new:
            self._forget_if_possible(key)

    def _number(self, key: str) -> int:
        number = heappop(self._free) if self._free else len(self.tasks)
        self._keys[number] = key
        return number

    def _spec(self, task: Task) -> ev.TaskSpec:
        prefix = self._prefixes.setdefault(task.key.rstrip("-0123456789"), len(self._prefixes))
        dependencies = tuple(self.number(dep) for dep in task.dependencies)
        return ev.TaskSpec(task.number, dependencies, task.priority, prefix)

    def scatter(self, key: str, nbytes: int, workers: Iterable[int]) -> None:
        """Put data on workers, as a client does."""
        born = next(self._births)
        task = Task(key, self._number(key), born, [], (0, 0, 0), nbytes, 1.0, True, True)
        self.tasks[key] = task
        task.state, task.holders = "memory", set(workers)
        self.handle(ev.GraphArrived(self.now, (self._spec(task),)))
        self.handle(ev.ArrayAppeared(self.now, task.number, nbytes, tuple(workers)))

    def depend(self, key: str, dependencies: Iterable[str]) -> None:
        """Give a known task more dependencies, each older than itself."""
        task = self.tasks[key]
        new = [dep for dep in dict.fromkeys(dependencies) if dep not in task.dependencies]
        assert all(self.tasks[dep].born < task.born for dep in new)
        task.dependencies += new
        for dep in new:
            self.tasks[dep].dependents[key] = None
        numbers = tuple(self.number(dep) for dep in task.dependencies)
        self.handle(ev.DependenciesAdded(self.now, task.number, numbers, task.priority))
        if task.state in ("waiting", "parked"):
            if any(self.tasks[dep].state != "memory" for dep in new):
                self._leave(task, "waiting")
            for dep in new:
                self._want(self.tasks[dep])
            self._ready_if_possible(task)

    # What Dask does by itself

    def _needed(self, task: Task) -> bool:
        return task.wanted or any(self.tasks[key].state in ACTIVE for key in task.dependents)

    def _want(self, task: Task) -> None:
        if task.state != "released":
            return
        task.state = "waiting"
        for dep in task.dependencies:
            self._want(self.tasks[dep])
        if any(self.tasks[dep].state == "erred" for dep in task.dependencies):
            self._err(task)
        else:
            self._ready_if_possible(task)

    def _ready_if_possible(self, task: Task) -> None:
        inputs = [self.tasks[dep].state for dep in task.dependencies]
        if task.state != "waiting" or any(state != "memory" for state in inputs):
            return
        if task.ours:
            task.state = "parked"
            self.handle(ev.TaskReady(self.now, task.number))
        else:
            self._place(task)

    def _place(self, task: Task) -> None:
        running = [name for name, worker in self.workers.items() if not worker.paused]
        if running:
            self.start(task.key, min(running, key=lambda w: (len(self.workers[w].queue), w)))

    def start(self, key: str, worker: int) -> None:
        """Send a task to a worker."""
        task = self.tasks[key]
        task.state, task.worker, task.seceded = "processing", worker, False
        self.workers[worker].queue.append(key)
        self.handle(ev.TaskStarted(self.now, task.number, worker))
        self._give_threads(worker)

    def _give_threads(self, name: int) -> None:
        worker = self.workers[name]
        busy = sum(not self.tasks[key].seceded for key in worker.ends)
        for key in worker.queue:
            if busy < worker.threads and key not in worker.ends:
                worker.ends[key] = self.now + self.tasks[key].seconds
                busy += 1

    def _leave(self, task: Task, state: State) -> None:
        """Take a task out of its state, and tell the controller."""
        before, task.state = task.state, state
        if before == "parked":
            self.handle(ev.TaskWithdrawn(self.now, task.number))
        elif before == "memory":
            task.holders.clear()
            self.handle(ev.ArrayReleased(self.now, task.number))
        elif before == "processing":
            self.handle(ev.TaskStopped(self.now, task.number))
            self._off_its_worker(task)

    def _off_its_worker(self, task: Task) -> None:
        assert task.worker is not None
        worker = self.workers.get(task.worker)
        if worker is not None:
            worker.queue.remove(task.key)
            worker.ends.pop(task.key, None)
            self._give_threads(task.worker)
        task.worker = None

    def _release_if_possible(self, task: Task) -> None:
        if task.state in (*ACTIVE, "memory") and not self._needed(task):
            self._leave(task, "released")
            self._release_inputs(task)
            self._forget_if_possible(task.key)

    def _release_inputs(self, task: Task) -> None:
        for dep in task.dependencies:
            self._release_if_possible(self.tasks[dep])

    def _forget_if_possible(self, key: str) -> None:
        task = self.tasks.get(key)
        if task is None or task.wanted or task.dependents:
            return
        if task.state not in ("released", "erred"):
            return
        self.handle(ev.TaskForgotten(self.now, task.number))
        del self.tasks[key]
        del self._keys[task.number]
        heappush(self._free, task.number)
        for dep in task.dependencies:
            del self.tasks[dep].dependents[key]
            self._forget_if_possible(dep)

    def _err(self, task: Task) -> None:
        self._leave(task, "erred")
        for key in list(task.dependents):
            if self.tasks[key].state in ACTIVE:
                self._err(self.tasks[key])
        self._release_inputs(task)

    # What happens to tasks

    def finish(self, key: str) -> None:
        """Have a task make its array."""
        task = self.tasks[key]
        assert task.state == "processing"
        assert task.worker is not None
        task.state, task.holders = "memory", {task.worker}
        self.handle(ev.TaskFinished(self.now, task.number, task.nbytes, task.seconds))
        self._off_its_worker(task)
        for dependent in task.dependents:
            self._ready_if_possible(self.tasks[dependent])
        self._release_inputs(task)
        self._release_if_possible(task)

    def reschedule(self, key: str) -> None:
        """Have a task give itself back, to be run anew."""
        task = self.tasks[key]
        self._leave(task, "waiting")
        # One that it was given while it ran may not be there.
        for dep in task.dependencies:
            self._want(self.tasks[dep])
        self._ready_if_possible(task)

    def fail(self, key: str) -> None:
        """Have a task raise: it and all that need it are erred."""
        self._err(self.tasks[key])

    def cancel(self, key: str) -> None:
        """Have the client give up a task and everything that needs it."""
        for each in self._downstream(key):
            task = self.tasks.get(each)
            if task is None:
                continue  # nobody needed it any more once its dependents were gone
            task.wanted = False
            self._leave(task, "released")
            self._release_inputs(task)
            self._forget_if_possible(each)

    def _downstream(self, key: str) -> list[str]:
        """List a task and all that depend on it, dependents first."""
        found: dict[str, None] = {}

        def visit(each: str) -> None:
            for dependent in self.tasks[each].dependents:
                if dependent not in found:
                    visit(dependent)
            found[each] = None

        visit(key)
        return list(found)

    def release(self, key: str) -> None:
        """Have the client give up a task; it stays while others need it."""
        task = self.tasks[key]
        task.wanted = False
        self._release_if_possible(task)
        self._forget_if_possible(key)

    def secede(self, key: str) -> None:
        """Have a running task leave its worker's threads."""
        task = self.tasks[key]
        task.seceded = True
        self.handle(ev.TaskSeceded(self.now, task.number))
        assert task.worker is not None
        self._give_threads(task.worker)

    # Workers

    def join(self, worker: int, threads: int = 1, limit: int | None = 100) -> None:
        self.workers[worker] = Worker(threads)
        self.handle(ev.WorkerJoined(self.now, worker, threads, limit))
        self._place_what_waits()

    def _place_what_waits(self) -> None:
        for key in self.keys("waiting"):
            self._ready_if_possible(self.tasks[key])

    def leave(self, worker: int, *, told_last: bool = True) -> None:
        """Lose a worker; its tasks and arrays are made again by others.

        Dask may say that the worker is gone after (`told_last`) or before what that means.
        """
        queue = self.workers.pop(worker).queue
        self.deadlines.pop(worker, None)
        if not told_last:
            self.handle(ev.WorkerLeft(self.now, worker))
        for key in queue:
            self._leave(self.tasks[key], "waiting")
        lost = []
        for task in self.tasks.values():
            task.holders.discard(worker)
            if task.state == "memory" and not task.holders:
                lost.append(task)
        for task in lost:
            self._leave(task, "released")
            for key in task.dependents:
                if self.tasks[key].state in ("parked", "processing"):
                    self._leave(self.tasks[key], "waiting")
        if told_last:
            self.handle(ev.WorkerLeft(self.now, worker))
        for task in lost:
            if self._needed(task):
                self._want(task)
            else:
                self._forget_if_possible(task.key)
        self._want_what_they_read(queue)
        self._place_what_waits()

    def _want_what_they_read(self, keys: Iterable[str]) -> None:
        """Ask for what tasks were given to read while they ran: it may never have been made."""
        waiting = [key for key in keys if key in self.tasks and self.tasks[key].state == "waiting"]
        for key in waiting:
            for dep in self.tasks[key].dependencies:
                self._want(self.tasks[dep])

    def pause(self, worker: int) -> None:
        self.workers[worker].paused = True
        self.deadlines.pop(worker, None)
        self.handle(ev.WorkerPaused(self.now, worker))

    def resume(self, worker: int) -> None:
        self.workers[worker].paused = False
        self.handle(ev.WorkerResumed(self.now, worker))
        self._place_what_waits()

    # Time

    def decide(self, *, refuse: Iterable[int] = ()) -> list[ev.Instruction]:
        """Ask for decisions and carry them out, but refuse those runs (by place)."""
        waiting = [self.tasks[key].priority[0] for key in self.keys("parked")]
        instructions = self.handle(ev.Decide(self.now))
        self.instructions += instructions
        runs = [each for each in instructions if isinstance(each, ev.Run)]
        if not self.controller.chooser.fits:
            settings = self.controller.settings
            bridged = settings.lookahead > 0 and settings.round_trip > 0
            ahead = max(settings.lookahead, BRIDGE) if bridged else settings.lookahead
            for run in runs:
                device = self.controller.devices[run.worker]
                assert len(device.in_flight) <= device.threads + ahead
        for place, run in enumerate(runs):
            task = self.tasks[self.key(run.task)]
            self.deadlines.pop(run.worker, None)
            # Before a ready task of higher user priority, no other is run.
            assert task.priority[0] == min(waiting)
            waiting.remove(task.priority[0])
            assert not self.workers[run.worker].paused
            if place in refuse:
                self.handle(ev.TaskRefused(self.now, run.task))
            else:
                self.sent.append(task.key)
                self.start(task.key, run.worker)
        for each in instructions:
            if isinstance(each, ev.Hold):
                assert each.until > self.now
                self.deadlines[each.worker] = each.until
        return instructions

    def next_time(self) -> float | None:
        """Say when something happens by itself: a task ends, or a hold."""
        ends = [end for worker in self.workers.values() for end in worker.ends.values()]
        holds = [until for until in self.deadlines.values() if until > self.now]
        return min(ends + holds, default=None)

    def advance(self, time: float) -> None:
        """Move the clock, finish what is done by then, and decide."""
        self.now = max(self.now, time)
        done = [
            (end, key)
            for worker in self.workers.values()
            for key, end in worker.ends.items()
            if end <= self.now
        ]
        for _, key in sorted(done):
            self.finish(key)
        self.decide()

    def run(self) -> list[str]:
        """Go on until nothing is left to do; list the keys in the order in which they were sent."""
        self.decide()
        while (time := self.next_time()) is not None:
            self.advance(time)
        stuck = self.keys(*ACTIVE)
        assert not stuck, f"nothing will happen any more, but {stuck} are not done"
        return self.sent
