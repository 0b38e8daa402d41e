"""The guard lets no planner through that has lost the thread, and tells planners all there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from core.driver import VirtualDask
from core.planners.contract import RecordingPlanner, TrackingPlanner, planners
from dask_mlsched.core.policies import Greedy


def dask_of(planner: Any, **settings: float) -> VirtualDask:
    dask = VirtualDask(planner, **{"lookahead": 0, **settings})
    dask.join(0, limit=100)
    return dask


def test_a_planner_hears_nothing_before_it_is_asked_and_then_all_there_is():
    planner = RecordingPlanner()
    dask = dask_of(planner)
    dask.join(1)
    dask.pause(1)
    dask.submit("own -> later\np\nq", dasks_own=["own"])
    assert planner.heard == []
    planner._propose = lambda _: [99]
    dask.decide()
    own, p, q = (dask.number(key) for key in ("own", "p", "q"))
    assert planner.heard == [
        ("worker_joined", 0),
        ("task_sent", own, 0),
        ("task_ready", p),
        ("task_ready", q),
    ]


def test_a_planner_hears_what_happens_in_order():
    planner = RecordingPlanner(lambda _: [0])
    dask = dask_of(planner)
    dask.scatter("x", 60, [0])  # 0
    dask.scatter("y", 60, [0])  # 1, which evicts x
    planner._propose = lambda _: [2]
    dask.submit("x -> p:30")
    dask.submit("q", priority=-1)  # 3; of other user priority, so never ready for this planner
    dask.decide()
    planner.heard.clear()
    dask.finish("p")
    dask.pause(0)
    dask.cancel("p")
    dask.resume(0)
    assert planner.heard == [
        ("task_ended", 2, 0),
        ("worker_left", 0),
        ("task_forgotten", 2),
        ("worker_joined", 0),
    ]


def test_sending_a_task_moves_what_it_reads_and_makes():
    planner = RecordingPlanner(lambda _: [2])
    dask = dask_of(planner)
    dask.scatter("x", 60, [0])
    dask.scatter("y", 60, [0])  # evicts x
    dask.submit("x -> p")
    dask.decide()
    # The size of p is not known before it has run.
    assert planner.heard[-2:] == [("task_sent", 2, 0), ("residency_changed", 0, [0, 2], [1])]


def test_an_array_that_goes_and_comes_again_has_not_moved():
    # x (60) and y (30) are resident, z (60) is not. p reads z, x and y in this order: z pushes x
    # out, x comes back and pushes y and z out, y comes back.
    planner = RecordingPlanner(lambda _: [3])
    dask = dask_of(planner)
    for key, nbytes in {"z": 60, "x": 60, "y": 30}.items():
        dask.scatter(key, nbytes, [0])
    dask.submit("z x y -> p")
    dask.decide()
    assert [each for each in planner.heard if each[0] == "residency_changed"] == [
        ("residency_changed", 0, [3], [])
    ]
    z, x, y = (dask.number(key) for key in "zxy")
    assert list(dask.controller.devices[0].residency) == [x, y, 3]
    assert z not in dask.controller.devices[0].residency


def test_levels_have_planners_of_their_own():
    dask = dask_of(TrackingPlanner())
    dask.submit("p q r")
    dask.decide()
    dask.submit("u", priority=1)
    dask.advance(1.0)
    assert sorted(planners(dask.controller)) == [-1, 0]
    assert dask.run() == ["p", "u", "q", "r"]
    assert {run.reason for run in dask.runs} == {"policy"}


def test_no_more_than_four_levels_are_planned_at_a_time():
    dask = dask_of(TrackingPlanner())
    for priority in range(6):
        dask.submit(f"p-{priority} q-{priority}", priority=priority)
    dask.submit("other")
    dask.decide()
    for priority in range(6):
        dask.submit(f"u-{priority}", priority=10 + priority)
        dask.advance(dask.now + 1.0)
        assert len(planners(dask.controller)) <= 4
    dask.run()
    assert {run.reason for run in dask.runs} == {"policy"}


@pytest.mark.parametrize(
    ("proposed", "said"),
    [
        ([7], "proposed task 7; expected one that is parked"),
        ([0, 99], "proposed task 99; expected one that is parked"),
        ([None], "proposed task None; expected one that is parked"),
        (None, "raised TypeError"),
        ([[]], "raised TypeError"),
    ],
)
def test_a_proposal_that_is_not_parked_is_a_failure_and_dasks_order_decides(
    proposed: Any, said: str
):
    planner = RecordingPlanner(lambda _: proposed)
    planner.shortlist = 2
    dask = dask_of(planner)
    dask.submit("p q")
    dask.decide()
    guard = dask.controller.chooser.guard
    assert guard is not None
    assert said in str(guard.last_failure)
    assert [(dask.key(run.task), run.reason) for run in dask.runs] == [("p", "policy failed")]


def test_a_planner_that_failed_is_made_anew_and_hears_all_again():
    planner = RecordingPlanner(lambda _: [99])
    dask = dask_of(planner)
    dask.submit("p q")
    dask.decide()
    assert planners(dask.controller) == {}
    planner.heard.clear()
    dask.advance(1.0)
    assert planner.heard == [("worker_joined", 0), ("task_ready", dask.number("q"))]


class RaisesInCallbacks(TrackingPlanner):
    name = "raises"

    def task_ended(self, task: int, worker: int) -> None:
        raise KeyError(task)


def test_a_planner_that_raises_in_a_callback_has_failed_and_is_off_after_some():
    dask = dask_of(RaisesInCallbacks(), failures=3)
    dask.submit(" ".join(f"p-{i}" for i in range(8)))
    dask.run()
    guard = dask.controller.chooser.guard
    assert guard is not None
    assert guard.off
    assert guard.failures == 3
    assert "raised KeyError in task_ended" in str(guard.last_failure)
    assert planners(dask.controller) == {}
    reasons = [run.reason for run in dask.runs]
    # Each time it is made anew and answers well; the end of that task is too much for it.
    assert reasons == ["policy"] * 3 + ["no policy"] * 5


def test_a_planner_over_its_time_is_a_failure():
    dask = dask_of(TrackingPlanner(), time_budget=0.5e-6, failures=100)
    dask.submit("p")
    dask.run()
    dask.decide()
    # The first time it may have had to catch up, and after a graph.
    assert [run.reason for run in dask.runs] == ["policy"]
    dask.submit("q r")
    dask.run()
    assert [run.reason for run in dask.runs] == ["policy", "policy", "policy failed"]


def test_one_task_runs_in_dasks_order_where_nothing_is_planned_for_anyone():
    dask = dask_of(RecordingPlanner())
    dask.join(1)
    dask.submit("p q r")
    dask.decide()
    assert [(dask.key(run.task), run.reason) for run in dask.runs] == [("p", "nothing planned")]
    dask.decide()
    assert len(dask.runs) == 1  # p is in flight, and its end may change the planner's mind
    assert dask.run() == ["p", "q", "r"]
    assert dask.controller.chooser.reasons == {"nothing planned": 3}


def test_tasks_of_lower_priority_do_not_wait_behind_a_level_for_which_nothing_is_planned():
    def only_for_worker_0(worker: int) -> Sequence[int]:
        return [0] if worker == 0 else []

    dask = dask_of(RecordingPlanner(only_for_worker_0))
    dask.join(1)
    dask.submit("u-0 u-1", priority=1)
    dask.submit("p")
    dask.decide()
    assert [(run.worker, run.reason) for run in dask.runs] == [
        (0, "policy"),
        (1, "nothing planned"),
    ]


def test_switching_to_a_scoring_policy_and_back_leaves_nothing_behind():
    dask = dask_of(TrackingPlanner())
    dask.submit(" ".join(f"p-{i}" for i in range(6)))
    dask.advance(1.0)
    dask.controller.chooser.set_policy(Greedy())
    assert dask.controller.chooser.planners is None
    dask.advance(2.0)
    dask.controller.chooser.set_policy(TrackingPlanner())
    dask.run()
    assert dask.controller.chooser.planners is not None
    assert dask.controller.chooser.planners.failures == 0


def test_where_everything_fits_a_planner_is_not_asked():
    planner = RecordingPlanner()
    planner.even_if_fits = False
    dask = VirtualDask(planner)
    dask.join(0, limit=None)
    dask.submit("p q")
    dask.run()
    assert planner.heard == []
    assert {run.reason for run in dask.runs} == {"fits"}
