"""The state machine: events in, instructions out.

The controller keeps the graph, every device's predicted residency and the
index of parked tasks in step with the events, and on `Decide` fills free
slots. What to do with one slot is asked of `chooser.Chooser`; everything that
changes state is here.

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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Chooser, Settings
from dask_mlsched.core.device import Device
from dask_mlsched.core.graph import WIDE, TaskGraph, TaskState
from dask_mlsched.core.parked import ParkedTasks
from dask_mlsched.core.policies import Policy

#: A scheduler and a worker take about this many seconds to tell of a finished task and to send
#: the next one. While everything fits in the fast tier, a worker may have more tasks than
#: threads and lookahead, as long as all of them together are expected to take less than that.
ROUND_TRIP: Final = 0.010

#: So many tasks at most beyond the threads for that reason.
BRIDGE: Final = 16

#: So many holders of one array are looked at to find a task's home.
HOLDERS: Final = 16

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

    #: Everything known about tasks and arrays.
    graph: TaskGraph
    #: worker -> its slots and residency.
    devices: dict[int, Device]
    #: user priority (lower first) -> the parked tasks of that priority.
    levels: dict[float, ParkedTasks]
    #: Runs of tasks whose inputs and output exceed the device memory limit.
    oversized: int
    #: Holds begun, and seconds that slots were held.
    holds: int
    hold_seconds: float

    def __init__(
        self, policy: Policy | None, settings: Settings, stopwatch: Callable[[], float]
    ) -> None:
        self.graph = TaskGraph()
        self.devices = {}
        self.levels = {}
        self.oversized = 0
        self.holds = 0
        self.hold_seconds = 0.0
        self.settings = settings
        #: task -> worker, for tasks that are SENT or RUNNING.
        self._where: dict[int, int] = {}
        self.chooser = Chooser(
            self.graph, self.devices, self.levels, policy, settings, stopwatch, self._where
        )
        #: Workers that have a free slot.
        self._with_room: set[int] = set()
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

    def needed_bytes(self, task: int) -> int:
        """Sum the bytes of a task's inputs and of its expected output."""
        graph = self.graph
        inputs = sum(graph.nbytes[dep] for dep in graph.dependencies[task])
        return inputs + graph.expected_nbytes(task)

    def count_on(self, earlier: Controller) -> None:
        """Add what an earlier one has counted: for users, it is all one."""
        self.holds += earlier.holds
        self.hold_seconds += earlier.hold_seconds
        self.oversized += earlier.oversized
        chooser, before = self.chooser, earlier.chooser
        chooser.reasons.update(before.reasons)
        chooser.recent_seconds.extendleft(reversed(before.recent_seconds))
        chooser.total_seconds += before.total_seconds

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
        return self._handlers[kind](event) or []

    def _tell(self, callback: str, *arguments: Any) -> None:
        """Tell a policy that plans of something, by the name of its callback."""
        if self.chooser.planners is not None:
            self.chooser.planners.tell(callback, *arguments)

    def _tell_of(self, callback: str, task: int) -> None:
        """Tell those who plan the tasks of this one's user priority."""
        if self.chooser.planners is not None:
            self.chooser.planners.tell_one(self.graph.priority[task][0], callback, task)

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
            self._unpark(event.task)
            self._tell_of("task_withdrawn", event.task)
        self.graph.add_dependencies(event.task, event.dependencies, event.priority)
        self._tell("graph_changed", [event.task])
        if parked:
            self._park(event.task)

    def _task_ready(self, event: ev.TaskReady) -> None:
        self._park(event.task)

    def _park(self, task: int) -> None:
        graph = self.graph
        graph.parked(task)
        held: dict[int, int] = {}
        for dep in graph.dependencies[task]:
            nbytes = graph.nbytes[dep]
            for worker, _ in zip(graph.holders[dep], range(HOLDERS), strict=False):
                held[worker] = held.get(worker, 0) + nbytes
        # Not a paused worker: until it resumes, nobody would take the task.
        homes = [worker for worker in held if not self.devices[worker].paused]
        home = max(homes, key=lambda worker: (held[worker], -worker)) if homes else None
        missing = {}
        for worker in held:
            nbytes_missing = self._missing_bytes(task, worker)
            if nbytes_missing is not None:
                missing[worker] = nbytes_missing
        graph.take_turn(task)
        order = graph.order(task)
        level = self.levels.get(order[0])
        if level is None:
            level = self.levels[order[0]] = ParkedTasks()
        level.add(task, order, home, missing)
        self._tell_of("task_ready", task)

    def _missing_bytes(self, task: int, worker: int) -> int | None:
        """Sum the inputs that are not resident; None if that is all of them, or never matters."""
        residency = self.devices[worker].residency
        if residency.limit is None:
            return None
        missing, some_resident = 0, False
        for dep in self.graph.dependencies[task]:
            if dep in residency:
                some_resident = True
            else:
                missing += self.graph.nbytes[dep]
        return missing if some_resident else None

    def _level(self, task: int) -> ParkedTasks:
        return self.levels[self.graph.priority[task][0]]

    def _unpark(self, task: int) -> None:
        level = self._level(task)
        level.remove(task)
        if not level:
            del self.levels[self.graph.priority[task][0]]
        self.graph.unparked(task)

    def _task_withdrawn(self, event: ev.TaskWithdrawn) -> None:
        self._unpark(event.task)
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
                self._unpark(task)
            self._where[task] = event.worker
            self._tell("task_sent", task, event.worker)
            self._expect_on(task, event.worker)
        self.graph.state[task] = _RUNNING

    def _expect_on(self, task: int, worker: int) -> None:
        """Move the prediction ahead: the task reads its inputs, then its output comes in."""
        graph = self.graph
        residency = self.devices[worker].residency
        came: list[int] = []
        gone: list[int] = []
        for dep in graph.dependencies[task]:
            if graph.state[dep] != _COMPUTED:
                continue
            loaded, evicted = residency.touch(dep, graph.nbytes[dep])
            graph.holders[dep].add(worker)
            came += loaded
            gone += evicted
        loaded, evicted = residency.touch(task, graph.expected_nbytes(task))
        came += loaded
        gone += evicted
        self._residency_changed(worker, came, gone)

    def _residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Bring the parked tasks' missing bytes up to date with what moved on a worker."""
        graph = self.graph
        if self.chooser.planners is not None:
            self.chooser.planners.residency_changed(worker, came, gone)
        if not self.levels or self.devices[worker].residency.limit is None:
            return
        affected: set[int] = set()
        for array in (*came, *gone):
            dependents = graph.dependents[array]
            if len(dependents) <= WIDE:
                affected.update(d for d in dependents if graph.state[d] == _PARKED)
        for task in affected:
            self._level(task).set_missing(task, worker, self._missing_bytes(task, worker))

    def _task_refused(self, event: ev.TaskRefused) -> None:
        worker = self._where[event.task]
        device = self._leave_worker(event.task)
        if device is not None:
            self._discard(event.task, worker)
        self.graph.state[event.task] = _WAITING
        self._tell("task_ended", event.task, worker)
        self._park(event.task)

    def _discard(self, array: int, worker: int) -> None:
        if self.devices[worker].residency.discard(array):
            self._residency_changed(worker, (), (array,))

    def _leave_worker(self, task: int) -> Device | None:
        worker = self._where.pop(task)
        device = self.devices.get(worker)
        if device is not None and device.in_flight.pop(task, None) is not None:
            self._slots_changed(worker)
        return device

    def _slots_changed(self, worker: int) -> None:
        if self.devices[worker].free_slots(self.settings.lookahead) > 0:
            self._with_room.add(worker)
        else:
            self._with_room.discard(worker)

    def _task_seceded(self, event: ev.TaskSeceded) -> None:
        worker = self._where[event.task]
        device = self.devices.get(worker)
        if device is not None and device.in_flight.pop(event.task, None) is not None:
            self._slots_changed(worker)

    def _task_finished(self, event: ev.TaskFinished) -> None:
        task = event.task
        worker = self._where[task]
        device = self._leave_worker(task)
        graph = self.graph
        graph.prefixes[graph.prefix[task]].add(event.nbytes, event.seconds)
        graph.array_made(task, event.nbytes)
        if device is not None:
            device.last_end = event.time
            graph.holders[task].add(worker)
            was_resident = task in device.residency
            gone = device.residency.resize(task, event.nbytes)
            came = (task,) if task in device.residency and not was_resident else ()
            self._residency_changed(worker, came, gone)
        self._tell("task_ended", task, worker)

    def _task_stopped(self, event: ev.TaskStopped) -> None:
        was_running = self.graph.state[event.task] == _RUNNING
        worker = self._where[event.task]
        device = self._leave_worker(event.task)
        if device is not None:
            if was_running:
                device.last_end = event.time
            self._discard(event.task, worker)
        self.graph.state[event.task] = _WAITING
        self._tell("task_ended", event.task, worker)

    def _array_appeared(self, event: ev.ArrayAppeared) -> None:
        for worker in event.workers:
            self._device(worker)
        self.graph.array_made(event.task, event.nbytes)
        for worker in event.workers:
            self.graph.holders[event.task].add(worker)
            came, gone = self.devices[worker].residency.touch(event.task, event.nbytes)
            self._residency_changed(worker, came, gone)

    def _array_released(self, event: ev.ArrayReleased) -> None:
        array = event.task
        for worker in tuple(self.graph.holders[array]):
            self._discard(array, worker)
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
        self._slots_changed(event.worker)
        self._tell("worker_joined", event.worker)

    def _limit_seen(self, event: ev.LimitSeen) -> None:
        device = self._device(event.worker)
        _check_limit(event.worker, event.limit)
        changed = device.residency.limit != event.limit
        gone = device.residency.set_limit(event.limit)
        # What is missing means nothing without a limit, and everything with the first one.
        for level in self.levels.values():
            for task in level.tasks():
                level.set_missing(task, event.worker, self._missing_bytes(task, event.worker))
        self._residency_changed(event.worker, (), gone)
        if changed:
            self._tell("limit_seen", event.worker)

    def _worker_paused(self, event: ev.WorkerPaused) -> None:
        device = self._device(event.worker)
        device.paused = True
        self.hold_seconds += device.release_hold(event.time)
        self._slots_changed(event.worker)
        self._rehome(event.worker)
        self._tell("worker_left", event.worker)

    def _worker_resumed(self, event: ev.WorkerResumed) -> None:
        self._device(event.worker).paused = False
        self._slots_changed(event.worker)
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
        self._rehome(event.worker)
        self._tell("worker_left", event.worker)

    def _rehome(self, worker: int) -> None:
        """Let any worker take the parked tasks whose home takes none."""
        for level in self.levels.values():
            for task in level.at_home(worker):
                level.move_home(task, None)

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
        self._residency_changed(event.worker, came, gone)

    def _residency_seen(self, event: ev.ResidencySeen) -> None:
        graph, worker = self.graph, event.worker
        device = self._device(worker)
        seen = [a for a in event.resident if graph.known(a) and graph.state[a] == _COMPUTED]
        came, gone = device.residency.replace((a, graph.nbytes[a]) for a in seen)
        for array in seen:
            graph.holders[array].add(worker)
        self._residency_changed(worker, came, gone)
        for task in device.in_flight:
            self._expect_on(task, worker)

    # Decisions

    def _decide(self, event: ev.Decide) -> list[ev.Instruction]:
        instructions: list[ev.Instruction] = []
        if not self.levels:
            for device in self.devices.values():
                self.hold_seconds += device.release_hold(event.time)
            return instructions
        self.chooser.begin_pass()
        # The least busy worker first, one task at a time: threads fill before any lookahead does.
        # Among equals the one that was sent a task longest ago, so that a task which a worker
        # gave back (`Reschedule`) does not return to it while others are idle.
        workers = self.devices if self.chooser.fits else self._with_room
        queue = [self._place_in_line(worker) for worker in workers if self._takes_more(worker)]
        heapq.heapify(queue)
        while queue and self.levels:
            *_, worker = heapq.heappop(queue)
            instruction = self.chooser.decide(worker, event.time)
            if isinstance(instruction, ev.Run):
                instructions.append(self._send(instruction))
                if self._takes_more(worker) or self._would_wait(worker):
                    heapq.heappush(queue, self._place_in_line(worker))
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
        run = self.chooser.keep_alive(sorted(self._with_room, key=self._place_in_line), now)
        return [] if run is None else [self._send(run)]

    def _end_hold_past_deadline(self, worker: int, now: float) -> None:
        device = self.devices[worker]
        if device.hold_until is not None and now >= device.hold_until:
            self.hold_seconds += device.release_hold(now)

    def _takes_more(self, worker: int) -> bool:
        """Tell whether the worker has a free slot, or tasks too short to wait for the next."""
        if worker in self._with_room:
            return True
        device = self.devices[worker]
        if not self.chooser.fits or device.paused or not device.residency.all_resident:
            return False
        if len(device.in_flight) >= device.threads + BRIDGE:
            return False
        return self._end_within(device.in_flight, ROUND_TRIP * device.threads)

    def _would_wait(self, worker: int) -> bool:
        """Tell whether a worker would be done with what it has before the next task reaches it.

        It begins its next task, whose loads keep its event loop busy, before it tells that one has
        ended: so what waits behind its threads has to compute for as long as telling and sending
        take. This is asked when a task was sent; a worker without room is left alone.
        """
        device, settings = self.devices[worker], self.settings
        if settings.lookahead == 0 or device.paused or not settings.round_trip:
            return False
        if len(device.in_flight) >= device.threads + BRIDGE:
            return False
        behind_threads = islice(device.in_flight, device.threads, None)
        return self._end_within(behind_threads, settings.round_trip * device.threads)

    def _end_within(self, tasks: Iterable[int], limit: float) -> bool:
        """Tell whether tasks take less than so many seconds in all; False if nobody knows."""
        seconds = 0.0
        for task in tasks:
            statistics = self.graph.prefixes[self.graph.prefix[task]]
            if not statistics.finished:
                return False
            seconds += statistics.seconds
        return seconds < limit

    def _place_in_line(self, worker: int) -> tuple[float, float, int]:
        device = self.devices[worker]
        return len(device.in_flight) / device.threads, device.last_sent, worker

    def _send(self, run: ev.Run) -> ev.Run:
        self._unpark(run.task)
        self.graph.state[run.task] = _SENT
        self._where[run.task] = run.worker
        device = self.devices[run.worker]
        self.hold_seconds += device.release_hold(run.time)
        device.in_flight[run.task] = device.last_sent = run.time
        limit = device.residency.limit
        if limit is not None and self.needed_bytes(run.task) > limit:
            self.oversized += 1
        self._slots_changed(run.worker)
        self._tell("task_sent", run.task, run.worker)
        evicted = self._make_room(run.task, run.worker)
        self._expect_on(run.task, run.worker)
        return replace(run, evict=evicted) if evicted else run

    def _make_room(self, task: int, worker: int) -> tuple[int, ...]:
        """Evict what the rule names, as the worker will; return it in order."""
        residency = self.devices[worker].residency
        evicted: list[int] = []
        # One by one: a planner that hears of one victim may plan otherwise for the next.
        while (victim := self.chooser.victim(task, worker)) is not None:
            if not residency.evict(victim):
                break
            evicted.append(victim)
            self._residency_changed(worker, (), (victim,))
        return tuple(evicted)


def _check_limit(worker: int, limit: int | None) -> None:
    if limit is not None and limit < 1:
        msg = f"worker {worker} has a device memory limit of {limit} bytes; expected at least 1"
        raise IllegalEvent(msg)
