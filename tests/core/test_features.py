"""Every column of a decision, worked out by hand on small graphs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings

from core.compiled.test_rollout import Case, cases
from core.dags import a_task
from dask_mlsched.core import features
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Decision, Rollout
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.scores import FEWEST_MISSING

#: 10 bytes take a second.
SLOW = CopyCost(bandwidth=10.0)


def given_array(key: str, nbytes: int = 10) -> DagTask:
    return a_task(key, nbytes=nbytes, seconds=0.0, given=True, prefix="g")


def a_rollout(*tasks: DagTask, limit: int = 50, lookahead: int = 0) -> Rollout:
    dag = Dag.build("by hand", tasks)
    machine = Machine(limit, costs=Costs(SLOW, SLOW, SLOW))
    chosen = Settings(lookahead=lookahead, bandwidth=10.0, network_bandwidth=10.0)
    return Rollout(dag, machine, chosen, np.arange(len(dag)), FEWEST_MISSING)


def row(decision: Decision, action: int) -> dict[str, float]:
    return dict(zip(features.NAMES, decision.features[action].tolist(), strict=True))


def first(rollout: Rollout) -> Decision:
    decision = rollout.until(0)
    assert decision is not None
    return decision


def second(rollout: Rollout, answer: int) -> Decision:
    """Answer the first decision; return the next."""
    first(rollout)
    rollout.take(answer)
    decision = rollout.until(1)
    assert decision is not None
    return decision


#: Two chains that share an input: x reads a and b, y reads b and c, z reads c and d.
CHAIN = (
    *map(given_array, "abcd"),
    a_task("x", "a", "b", nbytes=10),
    a_task("y", "b", "c", nbytes=10),
    a_task("z", "c", "d", nbytes=10),
)


def test_names_are_unique_and_all_are_explained():
    assert len(set(features.NAMES)) == features.COUNT == len(features.COLUMNS)
    assert all(features.COLUMNS.values())


def test_before_anything_is_resident_all_inputs_are_missing():
    decision = first(a_rollout(*CHAIN))
    assert len(decision.candidates) == 3
    for action in range(3):
        found = row(decision, action)
        assert found["missing"] == pytest.approx(20 / 50)
        assert found["missing_share"] == 1.0
        assert found["resident"] == found["hold"] == found["root"] == found["clean"] == 0.0
        assert found["pressure"] == found["age"] == found["unlocks"] == 0.0
        assert found["parked"] == pytest.approx(math.log(4) / 10, rel=1e-6)
        # The given arrays are there from the beginning.
        assert found["progress"] == pytest.approx(4 / 7)


def test_places_in_dasks_order():
    decision = first(a_rollout(*CHAIN))
    assert [row(decision, action)["rank"] for action in range(3)] == [0.0, 0.5, 1.0]
    expected = [math.log(1 + behind) / math.log(2 + 7) for behind in range(3)]
    found = [row(decision, action)["distance"] for action in range(3)]
    assert found == pytest.approx(expected)


def test_what_is_resident_counts_as_such_once_a_task_has_brought_it_in():
    decision = second(a_rollout(*CHAIN), 0)  # x, so a and b came; a went, for nothing else reads it
    y, z = (row(decision, action) for action in range(2))
    assert (y["missing"], z["missing"]) == (pytest.approx(0.2), pytest.approx(0.4))
    assert (y["resident"], z["resident"]) == (pytest.approx(0.2), 0.0)
    assert (y["missing_share"], z["missing_share"]) == (0.5, 1.0)
    # b was loaded, so the copy below it is still good.
    assert (y["clean"], z["clean"]) == (pytest.approx(0.2), 0.0)
    assert (y["at_home"], z["at_home"]) == (1.0, 1.0)
    # b and what x made.
    assert y["pressure"] == pytest.approx(20 / 50)


def test_what_a_missing_array_unlocks():
    # With b resident, c is all that y misses; z would still miss d.
    decision = second(a_rollout(*CHAIN), 0)
    assert row(decision, 0)["unlocks"] == pytest.approx(math.log(2) / 4)
    assert row(decision, 0)["readers_missing"] == pytest.approx(math.log(1 + 2) / 4)
    assert row(decision, 0)["readers_resident"] == pytest.approx(math.log(1 + 1) / 4)


def test_what_goes_with_a_task():
    decision = second(a_rollout(*CHAIN), 0)
    y, z = (row(decision, action) for action in range(2))
    # Only y still reads b; c is read by both; only z reads d.
    assert (y["frees"], z["frees"]) == (pytest.approx(0.2), pytest.approx(0.2))
    assert y["last_use"] == z["last_use"] == 1.0
    # x made 10 bytes, and the prefix of y and z is the same.
    assert y["incoming"] == pytest.approx((10 + 10) / 50)
    assert y["growth"] == pytest.approx(10 / 50 - 0.2, abs=1e-7)


def test_what_must_be_evicted():
    roomy = row(second(a_rollout(*CHAIN), 0), 1)
    assert roomy["evicted"] == 0.0  # 20 resident, z brings 30 in all
    tight = row(second(a_rollout(*CHAIN, limit=40), 0), 1)
    assert tight["evicted"] == pytest.approx(10 / 40)
    # b goes first, which y reads.
    assert tight["evicted_needed"] == pytest.approx(10 / 40)


def test_levels_and_dependents():
    tasks = (
        *map(given_array, "abcd"),
        a_task("x", "a", "b"),
        a_task("y", "b", "c"),
        a_task("end", "x", "d"),
    )
    decision = first(a_rollout(*tasks))
    x, y = row(decision, 0), row(decision, 1)
    assert (x["level"], x["to_go"]) == (0.5, 0.5)
    assert (y["level"], y["to_go"]) == (0.5, 0.0)
    assert (x["dependents"], y["dependents"]) == (pytest.approx(math.log(2) / 4), 0.0)
    # The end waits for x alone, and would miss d.
    assert x["readies"] == pytest.approx(math.log(2) / 4)
    assert x["next_missing"] == pytest.approx(10 / 50)
    assert (y["readies"], y["next_missing"]) == (0.0, 1.0)


def test_a_chain_goes_on():
    tasks = (
        *map(given_array, "abc"),
        a_task("x", "a", "b", nbytes=10),
        a_task("y", "b", "c", nbytes=10),
        a_task("more", "x", "c", nbytes=10),
    )
    decision = second(a_rollout(*tasks, limit=60), 0)
    by_task = {task: row(decision, i) for i, task in enumerate(decision.candidates)}
    assert by_task[5]["continues"] == 1.0
    assert by_task[4]["continues"] == 0.0


def test_hold_tells_of_the_successor():
    # While x runs, its successor will find x there and miss nothing; y and z miss two arrays.
    tasks = (
        *map(given_array, "abcdef"),
        a_task("x", "a", "b", nbytes=5, seconds=1.0),
        a_task("y", "c", "d", nbytes=5, seconds=1.0),
        a_task("z", "e", "f", nbytes=5, seconds=1.0),
        a_task("after", "x", nbytes=5, seconds=1.0),
    )
    decision = second(a_rollout(*tasks, limit=30, lookahead=1), 0)
    assert decision.may_hold
    hold = row(decision, len(decision.candidates))
    assert hold["hold"] == 1.0
    assert hold["missing"] == 0.0
    assert hold["continues"] == 1.0
    # It saves 20 bytes of copying, two seconds, and lasts no longer than it saves or may.
    assert 0.0 < hold["wait"] <= 1.0
    assert hold["saved"] > 0.0
    assert [row(decision, i)["hold"] for i in range(len(decision.candidates))] == [0.0, 0.0]


def test_transfers_over_computing_once_a_prefix_is_known():
    decision = second(a_rollout(*CHAIN), 0)
    # y loads 10 bytes in a second, and computes for half a second.
    assert row(decision, 0)["transfer"] == pytest.approx(math.log(1 + 1 / 0.5) / 4, rel=1e-6)


def test_on_two_workers_what_is_elsewhere_shows():
    tasks = (
        *(a_task(f"r{i}", nbytes=10, prefix="q") for i in range(4)),
        *(a_task(f"x{i}", f"r{i}", f"r{(i + 1) % 4}", nbytes=10) for i in range(4)),
    )
    dag = Dag.build("by hand", tasks)
    machine = Machine(35, workers=2, costs=Costs(SLOW, SLOW, SLOW))
    rollout = Rollout(dag, machine, Settings(lookahead=0), np.arange(8), FEWEST_MISSING)
    seen = []
    number = 0
    while (decision := rollout.until(number)) is not None:
        actions = range(len(decision.candidates))
        seen += [row(decision, action) for action in actions if decision.candidates[action] >= 4]
        rollout.take(decision.preferred)
        number += 1
    # Two of the inputs are made on each worker, so some pair is split between them.
    assert any(found["elsewhere"] == pytest.approx(10 / 35) for found in seen)
    assert all(found["elsewhere"] <= found["missing"] + 1e-6 for found in seen)


@given(cases())
@settings(max_examples=50, deadline=None)
def test_all_features_are_finite_and_small(case: Case) -> None:
    if case.machine.limit is None:
        return  # nothing is asked but of what is given and not loaded yet
    rollout = Rollout(case.dag, case.machine, case.settings, case.order, FEWEST_MISSING)
    number = 0
    while (decision := rollout.until(number)) is not None:
        assert np.isfinite(decision.features).all()
        assert (np.abs(decision.features) < 20).all()
        rollout.take(decision.preferred)
        number += 1
