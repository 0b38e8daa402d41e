"""The state machine: events in, instructions out.

The controller keeps the graph, every device's predicted residency and the
index of parked tasks (`books.Books`) in step with the events, and on `Decide`
fills free slots. Whose slot is next is asked of `worker_line.WorkerLine`, and
what to do with it of `chooser.Chooser`: neither changes anything.

A task's states and what moves it::

    GraphArrived        TaskReady          Run             TaskStarted
    -----------> WAITING --------> PARKED -----> SENT ----------------> RUNNING
                    ^   <--------        <-----       TaskFinished         |
                    |   TaskWithdrawn    TaskRefused       COMPUTED <------+
                    +----------------------------------------+  ArrayReleased
                    +------------------------------------- RUNNING  TaskStopped

An event that does not fit a task's state raises `IllegalEvent` and changes
nothing. Tasks that are not ours go from WAITING to RUNNING without being
parked: their arrays count, their slots do not.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from dask_mlsched.core import events as ev
from dask_mlsched.core.books import Books
from dask_mlsched.core.chooser import Chooser, Settings
from dask_mlsched.core.counts import Counts
from dask_mlsched.core.device import Device
from dask_mlsched.core.eviction import MOST_VICTIMS
from dask_mlsched.core.graph import TaskGraph, TaskState
from dask_mlsched.core.parked import ParkedTasks
from dask_mlsched.core.policies import Policy
from dask_mlsched.core.run_log import RunLog
from dask_mlsched.core.worker_line import WorkerLine

_WAITING, _PARKED, _SENT, _RUNNING, _COMPUTED = (
    TaskState.WAITING,
    TaskState.PARKED,
    TaskState.SENT,
    TaskState.RUNNING,
    TaskState.COMPUTED,
)

#: The states in which an event about a task is legal.
_LEGAL: Final[dict[type, tuple[TaskState, ...]]] = {
    ev.DependenciesAdded: (_WAITING, _PARKED, _SENT, _RUNNING, _COMPUTED),
    ev.TaskReady: (_WAITING,),
    ev.TaskWithdrawn: (_PARKED,),
    ev.TaskStarted: (_WAITING, _PARKED, _SENT),
    ev.TaskRefused: (_SENT,),
    ev.TaskSeceded: (_RUNNING,),
    ev.TaskFinished: (_RUNNING,),
    ev.TaskStopped: (_SENT, _RUNNING),
    ev.ArrayAppeared: (_WAITING,),
    ev.ArrayReleased: (_COMPUTED,),
    ev.TaskForgotten: (_WAITING,),
}


class IllegalEvent(ValueError):  # noqa: N818 - an event is illegal; "error" would add nothing
    """An event that cannot happen in the present state. Nothing was changed."""


class Controller:
    """Tracks tasks, arrays and devices, and decides which parked task runs where and when.

    Parameters
    ----------
    policy
        Chooses among candidates and HOLD; None leaves every choice to Dask's order.
    settings
        Lookahead, shortlist, budgets.
    stopwatch
        Returns seconds; measures decisions, never decides anything else.
    """

    #: All tables; the most used ones are here as well.
    books: Books
    graph: TaskGraph
    devices: dict[int, Device]
    levels: dict[float, ParkedTasks]
    #: Runs of tasks whose inputs and output exceed the device memory limit.
    oversized: int
    #: Holds begun, and seconds that slots were held.
    holds: int
    hold_seconds: float
    #: Takes down what happens, for those who look at a run once it is over; None if nobody does.
    log: RunLog | None

    def __init__(
        self, policy: Policy | None, settings: Settings, stopwatch: Callable[[], float]
    ) -> None:
        self.books = Books(settings.lookahead, self._moved)
        self.graph = self.books.graph
        self.devices = self.books.devices
        self.levels = self.books.levels
        self.oversized = 0
        self.holds = 0
        self.hold_seconds = 0.0
        self.log = None
        self.settings = settings
        self._where = self.books.where
        self._with_room = self.books.with_room
        self._line = WorkerLine(self.books, settings.lookahead, settings.round_trip)
        self.chooser = Chooser(
            self.graph, self.devices, self.levels, policy, settings, stopwatch, self._where
        )
        self._handlers: dict[type, Callable[..., list[ev.Instruction] | None]] = {
            ev.GraphArrived: self._graph_arrived,
            ev.DependenciesAdded: self._dependencies_added,
            ev.TaskReady: self._task_ready,
            ev.TaskWithdrawn: self._task_withdrawn,
            ev.TaskStarted: self._task_started,
            ev.TaskRefused: self._task_refused,
            ev.TaskSeceded: self._task_seceded,
            ev.TaskFinished: self._task_finished,
            ev.TaskStopped: self._task_stopped,
            ev.ArrayAppeared: self._array_appeared,
            ev.ArrayReleased: self._array_released,
            ev.TaskForgotten: self._task_forgotten,
            ev.WorkerJoined: self._worker_joined,
            ev.LimitSeen: self._limit_seen,
            ev.WorkerPaused: self._worker_paused,
            ev.WorkerResumed: self._worker_resumed,
            ev.WorkerLeft: self._worker_left,
            ev.ArraysMoved: self._arrays_moved,
            ev.ResidencySeen: self._residency_seen,
            ev.Decide: self._decide,
        }

    @property
    def parked(self) -> int:
        """How many tasks are parked."""
        return sum(map(len, self.levels.values()))

    def counts(self) -> Counts:
        """Return what was counted until now, by this controller and those it counts on."""
        chooser = self.chooser
        return Counts(
            reasons=Counter(chooser.reasons),
            recent_seconds=chooser.recent_seconds.copy(),
            total_seconds=chooser.total_seconds,
            policy_failures=chooser.policy_failures,
            last_policy_failure=chooser.last_policy_failure,
            holds=self.holds,
            hold_seconds=self.hold_seconds,
            oversized=self.oversized,
        )

    def count_on(self, earlier: Counts) -> None:
        """Add what an earlier one has counted: for users, it is all one."""
        self.holds += earlier.holds
        self.hold_seconds += earlier.hold_seconds
        self.oversized += earlier.oversized
        chooser = self.chooser
        chooser.reasons.update(earlier.reasons)
        chooser.recent_seconds.extendleft(reversed(earlier.recent_seconds))
        chooser.total_seconds += earlier.total_seconds
        chooser.failures_before += earlier.policy_failures
        chooser.last_failure_before = chooser.last_failure_before or earlier.last_policy_failure

    def handle(self, event: ev.Event) -> list[ev.Instruction]:
        """Take in one event; instructions come back for `Decide` alone.

        Raises
        ------
        IllegalEvent
            If the event does not fit the state. Nothing was changed.
        """
        kind = type(event)
        legal = _LEGAL.get(kind)
        if legal is not None:
            task: int = event.task  # type: ignore[union-attr]  # all kinds in _LEGAL have one
            state = self.graph.state[task] if self.graph.known(task) else TaskState.UNKNOWN
            if state not in legal:
                names = " or ".join(s.name for s in legal)
                msg = f"{kind.__name__} for task {task} in {state.name}; expected {names}"
                raise IllegalEvent(msg)
        self.chooser.picture.now = event.time
        instructions = self._handlers[kind](event) or []
        if self.log is not None:
            self.log.add(event, instructions)
        return instructions

    def _tell(self, callback: str, *arguments: Any) -> None:
        """Tell a policy that plans of something, by the name of its callback."""
        if self.chooser.planners is not None:
            self.chooser.planners.tell(callback, *arguments)

    def _tell_of(self, callback: str, task: int) -> None:
        """Tell those who plan the tasks of this one's user priority."""
        if self.chooser.planners is not None:
            self.chooser.planners.tell_one(self.graph.priority[task][0], callback, task)

    def _moved(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Tell a policy that plans of what moved on a device, in the prediction."""
        if self.chooser.planners is not None:
            self.chooser.planners.residency_changed(worker, came, gone)

    def _device(self, worker: int) -> Device:
        device = self.devices.get(worker)
        if device is None:
            msg = f"worker {worker} is unknown; expected one of {sorted(self.devices)}"
            raise IllegalEvent(msg)
        return device

    # Tasks

    def _graph_arrived(self, event: ev.GraphArrived) -> None:
        new: set[int] = set()
        for spec in event.tasks:
            if spec.task < 0 or spec.task in new or self.graph.known(spec.task):
                msg = f"task {spec.task} is known already or negative; expected a free number"
                raise IllegalEvent(msg)
            for dep in spec.dependencies:
                if dep not in new and not self.graph.known(dep):
                    msg = f"task {spec.task} depends on {dep}, which is unknown; send it before"
                    raise IllegalEvent(msg)
            new.add(spec.task)
        for spec in event.tasks:
            self.graph.add(spec)
        if self.chooser.planners is not None:
            self._tell("graph_changed", [spec.task for spec in event.tasks])

    def _dependencies_added(self, event: ev.DependenciesAdded) -> None:
        for dep in event.dependencies:
            if not self.graph.known(dep):
                msg = f"task {event.task} depends on {dep}, which is unknown; send it before"
                raise IllegalEvent(msg)
            if dep == event.task:
                msg = f"task {dep} depends on itself; expected other tasks"
                raise IllegalEvent(msg)
        parked = self.graph.state[event.task] == _PARKED
        if parked:
            self.books.unpark(event.task)
            self._tell_of("task_withdrawn", event.task)
        self.graph.add_dependencies(event.task, event.dependencies, event.priority)
        self._tell("graph_changed", [event.task])
        if parked:
            self._park(event.task)

    def _task_ready(self, event: ev.TaskReady) -> None:
        self._park(event.task)

    def _park(self, task: int) -> None:
        self.books.park(task)
        self._tell_of("task_ready", task)

    def _task_withdrawn(self, event: ev.TaskWithdrawn) -> None:
        self.books.unpark(event.task)
        self._tell_of("task_withdrawn", event.task)

    def _task_started(self, event: ev.TaskStarted) -> None:
        task = event.task
        self._device(event.worker)
        state = self.graph.state[task]
        if state == _SENT:
            sent_to = self._where[task]
            if sent_to != event.worker:
                msg = f"task {task} started on worker {event.worker}; it was sent to {sent_to}"
                raise IllegalEvent(msg)
        else:
            if state == _PARKED:
                self.books.unpark(task)
            self._where[task] = event.worker
            self._tell("task_sent", task, event.worker)
            self.books.expect_on(task, event.worker)
        self.graph.state[task] = _RUNNING

    def _task_refused(self, event: ev.TaskRefused) -> None:
        worker = self._where[event.task]
        device = self.books.leave_worker(event.task)
        if device is not None:
            self.books.discard(event.task, worker)
        self.graph.state[event.task] = _WAITING
        self._tell("task_ended", event.task, worker)
        self._park(event.task)

    def _task_seceded(self, event: ev.TaskSeceded) -> None:
        worker = self._where[event.task]
        self.books.leave_slot(event.task, worker)

    def _task_finished(self, event: ev.TaskFinished) -> None:
        task = event.task
        worker = self._where[task]
        device = self.books.leave_worker(task)
        graph = self.graph
        graph.prefixes[graph.prefix[task]].add(event.nbytes, event.seconds)
        graph.array_made(task, event.nbytes)
        if device is not None:
            device.last_end = event.time
            graph.holders[task].add(worker)
            was_resident = task in device.residency
            gone = device.residency.resize(task, event.nbytes)
            came = (task,) if task in device.residency and not was_resident else ()
            self.books.residency_changed(worker, came, gone)
        self._tell("task_ended", task, worker)

    def _task_stopped(self, event: ev.TaskStopped) -> None:
        was_running = self.graph.state[event.task] == _RUNNING
        worker = self._where[event.task]
        device = self.books.leave_worker(event.task)
        if device is not None:
            if was_running:
                device.last_end = event.time
            self.books.discard(event.task, worker)
        self.graph.state[event.task] = _WAITING
        self._tell("task_ended", event.task, worker)

    def _array_appeared(self, event: ev.ArrayAppeared) -> None:
        for worker in event.workers:
            self._device(worker)
        self.graph.array_made(event.task, event.nbytes)
        for worker in event.workers:
            self.graph.holders[event.task].add(worker)
            came, gone = self.devices[worker].residency.touch(event.task, event.nbytes)
            self.books.residency_changed(worker, came, gone)

    def _array_released(self, event: ev.ArrayReleased) -> None:
        array = event.task
        for worker in tuple(self.graph.holders[array]):
            self.books.discard(array, worker)
        self.graph.array_released(array)
        self._tell("array_released", array)

    def _task_forgotten(self, event: ev.TaskForgotten) -> None:
        self.graph.forget(event.task)
        self._tell("task_forgotten", event.task)

    # Workers

    def _worker_joined(self, event: ev.WorkerJoined) -> None:
        if event.worker in self.devices:
            msg = f"worker {event.worker} joined twice; send WorkerLeft before"
            raise IllegalEvent(msg)
        if event.threads < 1:
            msg = f"worker {event.worker} has {event.threads} threads; expected at least 1"
            raise IllegalEvent(msg)
        _check_limit(event.worker, event.limit)
        self.devices[event.worker] = Device(event.threads, event.limit, self.settings.bandwidth)
        self.books.slots_changed(event.worker)
        self._tell("worker_joined", event.worker)

    def _limit_seen(self, event: ev.LimitSeen) -> None:
        device = self._device(event.worker)
        _check_limit(event.worker, event.limit)
        changed = device.residency.limit != event.limit
        gone = device.residency.set_limit(event.limit)
        self.books.limit_changed(event.worker)
        self.books.residency_changed(event.worker, (), gone)
        if changed:
            self._tell("limit_seen", event.worker)

    def _worker_paused(self, event: ev.WorkerPaused) -> None:
        device = self._device(event.worker)
        device.paused = True
        self.hold_seconds += device.release_hold(event.time)
        self.books.slots_changed(event.worker)
        self.books.rehome(event.worker)
        self._tell("worker_left", event.worker)

    def _worker_resumed(self, event: ev.WorkerResumed) -> None:
        self._device(event.worker).paused = False
        self.books.slots_changed(event.worker)
        self._tell("worker_joined", event.worker)

    def _worker_left(self, event: ev.WorkerLeft) -> None:
        device = self._device(event.worker)
        self.hold_seconds += device.release_hold(event.time)
        for array in device.residency.held():
            self.graph.holders[array].discard(event.worker)
        del self.devices[event.worker]
        self._with_room.discard(event.worker)
        for level in self.levels.values():
            level.drop_worker(event.worker)
        self.books.rehome(event.worker)
        self._tell("worker_left", event.worker)

    def _arrays_moved(self, event: ev.ArraysMoved) -> None:
        device = self._device(event.worker)
        device.copied(event.nbytes, event.seconds)
        residency, graph = device.residency, self.graph
        # The prediction is ahead of the report: what the tasks in flight use will be resident.
        in_use = set(device.in_flight)
        for task in device.in_flight:
            in_use.update(graph.dependencies[task])
        came: list[int] = []
        gone: list[int] = []
        for array, loaded in event.moves:
            if array in in_use or not graph.known(array) or graph.state[array] != _COMPUTED:
                continue
            if loaded and array in residency:
                # It was expected, and has been used since: a report that is late makes nothing
                # younger.
                continue
            if loaded:
                graph.holders[array].add(event.worker)
                loads, evictions = residency.touch(array, graph.nbytes[array])
                came += loads
                gone += evictions
            elif residency.evict(array):
                gone.append(array)
        self.books.residency_changed(event.worker, came, gone)

    def _residency_seen(self, event: ev.ResidencySeen) -> None:
        graph, worker = self.graph, event.worker
        device = self._device(worker)
        seen = [a for a in event.resident if graph.known(a) and graph.state[a] == _COMPUTED]
        came, gone = device.residency.replace((a, graph.nbytes[a]) for a in seen)
        for array in seen:
            graph.holders[array].add(worker)
        self.books.residency_changed(worker, came, gone)
        for task in device.in_flight:
            self.books.expect_on(task, worker)

    # Decisions

    def _decide(self, event: ev.Decide) -> list[ev.Instruction]:
        instructions: list[ev.Instruction] = []
        if not self.levels:
            for device in self.devices.values():
                self.hold_seconds += device.release_hold(event.time)
            return instructions
        self.chooser.begin_pass()
        # One task at a time: threads fill before any lookahead does.
        fits, line = self.chooser.fits, self._line
        workers = self.devices if fits else self._with_room
        queue = [line.place(worker) for worker in workers if line.takes_more(worker, fits=fits)]
        heapq.heapify(queue)
        while queue and self.levels:
            *_, worker = heapq.heappop(queue)
            instruction = self.chooser.decide(worker, event.time)
            if isinstance(instruction, ev.Run):
                instructions.append(self._send(instruction))
                if line.takes_more(worker, fits=fits) or line.would_wait(worker):
                    heapq.heappush(queue, line.place(worker))
            elif instruction is not None:
                self.holds += 1
                instructions.append(instruction)
            else:
                self._end_hold_past_deadline(worker, event.time)
        if not instructions and self.chooser.planners is not None:
            instructions += self._keep_alive(event.time)
        return instructions

    def _keep_alive(self, now: float) -> list[ev.Instruction]:
        """Send one task where a planner leaves all workers idle; no event would come of that."""
        if not self.levels or any(device.in_flight for device in self.devices.values()):
            return []
        run = self.chooser.keep_alive(sorted(self._with_room, key=self._line.place), now)
        return [] if run is None else [self._send(run)]

    def _end_hold_past_deadline(self, worker: int, now: float) -> None:
        device = self.devices[worker]
        if device.hold_until is not None and now >= device.hold_until:
            self.hold_seconds += device.release_hold(now)

    def _send(self, run: ev.Run) -> ev.Run:
        self.books.unpark(run.task)
        self.graph.state[run.task] = _SENT
        self._where[run.task] = run.worker
        device = self.devices[run.worker]
        self.hold_seconds += device.release_hold(run.time)
        device.in_flight[run.task] = device.last_sent = run.time
        limit = device.residency.limit
        if limit is not None and self.books.needed_bytes(run.task) > limit:
            self.oversized += 1
        self.books.slots_changed(run.worker)
        self._tell("task_sent", run.task, run.worker)
        evicted = self._make_room(run.task, run.worker)
        self.books.expect_on(run.task, run.worker)
        return replace(run, evict=evicted) if evicted else run

    def _make_room(self, task: int, worker: int) -> tuple[int, ...]:
        """Evict what the rule names, as the worker will; return it in order."""
        residency = self.devices[worker].residency
        evicted: list[int] = []
        # One by one: a planner that hears of one victim may plan otherwise for the next.
        while len(evicted) < MOST_VICTIMS:
            victim = self.chooser.victim(task, worker)
            if victim is None or not residency.evict(victim):
                break
            evicted.append(victim)
            self.books.residency_changed(worker, (), (victim,))
        return tuple(evicted)


def _check_limit(worker: int, limit: int | None) -> None:
    if limit is not None and limit < 1:
        msg = f"worker {worker} has a device memory limit of {limit} bytes; expected at least 1"
        raise IllegalEvent(msg)
