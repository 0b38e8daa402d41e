"""Dask's states become events: against a real controller, with stand-ins for Dask's objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.graph import TaskState
from dask_mlsched.extension import parking
from dask_mlsched.extension.fetches import Fetched
from dask_mlsched.extension.translator import Translator


@dataclass(eq=False)
class Task:
    """As much of Dask's `TaskState` as the translator reads."""

    key: Any
    dependencies: list[Task] = field(default_factory=list)
    state: str = "released"
    priority: tuple[int, ...] | None = (0, 1, 2)
    prefix: Any = field(default_factory=lambda: SimpleNamespace(name="f"))
    processing_on: Any = None
    who_has: set[Any] = field(default_factory=set)
    worker_restrictions: set[str] | None = None
    nbytes: int = 8

    def get_nbytes(self) -> int:
        return self.nbytes


@dataclass(eq=False)
class Worker:
    address: str
    nthreads: int = 1
    long_running: set[Task] = field(default_factory=set)


class Scheduler:
    """As much of Dask's `Scheduler`."""

    def __init__(self, *workers: Worker) -> None:
        self.workers = {worker.address: worker for worker in workers}
        self.running = set(workers)


A, B = Worker("a"), Worker("b")


@pytest.fixture
def translator() -> Translator:
    A.long_running.clear()
    controller = Controller(None, Settings(), lambda: 0.0)
    return Translator(Scheduler(A, B), controller)  # type: ignore[arg-type]


def state_of(translator: Translator, task: Task) -> TaskState:
    number = translator.tasks.get(task.key)
    return TaskState.UNKNOWN if number is None else translator.controller.graph.state[number]


def go(translator: Translator, task: Task, state: str, **changes: Any) -> TaskState:
    """Bring a task to one of Dask's states, and follow it there."""
    task.state = state
    task.processing_on = A if state == "processing" else None
    task.who_has = {A} if state == "memory" else set()
    task.worker_restrictions = parking.PARKED
    for name, value in changes.items():
        setattr(task, name, value)
    translator.follow(task)  # type: ignore[arg-type]
    return state_of(translator, task)


# Graphs


def test_dependencies_are_told_before_dependents(translator):
    x = Task("x")
    y = Task("y", [x])
    translator.register([y])
    graph = translator.controller.graph
    assert translator.tasks.keys() == ["x", "y"]
    assert graph.dependencies[translator.tasks.get("y")] == (translator.tasks.get("x"),)


def test_a_long_chain_needs_no_recursion(translator):
    chain = [Task(0)]
    for key in range(1, 20_000):
        chain.append(Task(key, [chain[-1]]))
    translator.register([chain[-1]])
    assert len(translator.tasks) == 20_000


def test_a_graph_that_shares_tasks_with_an_earlier_one_adds_only_the_new_ones(translator):
    x = Task("x")
    translator.register([x, Task("y", [x])])
    translator.register([x, Task("z", [x])])
    assert translator.tasks.keys() == ["x", "y", "z"]


def test_dependencies_that_a_later_graph_adds_are_told(translator):
    x = Task("x")
    translator.register([x])
    x.dependencies.append(Task("w"))
    x.priority = (0, 5, 0)
    translator.register([x])
    graph = translator.controller.graph
    number = translator.tasks.get("x")
    assert graph.dependencies[number] == (translator.tasks.get("w"),)
    assert graph.priority[number] == (0, 5, 0)


def test_tasks_that_are_under_way_are_taken_in_as_they_are(translator):
    done = Task("done", state="memory", who_has={A})
    running = Task("running", [done], state="processing", processing_on=B)
    parked = Task("parked", [done], state="no-worker", worker_restrictions=parking.PARKED)
    waiting = Task("waiting", [running], state="waiting")
    translator.register([waiting, parked])
    assert state_of(translator, done) == TaskState.COMPUTED
    assert state_of(translator, running) == TaskState.RUNNING
    assert state_of(translator, parked) == TaskState.PARKED
    assert state_of(translator, waiting) == TaskState.WAITING
    assert translator.controller.parked == 1


