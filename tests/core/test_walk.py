"""Going through recorded runs again in compiled ones: on one worker, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.recorded_simulations import COSTS, block_product, recorded
from dask_mlsched.core.calibration import Calibration, calibrate
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.scores import FEWEST_MISSING, score
from dask_mlsched.core.simulator import SimulatedRun
from dask_mlsched.core.taken import Sent
from dask_mlsched.core.walk import Choice, Walk

MACHINE = Machine(limit=1_000_000, costs=COSTS)
DAG = block_product(4)


def recording(
    policy: str, machine: Machine = MACHINE, dag: Dag = DAG, **settings: object
) -> tuple[SimulatedRun, Calibration]:
    run, trace = recorded(dag, machine, policy, **settings)
    # The machine itself: what is fitted has tests of its own.
    return run, replace(calibrate(trace), machine=machine)


def walked(calibration: Calibration, network=FEWEST_MISSING) -> tuple[Walk, list[Choice]]:
    walk = Walk(calibration, network)
    return walk, list(walk)


def begun(walk: Walk) -> list[int]:
    clock = walk.rollout.arrays["clock"][0]
    return walk.rollout.arrays["begun_order"][: clock["started"]].tolist()


# One worker


@pytest.mark.parametrize("policy", ["stock", "greedy", "fifo", "random", "dmdar", "darts"])
def test_the_same_tasks_begin_at_the_same_times(policy: str):
    run, calibration = recording(policy)
    walk, _ = walked(calibration)
    assert begun(walk) == [record.task for record in run.schedule]
    assert walk.figures().makespan == pytest.approx(run.makespan, rel=5e-3)
    assert walk.figures().bytes_loaded == run.bytes_loaded
    assert walk.figures().bytes_evicted == run.bytes_evicted
    assert walk.courses["astray"] == 0


@pytest.mark.parametrize("policy", ["stock", "greedy", "darts"])
def test_what_is_near_is_among_the_candidates(policy: str):
    walk, choices = walked(recording(policy)[1])
    assert walk.courses == {"recorded": len(choices)}
    assert len(choices) > 80


def test_what_the_shortlist_does_not_have_is_taken_all_the_same():
    run, calibration = recording("random")
    walk, choices = walked(calibration)
    beside = [each for each in choices if each.course == "beside"]
    assert beside
    assert all(each.taken is None for each in beside)
    assert begun(walk) == [record.task for record in run.schedule]


def test_it_does_not_matter_what_the_network_would_do():
    calibration = recording("greedy")[1]
    one, same = walked(calibration), walked(calibration, score(missing=1.0, age=2.0))
    assert begun(one[0]) == begun(same[0])
    assert [each.taken for each in one[1]] == [each.taken for each in same[1]]
    preferred = [[each.decision.preferred for each in choices] for _, choices in (one, same)]
    assert preferred[0] != preferred[1]


def test_numbers_count_the_decisions():
    _, choices = walked(recording("greedy")[1])
    assert [each.decision.number for each in choices] == list(range(len(choices)))


def test_choices_are_handed_out_before_they_are_taken():
    calibration = recording("greedy")[1]
    walk = Walk(calibration, FEWEST_MISSING)
    for choice in walk:
        assert choice.taken is not None
        task = choice.decision.candidates[choice.taken]
        assert task not in begun(walk)
        assert walk.rollout.figures().makespan <= choice.decision.time


def test_the_chosen_task_is_the_one_that_was_sent():
    run, calibration = recording("greedy")
    order = {record.task: place for place, record in enumerate(run.schedule)}
    for choice in walked(calibration)[1]:
        assert choice.taken is not None
        places = [order[task] for task in choice.decision.candidates]
        assert places[choice.taken] == min(places)


def test_the_recorded_propensity_comes_along():
    calibration = recording("greedy")[1]
    sent = [replace(each, propensity=0.25 + each.task / 1000) for each in calibration.taken.sent]
    unsure = replace(calibration, taken=replace(calibration.taken, sent=sent))
    for choice in walked(unsure)[1]:
        assert choice.taken is not None
        task = choice.decision.candidates[choice.taken]
        assert choice.propensity == 0.25 + task / 1000


# Holds


def test_slots_that_were_held_are_held():
    costs = replace(COSTS, message=0.0, task=0.0)
    machine = Machine(700_000, costs=costs)
    run, calibration = recording("greedy-hold", machine, bandwidth=2e8)
    walk, choices = walked(calibration)
    assert run.hold_seconds > 0
    held = [each for each in choices if each.taken == len(each.decision.candidates)]
    assert held
    assert all(each.course == "recorded" and each.decision.may_hold for each in held)
    assert walk.figures().makespan == pytest.approx(run.makespan, rel=5e-3)
    assert begun(walk) == [record.task for record in run.schedule]


def test_where_nothing_was_held_nothing_is():
    walk, choices = walked(recording("greedy")[1])
    assert any(each.decision.may_hold for each in choices)
    assert walk.figures().holds == 0


# Astray


def test_a_record_that_cannot_be_followed_leads_astray_and_to_an_end():
    calibration = recording("greedy")[1]
    # Backwards: readers before what they read.
    sent = list(reversed(calibration.taken.sent))
    backwards = replace(calibration, taken=replace(calibration.taken, sent=sent))
    walk, choices = walked(backwards)
    assert walk.courses["astray"] > 0
    assert sum(walk.courses.values()) == len(choices)
    assert sorted(begun(walk)) == list(range(len(DAG)))


def test_tasks_that_the_record_does_not_have_go_last():
    calibration = recording("greedy")[1]
    known = calibration.taken.sent[:40]
    partial = replace(calibration, taken=replace(calibration.taken, sent=known))
    walk, choices = walked(partial)
    tasks = {each.task for each in known}
    assert set(begun(walk)[:40]) == tasks
    assert len(choices) > 40
    assert choices[-1].course == "astray"


@pytest.mark.parametrize("policy", ["stock", "greedy", "greedy-hold", "random"])
def test_two_workers_are_followed_nearly(policy: str):
    machine = replace(MACHINE, limit=600_000, workers=2)
    run, calibration = recording(policy, machine)
    walk, choices = walked(calibration)
    assert sorted(begun(walk)) == list(range(len(DAG)))
    assert walk.courses["astray"] < 0.2 * len(choices)
    assert walk.figures().makespan == pytest.approx(run.makespan, rel=0.1)


# Settings


def test_a_rule_that_knows_the_order_gives_way_to_one_that_is_compiled():
    calibration = recording("greedy")[1]
    settings = replace(calibration.settings, eviction="belady")
    walk, _ = walked(replace(calibration, settings=settings))
    next_use, _ = walked(
        replace(calibration, settings=replace(calibration.settings, eviction="next-use"))
    )
    assert walk.figures() == next_use.figures()


def test_where_dask_decided_alone_the_order_of_ends_counts():
    dag = Dag.build("roots", [DagTask(key, (), 8, 1e-3, "p") for key in "abcdef"])
    run, trace = recorded(dag, Machine(20, costs=COSTS), "stock")
    calibration = replace(calibrate(trace), machine=Machine(20, costs=COSTS))
    # As if all had been queued on the worker at once, the last first.
    sent = [Sent(task, 0) for task in reversed(range(6))]
    calibration = replace(calibration, taken=replace(calibration.taken, sent=sent))
    walk, _ = walked(calibration)
    assert begun(walk) == [record.task for record in run.schedule]
    managed, _ = walked(replace(calibration, stock=False))
    assert begun(managed) == list(reversed(begun(walk)))


def test_figures_grow_with_the_walk():
    walk = Walk(recording("greedy")[1], FEWEST_MISSING)
    loaded = [walk.figures().bytes_loaded for _ in walk]
    assert np.all(np.diff(loaded) >= 0)
    assert loaded[0] < walk.figures().bytes_loaded
