"""What was decided, why, how fast, and by what."""

from __future__ import annotations

import numpy as np

from core.networks import random_network
from core.recorded_simulations import COSTS, block_product, recorded
from dask_mlsched.benchmarks.run_report.decided import Took, decided, model
from dask_mlsched.core import events as ev
from dask_mlsched.core import features
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.policies import Candidate, Situation
from dask_mlsched.core.served import Served
from dask_mlsched.core.trace import (
    Decision,
    Header,
    NetworkServed,
    PolicySwitched,
    Step,
    Trace,
)
from dask_mlsched.extension.explanation import REASONS
from dask_mlsched.learning.default_model import default_network

HEADER = Header("1.2.3", 0.0, "learned", "manage", Settings())
SITUATION = Situation(1.0, 0, None, 0, (Candidate(1, (0,), 0, 0, 0, root=True),), None)


def run(time: float, reason: str) -> ev.Run:
    return ev.Run(time, 1, 0, reason, 0, 1, 0, 0.0)


def test_runs_are_counted_by_reason_and_holds_beside_them():
    trace = Trace(
        HEADER,
        (
            Step(
                ev.Decide(1.0),
                (run(1.0, "policy"), run(1.0, "fits"), run(1.0, "policy")),
                (Decision(SITUATION, 0, 1.0, 0.25), Decision(SITUATION, 0, 1.0, 0.75)),
                (0, 5_000_000),
            ),
            Step(ev.Decide(2.0), (ev.Hold(2.0, 0, 3.0, 1.0),), (), (0, 1, 7_000_000)),
            Step(ev.Decide(3.0), (), (Decision(SITUATION, None, None, 0.5, "raised"),), (0, 9)),
            *(Step(ev.TaskStarted(4.0, task, 0)) for task in range(5)),
        ),
    )
    found = decided(trace)
    assert found.runs == {"policy": 2, "fits": 1}
    assert (found.sent, found.forced, found.holds, found.by_dask) == (3, 1, 1, 2)
    assert found.policy == Took(3, 0.5, np.percentile([0.25, 0.5, 0.75], 99), 0.75)
    assert found.passes is not None
    assert (found.passes.count, found.passes.most) == (2, 0.007)
    assert found.failures == {"raised": 1}


def test_where_nothing_was_decided_nothing_took_any_time():
    found = decided(Trace(HEADER, ()))
    assert (found.runs, found.policy, found.passes) == ({}, None, None)


def test_every_reason_of_a_real_run_has_a_meaning():
    _, trace = recorded(block_product(3), Machine(600_000, costs=COSTS), "greedy-hold")
    found = decided(trace)
    assert found.sent == len(block_product(3))
    assert set(found.runs) <= set(REASONS)


def test_networks_are_known_by_what_is_in_them():
    mine = random_network(np.random.default_rng(0), len(features.NAMES), (4, 2))
    other = random_network(np.random.default_rng(1), len(features.NAMES), (0, 0))
    trace = Trace(
        HEADER,
        (
            NetworkServed.of(Served(default_network())),
            Step(ev.TaskStarted(10.0, 0, 0)),
            NetworkServed.of(Served(mine, may_hold=False, guide={5: 1, 6: 0})),
            PolicySwitched("greedy"),
            Step(ev.Decide(12.0)),
            NetworkServed.of(Served(other)),
        ),
    )
    found = model(trace, {"mine": mine, "ships": default_network()})
    assert [(each.time, each.name) for each in found.served] == [
        (0.0, "ships"),
        (0.0, "mine"),
        (2.0, None),
    ]
    assert found.served[1].units == (4, 2)
    assert (found.served[1].may_hold, found.served[1].guided) == (False, 2)
    assert len({each.digest for each in found.served}) == 3
    assert found.policies == [(0.0, "learned"), (0.0, "greedy")]