def test_data_without_a_priority_is_taken_in(translator):
    scattered = Task("s", state="memory", who_has={A, B}, priority=None)
    translator.register([scattered])
    number = translator.tasks.get("s")
    holders = {translator.workers.key(w) for w in translator.controller.graph.holders[number]}
    assert holders == {"a", "b"}


# Tasks


def test_the_life_of_a_task(translator):
    x = Task("x")
    translator.register([x])
    assert go(translator, x, "waiting") == TaskState.WAITING
    assert go(translator, x, "no-worker") == TaskState.PARKED
    assert go(translator, x, "processing") == TaskState.RUNNING
    assert go(translator, x, "memory") == TaskState.COMPUTED
    assert go(translator, x, "released") == TaskState.WAITING
    assert go(translator, x, "forgotten") == TaskState.UNKNOWN
    assert len(translator.tasks) == 0


DASK_STATES = ["released", "waiting", "no-worker", "queued", "processing", "memory", "erred"]
EXPECTED = {
    "no-worker": TaskState.PARKED,
    "processing": TaskState.RUNNING,
    "memory": TaskState.COMPUTED,
}


@pytest.mark.parametrize("first", DASK_STATES)
@pytest.mark.parametrize("then", [*DASK_STATES, "forgotten"])
def test_from_any_state_to_any_other(translator, first, then):
    x = Task("x")
    translator.register([x])
    go(translator, x, first)
    if then == "forgotten":
        assert go(translator, x, then) == TaskState.UNKNOWN
    else:
        assert go(translator, x, then) == EXPECTED.get(then, TaskState.WAITING)
    devices = translator.controller.devices.values()
    running = then == "processing" and first == "no-worker"
    assert sum(len(device.in_flight) for device in devices) <= running
    if then in ("forgotten", "released"):
        assert all(not device.residency.held() for device in devices)


def test_a_task_that_waits_for_a_worker_without_our_restriction_is_not_parked(translator):
    x = Task("x")
    translator.register([x])
    for restriction in (None, {"tcp://somewhere:1"}):
        assert go(translator, x, "no-worker", worker_restrictions=restriction) == TaskState.WAITING


def test_a_task_that_was_never_registered_is_when_it_moves(translator):
    assert go(translator, Task("x", [Task("w")]), "processing") == TaskState.RUNNING
    assert translator.tasks.keys() == ["w", "x"]
    assert go(translator, Task("z"), "forgotten") == TaskState.UNKNOWN


def test_the_seconds_of_computing_are_those_and_no_others(translator):
    x = Task("x")
    go(translator, x, "processing")
    x.state, x.nbytes = "memory", 24
    startstops = [
        {"action": "transfer", "start": 0.0, "stop": 5.0},
        {"action": "compute", "start": 5.0, "stop": 5.5},
        {"action": "deserialize", "start": 6.0, "stop": 7.0},
        {"action": "compute", "start": 7.0, "stop": 7.25},
    ]
    translator.follow(x, startstops)
    number = translator.tasks.get("x")
    graph = translator.controller.graph
    assert graph.nbytes[number] == 24
    assert graph.expected_seconds(number) == 0.75


# Workers


def test_a_worker_is_told_once_with_its_threads(translator):
    worker = Worker("c", nthreads=3)
    translator.scheduler.running.add(worker)
    assert translator.worker(worker) == translator.worker(worker)
    assert translator.controller.devices[translator.worker(worker)].threads == 3


def test_pausing_and_resuming_are_told_when_they_change(translator):
    number = translator.worker(A)
    device = translator.controller.devices[number]
    translator.scheduler.running.discard(A)
    for _ in range(2):
        translator.follow_status(A)
        assert device.paused
    translator.scheduler.running.add(A)
    translator.follow_status(A)
    assert not device.paused


def test_a_worker_that_is_paused_when_it_is_first_seen_gets_nothing(translator):
    translator.scheduler.running.discard(B)
    assert translator.controller.devices[translator.worker(B)].paused


def test_the_status_of_a_worker_that_is_unknown_is_of_no_interest(translator):
    translator.follow_status(Worker("gone"))
    translator.worker_left("gone")
    assert len(translator.workers) == 0


