"""One free slot: which tasks are looked at, when it may be held, and what is said about it.

Where a number matters, a copy of 10 bytes takes a second and a task computes for one.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from core.driver import VirtualDask
from core.scripted import Scripted, first, hold
from dask_mlsched.core.events import Run
from dask_mlsched.core.policies import Candidate, GreedyHold, HoldOption, Policy, Situation


def ready(policy: Policy | None, graph: str, **settings: float) -> VirtualDask:
    """Park the tasks that read `old` (60 bytes, evicted) and `new` (60 bytes, resident)."""
    dask = VirtualDask(policy, **{"bandwidth": 10.0, "hold_limit": 100.0, **settings})
    dask.join(0, limit=100)
    dask.scatter("old", 60, [0])
    dask.scatter("new", 60, [0])
    dask.submit(graph)
    return dask


# The shortlist


def test_candidates_stand_in_dasks_order_and_say_what_a_policy_needs():
    policy = Scripted()
    dask = ready(policy, "old -> p\nnew -> q\nroot", lookahead=0)
    dask.decide()
    (situation,) = policy.situations
    p, q, root = (dask.number(key) for key in ("p", "q", "root"))
    assert situation.candidates == (
        Candidate(p, (0, 0, 1, -1), 60, 0, 0, root=False),
        Candidate(q, (0, 0, 3, -2), 0, 60, 0, root=False),
        Candidate(root, (0, 0, 4, 3), 0, 0, 0, root=True),
    )
    assert (situation.worker, situation.limit, situation.resident_bytes) == (0, 100, 60)
    assert situation.hold is None


def test_expected_output_is_what_the_prefix_made_before():
    policy = Scripted()
    dask = ready(policy, "new -> p-0:30\nnew -> p-1\nnew -> p-2", lookahead=0)
    dask.run()
    assert [c.output_bytes for c in policy.situations[1].candidates] == [30, 30]


def shortlisted(policy: Scripted, dask: VirtualDask) -> list[str]:
    dask.decide()
    return [dask.key(candidate.task) for candidate in policy.situations[0].candidates]


@pytest.mark.parametrize(("asked", "allowed"), [(2, 32), (32, 2)])
def test_the_nearest_are_as_many_as_policy_and_settings_allow_besides_four_in_order(
    asked: int, allowed: int
):
    policy = Scripted(shortlist=asked)
    in_order = "\n".join(f"old -> p-{i}" for i in range(9))
    near = "\n".join(f"new -> q-{i}" for i in range(9))
    dask = ready(policy, f"{in_order}\n{near}", shortlist=allowed, lookahead=0)
    assert shortlisted(policy, dask) == ["p-0", "p-1", "p-2", "p-3", "q-0", "q-1"]


def test_the_oldest_are_those_parked_longest():
    policy = Scripted(view="oldest", shortlist=2)
    dask = ready(policy, "p-0 p-1 p-2", lookahead=0)
    dask.submit("urgent", priority=0)
    for key in ("p-0", "p-1"):  # leave, and come back as the youngest
        dask.start(key, 0)
        dask.fail(key)
    dask.submit("p-3")
    assert shortlisted(policy, dask) == ["p-2", "urgent"]


def test_any_is_drawn_with_the_settings_seed():
    drawn = []
    for seed in (1, 1, 2):
        policy = Scripted(view="any", shortlist=5)
        graph = " ".join(f"p-{i}" for i in range(50))
        dask = VirtualDask(policy, seed=seed, lookahead=0)
        dask.join(0)
        dask.submit(graph)
        drawn.append(shortlisted(policy, dask))
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert len(set(drawn[0])) == 5


def test_only_the_most_urgent_tasks_are_looked_at():
    policy = Scripted()
    dask = ready(policy, "new -> p", lookahead=0)
    dask.submit("old -> u-0\nold -> u-1", priority=1)
    assert shortlisted(policy, dask) == ["u-0", "u-1"]


# Tasks at home elsewhere


def at_home_on_worker_0(seconds: float) -> VirtualDask:
    """Run the first of five tasks that read 20 bytes (two seconds away) on worker 0."""
    dask = VirtualDask(network_bandwidth=10.0, lookahead=0)
    dask.join(0)
    dask.join(1)
    dask.scatter("x", 20, [0])
    dask.submit("\n".join(f"x -> p-{i}" for i in range(5)), seconds=seconds)
    dask.decide()
    assert [run.worker for run in dask.runs] == [0]
    return dask


def test_a_task_leaves_its_home_where_waiting_takes_longer_than_moving():
    dask = at_home_on_worker_0(seconds=1.0)
    dask.advance(1.0)
    # Three wait at home, for three seconds.
    assert sorted(run.worker for run in dask.runs[1:]) == [0, 1]


def test_a_task_stays_at_home_where_moving_takes_longer_than_waiting():
    dask = at_home_on_worker_0(seconds=0.5)
    dask.advance(0.5)
    assert [run.worker for run in dask.runs[1:]] == [0]


def test_tasks_leave_a_home_that_is_stuck():
    dask = at_home_on_worker_0(seconds=0.05)
    dask.finish("p-0")
    dask.decide()
    # Three more wait there: for 0.15 s by all that is known, so none leaves.
    assert [run.worker for run in dask.runs] == [0, 0]
    dask.now += 0.9
    dask.decide()
    # It has been at it for so long now that moving, two seconds, would be quicker than waiting
    # three times that.
    assert [run.worker for run in dask.runs] == [0, 0, 1]


def test_no_task_leaves_its_home_only_to_wait_elsewhere():
    dask = VirtualDask(network_bandwidth=1e9, lookahead=1)
    dask.join(0)
    dask.join(1)
    for i in range(5):
        dask.scatter(f"x-{i}", 20, [0])
    dask.submit("\n".join(f"x-{i} -> p-{i}" for i in range(5)))
    dask.decide()
    assert [run.worker for run in dask.runs] == [0, 1, 0]


def test_a_task_whose_inputs_are_elsewhere_too_may_wait_there():
    dask = VirtualDask(network_bandwidth=1e9, lookahead=1)
    dask.join(0)
    dask.join(1)
    dask.scatter("x", 20, [0])
    dask.submit("\n".join(f"x -> p-{i}" for i in range(5)))
    dask.decide()
    # The first task that leaves takes x along; the next needs nothing sent.
    assert [run.worker for run in dask.runs] == [0, 1, 0, 1]


def test_an_idle_home_keeps_its_tasks_though_another_worker_is_asked_first():
    dask = VirtualDask(network_bandwidth=1e9, lookahead=0)
    dask.join(0)
    dask.join(1, threads=2)
    dask.scatter("x", 20, [1])
    dask.submit("x -> p-0\nx -> p-1")
    dask.decide()
    assert [run.worker for run in dask.runs] == [1, 1]


def test_the_task_that_leaves_is_the_one_with_fewest_bytes_missing_here():
    dask = VirtualDask(network_bandwidth=1e9, lookahead=0)
    dask.join(0)
    dask.scatter("x", 20, [0])
    dask.scatter("y", 30, [0])
    dask.submit("x y -> p-0\nx y -> p-1\nx -> p-2\ny -> p-3")
    dask.decide()
    dask.join(1)
    dask.advance(1.0)
    assert [dask.key(run.task) for run in dask.runs if run.worker == 1] == ["p-2"]


def test_no_slot_stays_empty_for_a_home_while_lower_priorities_wait():
    dask = VirtualDask(network_bandwidth=1e-9, lookahead=0)
    dask.join(0)
    dask.join(1)
    dask.scatter("x", 20, [0])
    dask.submit("x -> u-0\nx -> u-1", priority=1)
    dask.submit("p-0 p-1")
    dask.decide()
    assert [(dask.key(run.task), run.worker) for run in dask.runs] == [("u-0", 0), ("u-1", 1)]


# Holding

#: `r` runs; once it is done `s` is ready and finds all it needs; `p` misses 60 bytes: 6 seconds.
CHAIN = "new -> r -> s\nnew -> s"


def running_r(policy: Policy, graph: str = CHAIN, **settings: float) -> VirtualDask:
    dask = ready(policy, graph, **settings)
    dask.decide()
    assert dask.keys("processing") == ["r"]
    return dask


def offered(dask: VirtualDask, graph: str = "old -> p") -> HoldOption | None:
    """Park what misses 60 bytes, and tell what is said about holding."""
    dask.submit(graph)
    dask.decide()
    guard = dask.controller.chooser.guard
    assert guard is not None
    assert isinstance(guard.policy, Scripted)
    return guard.policy.situations[-1].hold if guard.policy.situations else None


def test_a_slot_may_be_held_for_a_successor_that_misses_fewer_bytes():
    dask = running_r(Scripted())
    assert offered(dask) == HoldOption(6.0, dask.number("s"), 0, 6.0)


def test_the_deadline_is_as_far_away_as_the_copies_that_it_saves_take():
    # `s` misses 20 of the 60 bytes: 4 seconds are saved.
    dask = ready(Scripted(), "new -> r", bandwidth=10.0)
    dask.scatter("far", 20, [])
    dask.submit("r far -> s")
    dask.decide()
    option = offered(dask)
    assert option == HoldOption(4.0, dask.number("s"), 20, 4.0)


def test_holding_costs_nothing_while_all_threads_are_busy():
    # The deadline counts from the expected end of what runs, not from now.
    dask = ready(Scripted(), "new -> r-0")
    dask.run()  # takes a second, and so is every `r` expected to
    assert dask.now == 1.0
    dask.submit("new -> r-1 -> s\nnew -> s")
    dask.decide()
    assert offered(dask) == HoldOption(1.0 + 1.0 + 6.0, dask.number("s"), 0, 6.0)


def test_holding_costs_from_now_on_while_a_thread_is_idle():
    dask = VirtualDask(Scripted(), bandwidth=10.0, hold_limit=100.0)
    dask.join(0, threads=2, limit=100)
    dask.scatter("old", 60, [0])
    dask.scatter("new", 60, [0])
    dask.submit("new -> r-0")
    dask.run()
    dask.submit("new -> r-1 -> s\nnew -> s")
    dask.decide()
    assert offered(dask) == HoldOption(1.0 + 6.0, dask.number("s"), 0, 6.0)


def test_a_hold_is_never_longer_than_the_limit_on_holds():
    dask = running_r(Scripted(), hold_limit=2.5)
    option = offered(dask)
    assert option is not None
    assert option.until == 2.5
    assert option.saved_seconds == 6.0


def test_the_measured_speed_of_copies_sets_the_deadline():
    dask = running_r(Scripted())
    dask.controller.devices[0].copied(8192, 8192 / 20.0)
    option = offered(dask)
    assert option is not None
    assert option.until == 3.0


def test_no_hold_on_a_worker_where_nothing_runs():
    dask = ready(Scripted(), CHAIN)
    dask.submit("old -> p")
    dask.join(1)
    dask.start("r", 1)
    dask.pause(1)
    dask.decide()
    assert [dask.key(run.task) for run in dask.runs] == ["p"]


def test_no_hold_without_a_limit():
    policy = Scripted()
    dask = VirtualDask(policy, lookahead=1)
    dask.join(0, limit=None)
    dask.join(1, limit=10)  # so that not everything fits
    dask.pause(1)
    dask.submit("a -> r -> s\na -> p-0\na -> p-1")
    dask.run()
    assert policy.situations
    assert all(situation.hold is None for situation in policy.situations)


def test_no_hold_while_a_ready_task_misses_nothing():
    dask = running_r(Scripted(hold))
    assert offered(dask, "old -> p\nnew -> q") is None


def test_no_hold_for_a_successor_that_misses_as_much():
    dask = running_r(Scripted(), "new -> r\nold r -> s")
    assert offered(dask) is None


def test_no_hold_for_a_successor_that_waits_for_something_else_too():
    dask = running_r(Scripted(), "new -> r -> s\nnew -> s", lookahead=1)
    dask.join(1)
    dask.submit("z", dasks_own=["z"])  # runs elsewhere
    dask.depend("s", [])
    dask.submit("z -> t\nr new -> t")
    dask.cancel("s")
    assert offered(dask) is None


def test_no_hold_for_a_successor_that_the_user_s_priority_puts_behind():
    # When `s` is ready, `p` would still have to go first.
    dask = running_r(Scripted(hold))
    dask.submit("old -> p-0\nold -> p-1", priority=1)
    dask.decide()
    assert not dask.holds
    assert [dask.key(run.task) for run in dask.runs] == ["r", "p-0"]


def test_the_successor_that_misses_least_is_waited_for_and_the_first_of_equals():
    dask = ready(Scripted(), "new -> r", bandwidth=10.0)
    dask.scatter("far", 20, [])
    dask.submit("r far -> s-0\nr new -> s-2\nr new -> s-1\nr far -> s-3")
    dask.decide()
    option = offered(dask)
    assert option is not None
    assert dask.key(option.successor) == "s-2"


def test_of_very_many_successors_some_are_looked_at():
    dask = ready(Scripted(), "new -> r")
    dask.submit("\n".join(f"r new -> s-{i}" for i in range(100)))
    dask.decide()
    option = offered(dask)
    assert option is not None
    assert option.missing_bytes == 0


# What becomes of a hold


def held() -> VirtualDask:
    """Hold worker 0 from 0 to 6."""
    dask = running_r(Scripted(hold))
    assert offered(dask) is not None
    assert [(each.worker, each.until, each.saved_seconds) for each in dask.holds] == [(0, 6.0, 6.0)]
    assert dask.controller.holds == 1
    return dask


def at(dask: VirtualDask, time: float) -> list[Run]:
    """Decide at a time without anything ending; list what is run."""
    dask.now = time
    return [each for each in dask.decide() if isinstance(each, Run)]


def test_a_hold_is_told_once_and_stands():
    dask = held()
    assert at(dask, 3.0) == []
    assert len(dask.holds) == 1


def test_a_hold_is_never_extended():
    dask = held()
    dask.controller.devices[0].copied(8192, 8192.0)  # copies are slower than thought
    at(dask, 3.0)
    policy = dask.controller.chooser.guard
    assert policy is not None
    assert isinstance(policy.policy, Scripted)
    option = policy.policy.situations[-1].hold
    assert option is not None
    assert option.until == 6.0
    assert dask.controller.devices[0].hold_until == 6.0


def test_a_hold_ends_at_its_deadline():
    dask = held()
    (run,) = at(dask, 6.0)
    assert dask.key(run.task) == "p"
    assert run.held_seconds == 6.0
    assert dask.controller.hold_seconds == 6.0
    assert dask.controller.devices[0].held_since is None


def test_a_hold_ends_when_its_successor_is_ready():
    dask = running_r(GreedyHold())
    dask.submit("old -> p")
    dask.decide()
    assert dask.holds
    dask.advance(1.0)  # `r` ends
    assert [dask.key(run.task) for run in dask.runs] == ["r", "s", "p"]
    assert dask.runs[1].held_seconds == 1.0
    assert dask.controller.hold_seconds == 1.0


def test_a_hold_ends_when_the_running_task_fails():
    dask = held()
    dask.fail("r")
    (run,) = at(dask, 1.0)
    assert dask.key(run.task) == "p"
    assert run.held_seconds == 1.0


def test_a_hold_is_over_once_nothing_is_parked():
    dask = held()
    dask.cancel("p")
    at(dask, 2.0)
    assert dask.controller.devices[0].held_since is None
    assert dask.controller.hold_seconds == 2.0


@pytest.mark.parametrize("end", [VirtualDask.pause, VirtualDask.leave])
def test_a_hold_is_over_when_its_worker_takes_nothing_any_more(
    end: Callable[[VirtualDask, int], None],
):
    dask = held()
    dask.now = 2.0
    end(dask, 0)
    assert dask.controller.hold_seconds == 2.0


def test_a_hold_past_its_deadline_ends_though_there_is_nothing_to_run():
    dask = held()
    # What is parked now is at home on another worker, and far away.
    dask.join(1, limit=100)
    dask.pause(1)
    dask.cancel("p")
    dask.resume(1)
    dask.scatter("y", 60, [1])
    dask.submit("y -> q-0\ny -> q-1\ny -> q-2")
    at(dask, 2.0)
    assert [run.worker for run in dask.runs] == [0, 1, 1]
    assert dask.keys("parked") == ["q-2"]
    at(dask, 7.0)
    assert dask.controller.devices[0].held_since is None
    assert dask.controller.hold_seconds == 7.0


def test_a_new_hold_may_begin_after_a_run():
    dask = held()
    at(dask, 6.0)
    dask.finish("r")
    dask.finish("p")
    assert [dask.key(run.task) for run in at(dask, 7.0)] == ["s"]
    dask.submit("s -> t -> v\ns -> v\nold -> w")
    dask.finish("s")
    at(dask, 8.0)
    assert len(dask.holds) == 2


# Reasons


def test_without_a_policy_tasks_run_in_dasks_order():
    dask = ready(None, "old -> p\nnew -> q\nroot")
    assert dask.run() == ["p", "q", "root"]
    assert dask.controller.chooser.reasons == {"no policy": 3}


def test_where_everything_fits_the_policy_is_not_asked():
    policy = Scripted()
    dask = VirtualDask(policy, lookahead=0)
    dask.join(0, limit=50)
    dask.submit("a-0 a-1 a-2 a-3")
    dask.run()
    # Before the first has finished, nobody knows how large they are.
    assert [run.reason for run in dask.runs] == ["policy", "fits", "fits", "fits"]
    assert len(policy.situations) == 1


def test_without_any_limit_everything_fits():
    policy = Scripted()
    dask = VirtualDask(policy)
    dask.join(0, limit=None)
    dask.join(1, limit=None)
    dask.submit("a-0 a-1 -> b")
    dask.run()
    assert dask.controller.chooser.reasons == {"fits": 3}
    assert not policy.situations


def test_what_fits_in_sum_but_not_on_its_device_does_not_fit():
    dask = VirtualDask(Scripted(), lookahead=0)
    dask.join(0, limit=100)
    dask.join(1, limit=100)
    dask.pause(1)
    dask.scatter("large", 110, [0])
    dask.submit("a")
    dask.run()
    dask.submit("large -> b\nlarge -> c")
    dask.run()
    assert {run.reason for run in dask.runs} <= {"policy", "only choice"}


def test_one_candidate_is_no_question():
    policy = Scripted()
    dask = ready(policy, "new -> p")
    dask.run()
    assert dask.controller.chooser.reasons == {"only choice": 1}
    assert not policy.situations


def test_a_run_says_why_and_from_what():
    last = Scripted(lambda at: list(range(len(at.candidates))))
    dask = ready(last, "new -> q\nroot\nold -> p", lookahead=0)
    dask.decide()
    assert dask.runs == [Run(0.0, dask.number("p"), 0, "policy", 60, 3, 2, 0.0)]


def test_after_a_failure_the_first_in_dasks_order_runs():
    dask = ready(Scripted(lambda _: []), "old -> p\nnew -> q", lookahead=0)
    dask.decide()
    (run,) = dask.runs
    assert dask.key(run.task) == "p"
    assert run.reason == "policy failed"


def test_after_a_failure_dasks_order_counts_among_tasks_from_elsewhere_too():
    dask = VirtualDask(Scripted(lambda _: [], view="oldest"), lookahead=0, failures=99)
    dask.join(0, limit=25)
    dask.scatter("x", 20, [0])
    dask.submit("long", seconds=100.0)
    dask.decide()
    dask.join(1, limit=25)
    # Both are at home on worker 0; p-1 comes first, but is parked later.
    dask.submit("y -> p-1\nx -> p-1\nx -> p-0")
    dask.decide()
    dask.advance(1.0)
    sent = [(dask.key(run.task), run.worker, run.reason) for run in dask.runs[1:]]
    assert sent == [("y", 1, "policy failed"), ("p-1", 1, "policy failed")]


def test_another_policy_is_asked_from_the_next_decision_on():
    old, new = Scripted(), Scripted()
    dask = ready(old, "p-0 p-1 p-2", lookahead=0)
    dask.decide()
    dask.controller.chooser.set_policy(new)
    dask.run()
    assert (len(old.situations), len(new.situations)) == (1, 1)


def test_a_policy_taken_away_ends_its_hold():
    dask = held()
    dask.controller.chooser.set_policy(None)
    (run,) = at(dask, 2.0)
    assert (dask.key(run.task), run.reason, run.held_seconds) == ("p", "no policy", 2.0)


def test_time_spent_on_decisions_is_measured():
    dask = ready(Scripted(), "p-0 p-1 p-2")
    dask.run()
    chooser = dask.controller.chooser
    assert chooser.total_seconds == pytest.approx(sum(chooser.recent_seconds))
    assert len(chooser.recent_seconds) >= 3
    assert min(chooser.recent_seconds) > 0


@pytest.mark.parametrize("view", ["nearest", "oldest", "any"])
def test_a_policy_that_asks_for_no_candidates_still_runs_tasks(view: str):
    policy = Scripted(first, view=view, shortlist=0)  # type: ignore[arg-type]
    dask = ready(policy, "p-0 p-1 p-2", lookahead=0)
    assert sorted(dask.run()) == ["p-0", "p-1", "p-2"]


def test_a_situation_cannot_be_changed():
    def score(situation: Situation) -> list[float]:
        situation.worker = 9  # type: ignore[misc]
        return first(situation)

    dask = ready(Scripted(score), "p-0 p-1", lookahead=0)
    dask.decide()
    assert dask.runs[0].worker == 0
    assert dask.runs[0].reason == "policy failed"


def test_a_watcher_is_told_of_every_choice_of_the_policy_and_of_its_failures():
    answers = iter([[0.0, 1.0, 0.0], [], [0.0]])
    policy = Scripted(lambda _: next(answers))
    dask = ready(policy, "p-0 p-1 p-2", lookahead=0)
    told: list[tuple[Situation, int | None, str | None]] = []
    dask.controller.chooser.watcher = lambda situation, choice, guard: told.append(
        (situation, choice, guard.last_failure)
    )
    dask.run()
    # The third task was the only choice, about which nobody is asked.
    assert [situation for situation, _, _ in told] == policy.situations
    assert [choice for _, choice, _ in told] == [1, None]
    assert told[0][2] is None
    assert told[1][2] == "policy 'scripted' gave 0 scores for 2 actions"
