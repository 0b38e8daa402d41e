from __future__ import annotations

import pytest

from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.processes import Processes
from dask_mlsched.learning.verdict import judge, mean_costs, outcome
from learning.instances import NEAREST, few, scored_by


@pytest.fixture(scope="module")
def two() -> Processes:
    with Processes(few(), 2) as processes:
        yield processes


def test_results_are_those_of_this_process_in_the_order_of_the_calls(two: Processes):
    calls = [(place % 4, NEAREST, True) for place in range(11)]
    with Processes(two.instances) as here:
        assert two.call(outcome, calls) == here.call(outcome, calls)


def test_networks_are_judged_on_some_instances_or_all(two: Processes):
    other = scored_by(missing=1.0)
    expected = [instance.run(NEAREST) for instance in two.instances]
    assert list(judge(two, NEAREST).outcomes) == expected
    verdict = judge(two, NEAREST, [1, 3])
    assert list(verdict.outcomes) == expected[1::2]
    costs = mean_costs(two, [NEAREST, other], [1, 3])
    assert costs == [pytest.approx(verdict.cost), pytest.approx(judge(two, other, [1, 3]).cost)]


def test_what_a_call_raises_is_raised_here():
    with (
        Processes(few()[:1], 2) as processes,
        pytest.raises(ValueError, match="gemm 4 is no good"),
    ):
        processes.call(failing, [(0,)])


def failing(instance: Instance) -> None:
    msg = f"{instance.name} is no good"
    raise ValueError(msg)


def test_no_process_stays_behind():
    processes = Processes(few()[:1], 2)
    started = list(processes._started)
    processes.close()
    assert [process.is_alive() for process in started] == [False, False]
    processes.close()
