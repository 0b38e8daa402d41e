from __future__ import annotations

import math

import pytest

from dask_mlsched.benchmarks.families.products import gemm
from dask_mlsched.benchmarks.training_set import instance_of
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.learning.instance import Instance, InstanceError, Outcome
from learning.instances import NEAREST, product


def test_copies_take_four_times_as_long_as_computing_under_dask_alone():
    instance = product()
    computing = instance.dag.seconds.sum()
    copying = instance.stock_bytes / instance.machine.costs.load.bandwidth
    assert copying == pytest.approx(4 * computing)
    assert instance.stock_makespan == pytest.approx(5 * computing, rel=0.05)
    assert instance.settings.bandwidth == instance.machine.costs.load.bandwidth


def test_a_run_is_compared_with_dask_alone():
    instance = product()
    figures = instance.rollout(NEAREST).run()
    outcome = instance.run(NEAREST)
    assert outcome.makespan == figures.makespan / instance.stock_makespan
    assert outcome.bytes_moved == figures.bytes_moved / instance.stock_bytes
    assert instance.cost(NEAREST) == outcome.cost


def test_losing_costs_three_times_what_winning_gains():
    assert Outcome(0.5, 0.5, 0).cost == pytest.approx(math.log(0.5))
    assert Outcome(2.0, 2.0, 0).cost == pytest.approx(3 * math.log(2))


def test_there_is_nothing_to_learn_where_everything_fits():
    dag = gemm(tiles=3, size=8, given=False)
    with pytest.raises(InstanceError, match=r"moves no bytes .* give a larger memory ratio"):
        instance_of(dag, name="small", family="gemm", memory_ratio=0.01)


def test_tasks_that_take_no_time_are_refused():
    dag = Dag.build("idle", [DagTask("a", (), 8, 0.0, "a"), DagTask("b", ("a",), 8, 0.0, "b")])
    with pytest.raises(InstanceError, match="tasks of idle take 0 s"):
        Instance.measured("idle", "idle", dag, dag.prefix, limit=16)