def test_a_worker_that_left_frees_its_number(translator):
    number = translator.worker(A)
    translator.worker_left("a")
    assert translator.controller.devices == {}
    assert translator.worker(B) == number


def test_a_seceded_task_takes_no_slot(translator):
    x = Task("x")
    translator.register([x])
    go(translator, x, "no-worker")
    translator.worker(A)
    (run,) = translator.controller.handle(ev.Decide(0.0))
    assert isinstance(run, ev.Run)
    x.worker_restrictions = parking.PARKED
    go(
        translator,
        x,
        "processing",
        processing_on=next(ws for ws in (A, B) if translator.workers.get(ws.address) == run.worker),
    )
    device = translator.controller.devices[run.worker]
    assert len(device.in_flight) == 1
    A.long_running.add(x)
    for _ in range(2):
        translator.follow_seceded()
        assert len(device.in_flight) == 0


# Reports


def computed(translator: Translator, key: str, nbytes: int) -> int:
    x = Task(key, nbytes=nbytes)
    go(translator, x, "memory")
    number = translator.tasks.get(key)
    assert number is not None
    return number


def test_moves_change_the_picture_and_unknown_keys_are_left_out(translator):
    x, y = computed(translator, "x", 8), computed(translator, "y", 8)
    translator.limit_seen("a", 100)
    residency = translator.controller.devices[translator.worker(A)].residency
    translator.moved("a", [("x", "evict", 8, 0.1), ("unknown", "evict", 8, 0.1)])
    assert x not in residency
    assert y in residency
    translator.moved("a", [("x", "load", 8, 0.1)])
    assert x in residency


def test_the_copy_speed_is_learned_from_unknown_keys_as_well(translator):
    device = translator.controller.devices[translator.worker(A)]
    translator.moved("a", [("unknown", "load", 1_000_000, 0.5)])
    assert device.bandwidth == pytest.approx(2e6)


def test_each_copy_is_passed_on_by_itself(translator, monkeypatch):
    x = computed(translator, "x", 8)
    translator.worker(A)
    handled: list[Any] = []
    monkeypatch.setattr(translator.controller, "handle", handled.append)
    translator.moved("a", [("x", "evict", 8, 0.1), ("unknown", "load", 9, 0.25)])
    (event,) = handled
    assert event.copies == ((x, False, 8, 0.1), (-1, True, 9, 0.25))
    assert (event.moves, event.nbytes, event.seconds) == (((x, False),), 17, 0.35)


def test_what_was_fetched_is_passed_on_and_changes_nothing(translator):
    x = computed(translator, "x", 8)
    translator.limit_seen("a", 100)
    device = translator.controller.devices[translator.worker(A)]
    b = translator.worker(B)
    before = list(device.residency), device.bandwidth
    handled: list[Any] = []
    handle = translator.controller.handle
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            translator.controller, "handle", lambda event: (handled.append(event), handle(event))
        )
        fetches = [
            Fetched("b", 0.25, (("x", 8), ("unknown", 9))),
            Fetched("gone", 0.5, (("x", 8),)),
        ]
        translator.moved("a", [], fetches)
    (event,) = handled
    assert event.fetches == ((b, 0.25, ((x, 8), (-1, 9))), (-1, 0.5, ((x, 8),)))
    assert (event.moves, event.copies, event.nbytes, event.seconds) == ((), (), 0, 0.0)
    assert (list(device.residency), device.bandwidth) == before


def test_a_snapshot_takes_the_place_of_the_picture(translator):
    x, y = computed(translator, "x", 8), computed(translator, "y", 8)
    translator.limit_seen("a", 100)
    residency = translator.controller.devices[translator.worker(A)].residency
    translator.resident("a", [("unknown", 5), ("y", 8)])
    assert x not in residency
    assert list(residency) == [y]


def test_what_an_unknown_worker_says_is_of_no_interest(translator):
    translator.moved("gone", [("x", "load", 8, 0.1)])
    translator.resident("gone", [("x", 8)])
    translator.limit_seen("gone", 5)
    assert translator.controller.devices == {}
