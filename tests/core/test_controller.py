"""The controller: which events are legal when, what they change, and whom it gives work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.consistency import check, check_empty
from core.driver import Ticking, VirtualDask
from core.graphs import Drawn, gemm
from core.scripted import Scripted, first, hold
from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller, IllegalEvent
from dask_mlsched.core.graph import WIDE, TaskState
from dask_mlsched.core.policies import Greedy, GreedyHold, Situation
from dask_mlsched.core.worker_line import BRIDGE

UNKNOWN, WAITING, PARKED, SENT, RUNNING, COMPUTED = TaskState

#: The task that events are about; task 1 has an array.
TASK = 0

EVENTS: list[ev.Event] = [
    ev.DependenciesAdded(1.0, TASK, (1,), (0, 0, 0)),
    ev.TaskReady(1.0, TASK),
    ev.TaskWithdrawn(1.0, TASK),
    ev.TaskStarted(1.0, TASK, 0),
    ev.TaskRefused(1.0, TASK),
    ev.TaskSeceded(1.0, TASK),
    ev.TaskFinished(1.0, TASK, 7, 1.0),
    ev.TaskStopped(1.0, TASK),
    ev.ArrayAppeared(1.0, TASK, 7, (0,)),
    ev.ArrayReleased(1.0, TASK),
    ev.TaskForgotten(1.0, TASK),
]

#: (event, state before) -> state after; what is not in it is illegal.
TRANSITIONS: dict[tuple[type, TaskState], TaskState] = {
    (ev.DependenciesAdded, WAITING): WAITING,
    (ev.DependenciesAdded, PARKED): PARKED,
    (ev.DependenciesAdded, SENT): SENT,
    (ev.DependenciesAdded, RUNNING): RUNNING,
    (ev.DependenciesAdded, COMPUTED): COMPUTED,
    (ev.TaskReady, WAITING): PARKED,
    (ev.TaskWithdrawn, PARKED): WAITING,
    (ev.TaskStarted, WAITING): RUNNING,
    (ev.TaskStarted, PARKED): RUNNING,
    (ev.TaskStarted, SENT): RUNNING,
    (ev.TaskRefused, SENT): PARKED,
    (ev.TaskSeceded, RUNNING): RUNNING,
    (ev.TaskFinished, RUNNING): COMPUTED,
    (ev.TaskStopped, SENT): WAITING,
    (ev.TaskStopped, RUNNING): WAITING,
    (ev.ArrayAppeared, WAITING): COMPUTED,
    (ev.ArrayReleased, COMPUTED): WAITING,
    (ev.TaskForgotten, WAITING): UNKNOWN,
}

PAIRS = [(event, state) for event in EVENTS for state in TaskState]
LEGAL = [(event, state) for event, state in PAIRS if (type(event), state) in TRANSITIONS]
ILLEGAL = [pair for pair in PAIRS if pair not in LEGAL]


def controller_with(state: TaskState) -> Controller:
    """Bring TASK to a state, on worker 0 where it is on any."""
    controller = Controller(None, Settings(), Ticking())
    path: dict[TaskState, list[ev.Event]] = {
        UNKNOWN: [ev.TaskForgotten(0.0, TASK)],
        WAITING: [],
        PARKED: [ev.TaskReady(0.0, TASK)],
        SENT: [ev.TaskReady(0.0, TASK), ev.Decide(0.0)],
        RUNNING: [ev.TaskReady(0.0, TASK), ev.Decide(0.0), ev.TaskStarted(0.0, TASK, 0)],
        COMPUTED: [ev.TaskStarted(0.0, TASK, 0), ev.TaskFinished(0.0, TASK, 9, 1.0)],
    }
    specs = (ev.TaskSpec(0, (), (0, 0, 0)), ev.TaskSpec(1, (), (0, 0, 1)))
    controller.handle(ev.WorkerJoined(0.0, 0, 1, 100))
    controller.handle(ev.GraphArrived(0.0, specs))
    controller.handle(ev.ArrayAppeared(0.0, 1, 5, (0,)))
    for event in path[state]:
        controller.handle(event)
    assert controller.graph.state[TASK] == state
    return controller


def picture(thing: Any) -> Any:
    """Take all that a controller keeps apart into what can be compared."""
    if isinstance(thing, dict):
        return [(key, picture(value)) for key, value in thing.items() if key != "_handlers"]
    if isinstance(thing, (list, tuple)):
        return [picture(each) for each in thing]
    if isinstance(thing, set):
        return sorted(thing)
    if type(thing).__module__ in (
        "dask_mlsched.core.graph",
        "dask_mlsched.core.device",
        "dask_mlsched.core.residency",
        "dask_mlsched.core.parked",
        "dask_mlsched.core.controller",
    ) and not isinstance(thing, TaskState):
        slots = getattr(thing, "__slots__", ())
        return picture(vars(thing) if not slots else {name: getattr(thing, name) for name in slots})
    return repr(thing)


def named(pairs: list[tuple[ev.Event, TaskState]]) -> list[str]:
    return [f"{type(event).__name__}-{state.name}" for event, state in pairs]


@pytest.mark.parametrize(("event", "state"), LEGAL, ids=named(LEGAL))
def test_legal_events_lead_to_the_next_state(event: ev.Event, state: TaskState):
    controller = controller_with(state)
    assert controller.handle(event) == []
    assert controller.graph.state[TASK] == TRANSITIONS[type(event), state]
    check(controller)


@pytest.mark.parametrize(("event", "state"), ILLEGAL, ids=named(ILLEGAL))
def test_illegal_events_raise_and_change_nothing(event: ev.Event, state: TaskState):
    controller = controller_with(state)
    before = picture(controller)
    said = f"{type(event).__name__} for task {TASK} in {state.name}; expected "
    with pytest.raises(IllegalEvent, match=said):
        controller.handle(event)
    assert picture(controller) == before


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("task", [-1, 99])
def test_events_about_numbers_that_never_were_are_illegal(event: Any, task: int):
    fields = {name: getattr(event, name) for name in event.__slots__} | {"task": task}
    with pytest.raises(IllegalEvent, match=f"for task {task} in UNKNOWN"):
        controller_with(WAITING).handle(type(event)(**fields))


def spec(task: int, *dependencies: int) -> ev.TaskSpec:
    return ev.TaskSpec(task, dependencies, (0, 0, task))


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (ev.GraphArrived(1.0, (spec(5), spec(0))), "task 0 is known already"),
        (ev.GraphArrived(1.0, (spec(5), spec(5))), "task 5 is known already"),
        (ev.GraphArrived(1.0, (spec(5), spec(-1))), "task -1 is known already or negative"),
        (ev.GraphArrived(1.0, (spec(5, 6), spec(6))), "task 5 depends on 6, which is unknown"),
        (ev.GraphArrived(1.0, (spec(5, 5),)), "task 5 depends on 5, which is unknown"),
        (ev.DependenciesAdded(1.0, 0, (1, 9), (0,)), "task 0 depends on 9, which is unknown"),
        (ev.DependenciesAdded(1.0, 0, (1, 0), (0,)), "task 0 depends on itself"),
        (ev.TaskStarted(1.0, 0, 7), r"worker 7 is unknown; expected one of \[0\]"),
        (ev.ArrayAppeared(1.0, 0, 5, (0, 7)), "worker 7 is unknown"),
        (ev.WorkerJoined(1.0, 0, 1, None), "worker 0 joined twice"),
        (ev.WorkerJoined(1.0, 1, 0, None), "worker 1 has 0 threads; expected at least 1"),
        (ev.WorkerJoined(1.0, 1, 1, 0), "worker 1 has a device memory limit of 0 bytes"),
        (ev.LimitSeen(1.0, 0, -5), "worker 0 has a device memory limit of -5 bytes"),
        (ev.LimitSeen(1.0, 7, 5), "worker 7 is unknown"),
        (ev.WorkerPaused(1.0, 7), "worker 7 is unknown"),
        (ev.WorkerResumed(1.0, 7), "worker 7 is unknown"),
        (ev.WorkerLeft(1.0, 7), "worker 7 is unknown"),
        (ev.ArraysMoved(1.0, 7, (), 0, 0.0), "worker 7 is unknown"),
        (ev.ResidencySeen(1.0, 7, ()), "worker 7 is unknown"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_events_that_name_what_cannot_be_raise_and_change_nothing(event: ev.Event, said: str):
    controller = controller_with(WAITING)
    before = picture(controller)
    with pytest.raises(IllegalEvent, match=said):
        controller.handle(event)
    assert picture(controller) == before


def test_a_task_that_starts_elsewhere_than_it_was_sent_is_illegal():
    controller = controller_with(SENT)
    controller.handle(ev.WorkerJoined(0.0, 1, 1, 100))
    before = picture(controller)
    with pytest.raises(IllegalEvent, match="task 0 started on worker 1; it was sent to 0"):
        controller.handle(ev.TaskStarted(1.0, TASK, 1))
    assert picture(controller) == before


def test_a_number_may_be_used_again_once_its_task_is_forgotten():
    dask = VirtualDask()
    dask.join(0)
    dask.submit("x\na -> b -> c")
    dask.run()
    dask.release("c")
    dask.submit("x -> d\ne f")
    assert {key: dask.number(key) for key in "xdef"} == {"x": 0, "d": 1, "e": 2, "f": 3}
    dask.run()
    for key in "xdef":
        dask.release(key)
    check_empty(dask.controller)


# Who gets what


def sent(dask: VirtualDask) -> list[tuple[str, int]]:
    return [(dask.key(run.task), run.worker) for run in dask.runs]


def test_threads_fill_before_any_lookahead_does():
    dask = VirtualDask(lookahead=1)
    dask.join(0)
    dask.join(1, threads=2)
    dask.submit("a b c d e f g")
    dask.decide()
    # Then the slots beyond the threads, and nothing more than that.
    assert [worker for _, worker in sent(dask)] == [0, 1, 1, 0, 1]
    assert dask.keys("parked") == ["f", "g"]


def test_the_least_busy_worker_comes_first():
    dask = VirtualDask(lookahead=0)
    dask.join(0, threads=2)
    dask.join(1, threads=4)
    dask.submit("a b c d e f g h", seconds={"a": 9.0, "b": 9.0, "c": 1.0})
    dask.decide()
    assert [worker for _, worker in sent(dask)] == [0, 1, 1, 0, 1, 1]


def test_the_least_busy_worker_comes_first_in_later_passes_too():
    dask = VirtualDask(lookahead=1)
    dask.join(0, threads=2)
    dask.submit("a")
    dask.decide()
    dask.join(1, threads=1)
    dask.submit("b")
    dask.decide()
    assert sent(dask) == [("a", 0), ("b", 1)]


def test_dasks_order_is_kept_without_a_policy():
    dask = VirtualDask(lookahead=0)
    dask.join(0)
    dask.submit("a b c -> d\ne")
    assert dask.run() == ["a", "b", "c", "d", "e"]


def test_of_tasks_submitted_one_by_one_chains_end_before_others_begin():
    dask = VirtualDask(lookahead=0)
    dask.join(0)
    dask.submit("x-1 -> y-1 -> z-1\nx-2 -> y-2 -> z-2\nx-3 -> y-3 -> z-3", one_by_one=True)
    assert " ".join(dask.run()) == "x-1 y-1 z-1 x-2 y-2 z-2 x-3 y-3 z-3"


def test_a_task_given_back_goes_to_an_idle_worker_that_has_not_just_had_it():
    dask = VirtualDask(lookahead=0)
    dask.join(0)
    dask.join(1)
    dask.submit("a")
    for _ in range(3):
        dask.decide()
        dask.advance(dask.now + 0.1)
        dask.reschedule("a")
    assert sent(dask) == [("a", 0), ("a", 1), ("a", 0)]


def test_the_user_s_priority_comes_first():
    dask = VirtualDask(lookahead=0)
    dask.join(0)
    dask.submit("low")
    dask.submit("high", priority=5)
    dask.submit("middle", priority=1)
    assert dask.run() == ["high", "middle", "low"]


@pytest.mark.parametrize("view", ["nearest", "oldest", "any"])
def test_no_policy_gets_around_the_user_s_priority(view: Any):
    last = Scripted(lambda at: list(range(len(at.candidates))), view=view)
    dask = VirtualDask(last, lookahead=2)
    dask.join(0, limit=25)
    for round_ in range(3):
        for user in (0, 2, 1):
            dask.submit(f"p-{round_}-{user} -> q-{round_}-{user}", priority=user)
    dask.decide()  # checks it for every run
    dask.run()


def test_no_more_than_threads_and_lookahead_are_in_flight():
    dask = VirtualDask(Greedy(), lookahead=2)
    dask.join(0, threads=2, limit=50)
    dask.submit(gemm(2))
    dask.decide()
    while (time := dask.next_time()) is not None:
        dask.advance(time)
        assert len(dask.controller.devices[0].in_flight) <= 4


def in_flight_after_the_first(seconds: float, limit: int = 1000, **settings: float) -> int:
    """Count what one thread is given once it is known how long tasks take."""
    dask = VirtualDask(**{"lookahead": 0, **settings})
    dask.join(0, limit=limit)
    dask.submit(" ".join(f"a-{i}" for i in range(30)), seconds=seconds)
    dask.decide()
    assert len(dask.controller.devices[0].in_flight) == 1 + settings.get("lookahead", 0)
    dask.finish("a-0")
    dask.decide()
    count = len(dask.controller.devices[0].in_flight)
    dask.run()
    return count


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (1.0, 1),
        (0.020, 1),
        (0.006, 2),  # 6 ms are too short for the way there and back, 12 ms are not
        (0.003, 4),
        (0.0, 1 + BRIDGE),
    ],
)
def test_where_everything_fits_short_tasks_bridge_the_way_to_the_worker_and_back(
    seconds: float, expected: int
):
    assert in_flight_after_the_first(seconds) == expected


def test_where_memory_is_short_no_task_is_sent_early_to_bridge_the_way():
    assert in_flight_after_the_first(0.0, limit=50) == 1


@pytest.mark.parametrize(
    ("seconds", "round_trip", "lookahead", "expected"),
    [
        (0.006, 0.005, 1, 2),  # one that waits computes long enough
        (0.002, 0.005, 1, 4),  # three do
        (0.002, 0.0, 1, 2),  # news takes no time
        (0.002, 0.005, 0, 1),  # nothing may wait, as the user has it
        (0.002, 0.005, 5, 6),
        (0.0, 0.005, 1, 1 + BRIDGE),
    ],
)
def test_where_memory_is_short_tasks_that_wait_compute_for_as_long_as_the_way_takes(
    seconds: float, round_trip: float, lookahead: int, expected: int
):
    settings = {"lookahead": lookahead, "round_trip": round_trip}
    assert in_flight_after_the_first(seconds, limit=50, **settings) == expected


def test_no_more_is_sent_than_the_lookahead_before_it_is_known_how_long_tasks_take():
    dask = VirtualDask(lookahead=1, round_trip=0.005)
    dask.join(0, limit=50)
    dask.submit(" ".join(f"a-{i}" for i in range(30)))
    dask.decide()
    assert len(dask.controller.devices[0].in_flight) == 2


def test_the_lookahead_may_be_longer_than_the_bridge():
    assert in_flight_after_the_first(0.0, lookahead=20) == 21


def test_without_a_worker_nothing_is_sent():
    dask = VirtualDask()
    dask.submit("a b")
    assert dask.decide() == []
    dask.join(0)
    dask.run()


def test_a_paused_worker_gets_nothing_until_it_resumes():
    dask = VirtualDask()
    dask.join(0)
    dask.pause(0)
    dask.submit("a")
    assert dask.decide() == []
    dask.resume(0)
    assert dask.run() == ["a"]


@pytest.mark.parametrize("while_parked", [True, False])
def test_tasks_whose_home_is_paused_run_elsewhere(while_parked: bool):
    # However far the copy is: nobody knows when the worker resumes.
    dask = VirtualDask(network_bandwidth=1e-9)
    dask.join(0)
    dask.join(1)
    dask.scatter("x", 20, [0])
    if while_parked:
        dask.submit("x -> p")
        dask.pause(0)
    else:
        dask.pause(0)
        dask.submit("x -> p")
    dask.decide()
    assert sent(dask) == [("p", 1)]


def test_tasks_whose_home_has_left_run_elsewhere():
    dask = VirtualDask(network_bandwidth=1e-9)
    for worker in range(3):
        dask.join(worker)
    dask.scatter("x", 20, [0, 1])
    dask.submit("x -> p")
    dask.leave(0)
    dask.decide()
    assert len(sent(dask)) == 1


def test_a_seceded_task_takes_no_slot():
    dask = VirtualDask(lookahead=0)
    dask.join(0)
    dask.submit("a b")
    dask.decide()
    dask.secede("a")
    dask.decide()
    assert dask.keys("processing") == ["a", "b"]
    dask.secede("a")  # Dask is asked again and again, and may say it again
    dask.run()


def test_seceding_on_a_worker_that_has_left_is_no_error():
    controller = controller_with(RUNNING)
    controller.handle(ev.WorkerLeft(1.0, 0))
    controller.handle(ev.TaskSeceded(1.0, TASK))
    controller.handle(ev.TaskStopped(1.0, TASK))
    check(controller)


def test_dasks_own_tasks_take_none_of_our_slots_but_their_arrays_count():
    dask = VirtualDask(lookahead=0)
    dask.join(0)
    dask.submit("a", dasks_own=["a"])
    dask.submit("b")
    dask.decide()
    assert dask.keys("processing") == ["a", "b"]
    dask.run()
    assert dask.controller.graph.computed_bytes == 20
    assert dask.number("a") in dask.controller.devices[0].residency


def test_dask_may_send_a_parked_task_by_itself():
    dask = VirtualDask(lookahead=0)
    dask.join(0)
    dask.submit("a b")
    dask.start("a", 0)
    assert dask.controller.parked == 1
    assert dask.run() == ["b"]


# Policies that fail


def failing(_: Situation) -> list[float]:
    msg = "no idea"
    raise RuntimeError(msg)


BAD: dict[str, Callable[[Situation], Any]] = {
    "raises": failing,
    "says NaN": lambda at: [float("nan")] * (len(at.candidates) + (at.hold is not None)),
    "says too little": lambda _: [],
    "says too much": lambda at: [0.0] * (len(at.candidates) + 2),
    "says nothing": lambda _: None,
}


def tight(policy: Scripted | None, **settings: float) -> VirtualDask:
    """Put a product on two workers with too little memory for it."""
    dask = VirtualDask(policy, lookahead=0, **settings)
    dask.join(0, limit=60)
    dask.join(1, limit=60)
    dask.submit(gemm(3))
    return dask


@pytest.mark.parametrize("score", BAD.values(), ids=BAD.keys())
def test_a_policy_that_fails_leaves_dasks_order(score: Callable[[Situation], Any]):
    expected = tight(None).run()
    policy = Scripted(score)
    dask = tight(policy, failures=10**6)
    assert dask.run() == expected
    assert {run.reason for run in dask.runs} <= {"policy failed", "only choice"}
    guard = dask.controller.chooser.guard
    assert guard is not None
    assert guard.failures == len(policy.situations) > 10


def test_a_policy_that_dawdles_leaves_dasks_order():
    dask = tight(Scripted(lambda at: list(range(len(at.candidates)))), time_budget=0.5e-6)
    assert dask.run() == tight(None).run()


@pytest.mark.parametrize("score", BAD.values(), ids=BAD.keys())
def test_a_policy_that_fails_too_often_is_not_asked_again(score: Callable[[Situation], Any]):
    policy = Scripted(score)
    dask = tight(policy, failures=3)
    assert dask.run() == tight(None).run()
    assert len(policy.situations) == 3
    assert dask.controller.chooser.reasons["policy failed"] == 3
    assert dask.controller.chooser.reasons["policy"] == 0


def test_a_policy_that_fails_now_and_then_is_asked_all_the_same():
    answers = iter([True, False] * 1000)

    def score(at: Situation) -> list[float]:
        return first(at) if next(answers) else []

    dask = tight(Scripted(score), failures=10**6)
    dask.run()
    assert dask.controller.chooser.reasons["policy"] > 10
    assert dask.controller.chooser.reasons["policy failed"] > 10


# What is predicted


def residency_of(dask: VirtualDask, worker: int = 0) -> list[str]:
    return [dask.key(array) for array in dask.controller.devices[worker].residency]


def test_the_prediction_is_ahead_of_the_worker_by_the_lookahead():
    dask = VirtualDask(lookahead=1)
    dask.join(0, limit=100)
    dask.scatter("x", 20, [])
    dask.scatter("y", 20, [])
    dask.submit("x -> p-0:10\ny -> p-1:10")
    dask.decide()
    assert residency_of(dask) == ["x", "p-0", "y", "p-1"]


def test_a_stopped_task_leaves_no_array_behind():
    dask = VirtualDask()
    dask.join(0)
    dask.submit("a")
    dask.decide()
    dask.fail("a")
    assert residency_of(dask) == []


def test_a_refused_task_leaves_no_array_behind():
    dask = VirtualDask(lookahead=0)
    dask.join(0)
    dask.submit("a")
    dask.decide(refuse=[0])
    assert residency_of(dask) == []
    dask.join(1)
    dask.pause(0)
    dask.run()
    dask.release("a")
    check_empty(dask.controller)


def test_refusing_a_task_of_a_worker_that_has_left_parks_it_again():
    controller = controller_with(SENT)
    controller.handle(ev.WorkerLeft(1.0, 0))
    controller.handle(ev.TaskRefused(1.0, TASK))
    assert controller.parked == 1
    check(controller)


def test_sizes_are_corrected_when_tasks_finish():
    dask = VirtualDask()
    dask.join(0, limit=100)
    dask.submit("a-0:40 a-1:80")
    dask.run()
    # Both were expected to be nothing; the second pushed the first out.
    assert residency_of(dask) == ["a-1"]
    assert dask.controller.devices[0].residency.resident_bytes == 80


def test_tasks_that_cannot_fit_are_counted_and_run():
    dask = VirtualDask()
    dask.join(0, limit=50)
    dask.scatter("x", 30, [0])
    dask.scatter("y", 30, [0])
    dask.submit("x y -> p\nx -> q")
    dask.run()
    assert dask.controller.oversized == 1


def test_a_limit_that_is_seen_late_tells_parked_tasks_apart():
    dask = VirtualDask(Greedy(), lookahead=0)
    dask.join(0, limit=None)
    dask.scatter("old", 60, [0])
    dask.scatter("new", 60, [0])
    dask.submit("old -> p\nnew -> q")
    dask.handle(ev.LimitSeen(0.0, 0, 100))
    dask.decide()
    assert sent(dask) == [("q", 0)]


def test_a_limit_that_is_lifted_leaves_nothing_missing():
    dask = VirtualDask(Greedy(), lookahead=0)
    dask.join(0, limit=100)
    dask.scatter("old", 60, [0])
    dask.submit("old -> p")
    dask.handle(ev.LimitSeen(0.0, 0, None))
    (level,) = dask.controller.levels.values()
    assert level.nearest(0, 9) == []


# Reports: late, lost, repeated and wrong ones


def reporting(policy: Any = None) -> VirtualDask:
    """Park a reader of `old` and one of `new`; 100 bytes hold either array."""
    dask = VirtualDask(policy or Greedy(), lookahead=0)
    dask.join(0, limit=100)
    dask.scatter("old", 60, [0])
    dask.scatter("new", 60, [0])
    dask.submit("old -> p\nnew -> q")
    return dask


def moved(dask: VirtualDask, *moves: tuple[str, bool]) -> None:
    numbers = tuple((dask.number(key), loaded) for key, loaded in moves)
    dask.handle(ev.ArraysMoved(dask.now, 0, numbers, 0, 0.0))


def test_a_report_corrects_the_prediction():
    dask = reporting()
    moved(dask, ("new", False), ("old", True))
    assert residency_of(dask) == ["old"]
    dask.decide()
    assert sent(dask) == [("p", 0)]


def test_a_repeated_report_changes_nothing_more():
    dask = reporting()
    moved(dask, ("new", False), ("old", True))
    before = picture(dask.controller.devices)
    moved(dask, ("new", False), ("old", True))
    assert picture(dask.controller.devices) == before


def test_a_report_about_what_a_task_in_flight_uses_is_out_of_date():
    dask = reporting(Scripted(lambda at: [float(c.missing_bytes) for c in at.candidates]))
    dask.decide()  # `p`, which will load `old`
    assert residency_of(dask) == ["old", "p"]
    moved(dask, ("old", False))
    assert residency_of(dask) == ["old", "p"]


def test_reports_about_unknown_and_unmade_arrays_are_left_out():
    dask = reporting()
    moves = ((99, True), (-1, True), (dask.number("p"), True), (98, False))
    dask.handle(ev.ArraysMoved(0.0, 0, moves, 0, 0.0))
    dask.handle(ev.ResidencySeen(0.0, 0, (99, -1, dask.number("p"), dask.number("new"))))
    assert residency_of(dask) == ["new"]


def test_a_worker_s_list_takes_the_place_of_the_prediction():
    dask = reporting()
    dask.handle(ev.ResidencySeen(0.0, 0, (dask.number("old"),)))
    assert residency_of(dask) == ["old"]
    dask.decide()
    assert sent(dask) == [("p", 0)]


def test_a_worker_s_list_does_not_know_of_what_is_on_its_way():
    dask = reporting()
    dask.decide()  # `q`
    dask.handle(ev.ResidencySeen(0.0, 0, ()))
    assert residency_of(dask) == ["new", "q"]


def test_a_report_of_copies_sets_the_speed():
    dask = reporting()
    dask.handle(ev.ArraysMoved(0.0, 0, (), 81_920, 2.0))
    assert dask.controller.devices[0].bandwidth == 40_960.0


def junk(dask: VirtualDask) -> Iterator[ev.Event]:
    """Report, again and again, what is not so."""
    numbers = range(len(dask.controller.graph) + 2)
    for worker in dask.workers:
        yield ev.ArraysMoved(dask.now, worker, tuple((n, n % 3 > 0) for n in numbers), 10**6, 1.0)
        yield ev.ResidencySeen(dask.now, worker, tuple(numbers)[::2])
        yield ev.ResidencySeen(dask.now, worker, ())


@pytest.mark.parametrize("policy", [None, Greedy(), GreedyHold(), Scripted(hold)])
def test_wrong_reports_stop_nothing(policy: Any):
    dask = VirtualDask(policy)
    dask.join(0, limit=60)
    dask.join(1, limit=60)
    graph = gemm(3)
    dask.submit(graph)
    dask.decide()
    while (time := dask.next_time()) is not None:
        for event in junk(dask):
            dask.handle(event)
        dask.advance(time)
    assert sorted(dask.sent) == sorted(graph.dependencies)
    for key in dask.keys("memory"):
        dask.release(key)
    check_empty(dask.controller)


# Losses


@pytest.mark.parametrize("told_last", [True, False])
@pytest.mark.parametrize("policy", [None, GreedyHold(), Scripted(hold)])
def test_what_was_lost_with_a_worker_is_computed_again(policy: Any, told_last: bool):
    dask = VirtualDask(policy)
    dask.join(0, limit=60)
    dask.join(1, limit=60)
    dask.submit(gemm(3))
    dask.decide()
    for step in range(20):
        time = dask.next_time()
        assert time is not None
        dask.advance(time)
        if step in (5, 12):
            dask.leave(step % 2, told_last=told_last)
            dask.join(step % 2, limit=60)  # another worker with the same number
            dask.decide()
    dask.run()
    assert len(dask.keys("memory")) == 9


@pytest.mark.parametrize("rejoined", [True, False])
@pytest.mark.parametrize(
    ("event", "state"),
    [
        (ev.TaskStopped(2.0, TASK), SENT),
        (ev.TaskStopped(2.0, TASK), RUNNING),
        (ev.TaskFinished(2.0, TASK, 7, 1.0), RUNNING),
    ],
)
def test_tasks_may_end_after_their_worker_has_left(
    event: ev.Event, state: TaskState, rejoined: bool
):
    controller = controller_with(state)
    controller.handle(ev.WorkerLeft(1.0, 0))
    check(controller)
    if rejoined:  # another worker, with the same number
        controller.handle(ev.WorkerJoined(1.0, 0, 1, 100))
    controller.handle(event)
    assert controller.graph.state[TASK] == TRANSITIONS[type(event), state]
    check(controller)


# Wide arrays


def test_an_array_with_very_many_dependents_is_not_followed_and_all_of_them_run():
    dask = VirtualDask(GreedyHold(), validate=False)
    dask.join(0, limit=100)
    dask.scatter("wide", 50, [0])
    dask.scatter("other", 60, [0])  # evicts it
    names = [f"p-{i}" for i in range(WIDE + 100)]
    dask.submit(Drawn({name: ["wide"] for name in names}, dict.fromkeys(names, 1)))
    wide = dask.number("wide")
    (level,) = dask.controller.levels.values()
    assert level.nearest(0, 1) == []
    moved(dask, ("wide", True))
    assert wide in dask.controller.devices[0].residency
    assert level.nearest(0, 1) == []  # it is not looked at a thousand times for that
    check(dask.controller)
    assert sorted(dask.run()) == sorted(names)
    # What a run says is worked out when it is sent.
    assert {run.missing_bytes for run in dask.runs} == {0}
    for key in dask.keys("memory"):
        dask.release(key)
    check_empty(dask.controller)


def test_an_array_with_as_many_dependents_as_may_be_is_followed():
    dask = VirtualDask(validate=False)
    dask.join(0, limit=100)
    dask.scatter("x", 50, [0])
    dask.submit("\n".join(f"x -> p-{i}" for i in range(WIDE)))
    (level,) = dask.controller.levels.values()
    moved(dask, ("x", False))
    assert level.nearest(0, 1) == []
    moved(dask, ("x", True))
    assert level.nearest(0, 1) == [dask.number("p-0")]
    check(dask.controller)


def test_a_home_is_found_among_very_many_holders():
    dask = VirtualDask(lookahead=0)
    for worker in range(40):
        dask.join(worker)
    dask.scatter("everywhere", 10, range(40))
    dask.scatter("here", 5, [7])
    dask.submit("everywhere here -> p")
    (level,) = dask.controller.levels.values()
    assert level.home(dask.number("p")) == 7
