"""What is fitted to a trace: synthetic ones give back what made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from core.recorded import RecordedDask
from core.recorded_simulations import COSTS, block_product, recorded, reporting_fetches
from dask_mlsched.core import events as ev
from dask_mlsched.core.calibration import Calibration, calibrate, repeat, with_costs
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.machine import Machine, SimulationError
from dask_mlsched.core.policies import Greedy
from dask_mlsched.core.trace import Header, Step, Trace

POLICIES = ("stock", "fifo", "random", "greedy", "greedy-hold", "dmdar", "darts", "darts-luf")
DAG = block_product(4)
MACHINE = Machine(limit=1_000_000, costs=COSTS)


def calibrated(policy: str, machine: Machine = MACHINE, **settings: object) -> Calibration:
    return calibrate(recorded(DAG, machine, policy, **settings)[1])


# Repeating decisions


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "greedy-hold"])
def test_the_decisions_of_one_worker_bring_about_the_same_run(policy: str):
    run, trace = recorded(DAG, MACHINE, policy)
    repetition = repeat(calibrate(trace), MACHINE)
    assert run.bytes_loaded > 0
    assert list(repetition.run.schedule) == list(run.schedule)
    assert repetition.figures.bytes_loaded == run.bytes_loaded
    assert repetition.figures.bytes_evicted == run.bytes_evicted
    assert repetition.figures.makespan == run.makespan
    assert (repetition.differences.unknown, repetition.differences.out_of_turn) == (0, 0)


def test_a_hold_that_ran_out_ends_with_the_last_event_before():
    run, trace = recorded(DAG, MACHINE, "greedy-hold")
    assert run.holds > 0
    figures = repeat(calibrate(trace), MACHINE).figures
    assert figures.makespan == pytest.approx(run.makespan, rel=0.02)
    assert figures.bytes_loaded == pytest.approx(run.bytes_loaded, rel=0.02)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("lookahead", [0, 2])
def test_so_do_those_of_several_workers_with_several_threads(policy: str, lookahead: int):
    machine = replace(MACHINE, limit=500_000, workers=3, threads=2)
    run, trace = recorded(DAG, machine, policy, lookahead=lookahead)
    repetition = repeat(calibrate(trace), machine)
    assert run.bytes_sent > 0
    where = {record.task: record.worker for record in run.schedule}
    assert {record.task: record.worker for record in repetition.run.schedule} == where
    # Where holds ran out, and where Dask sends more than workers have threads, orders may differ.
    near = 0.1 if policy in ("greedy-hold", "stock") else 1e-9
    assert repetition.figures.makespan == pytest.approx(run.makespan, rel=near)
    assert repetition.figures.bytes_loaded == pytest.approx(run.bytes_loaded, rel=near)


def test_named_victims_go_out_again():
    run, trace = recorded(DAG, MACHINE, "greedy", eviction="next-use")
    plain, _ = recorded(DAG, MACHINE, "greedy")
    repetition = repeat(calibrate(trace), MACHINE)
    assert run.bytes_loaded != plain.bytes_loaded
    assert list(repetition.run.schedule) == list(run.schedule)


# What is fitted


def test_the_machine_is_that_of_the_events():
    machine = Machine(limit=700_000, workers=2, threads=3, costs=COSTS)
    found = calibrated("greedy", machine).machine
    assert (found.limit, found.workers, found.threads) == (700_000, 2, 3)
    assert not found.keep_clean


def test_a_dag_has_its_sizes_and_times_again():
    dag = calibrated("greedy").taken.dag
    assert dict(zip(dag.keys, dag.nbytes.tolist(), strict=True)) == {
        str(task): nbytes for task, nbytes in enumerate(DAG.nbytes.tolist())
    }
    assert dag.seconds.tolist() == DAG.seconds.tolist()


@pytest.mark.parametrize("policy", ["stock", "greedy"])
def test_each_direction_has_its_own_cost(policy: str):
    found = calibrated(policy)
    for fit, cost in ((found.load, COSTS.load), (found.evict, COSTS.evict)):
        assert fit is not None
        assert fit.cost.bandwidth == pytest.approx(cost.bandwidth, rel=1e-6)
        assert fit.cost.latency == pytest.approx(cost.latency, rel=1e-3)
        assert fit.error < 1e-6


@pytest.mark.parametrize("policy", ["stock", "greedy"])
def test_so_has_sending_if_workers_have_said_what_they_fetched(policy: str):
    costs = replace(COSTS, send=CopyCost(5e6, 1e-2))
    machine = Machine(limit=4_000_000, workers=3, costs=costs)
    with reporting_fetches():
        run, trace = recorded(DAG, machine, policy)
    found = calibrate(trace)
    assert found.send is not None
    assert found.machine.costs.send == found.send.cost
    assert found.send.cost.bandwidth == pytest.approx(5e6, rel=0.1)
    assert found.live.bytes_sent == run.bytes_sent
    figures = repeat(found).figures
    assert figures.bytes_sent == run.bytes_sent
    assert figures.makespan == pytest.approx(found.live.makespan, rel=0.1)


def test_sending_in_a_trace_that_does_not_tell_has_the_assumed_bandwidth():
    machine = replace(MACHINE, workers=2)
    found = calibrated("greedy", machine, network_bandwidth=5e6)
    assert found.send is None
    assert found.machine.costs.send == CopyCost(5e6)
    assert found.live.bytes_sent == 0


@pytest.mark.parametrize("message", [1e-3, 2e-3, 4e-3])
@pytest.mark.parametrize("task", [0.0, 5e-4])
def test_messages_and_event_loops_are_told_apart(message: float, task: float):
    costs = replace(COSTS, message=message, task=task)
    found = calibrated("greedy", replace(MACHINE, costs=costs)).machine.costs
    assert found.message == pytest.approx(message, rel=0.4)
    assert found.task == pytest.approx(task, abs=6e-4)


@pytest.mark.parametrize("message", [1e-3, 4e-3])
def test_where_workers_wait_for_every_message_their_sum_is_found(message: float):
    costs = replace(COSTS, message=message, task=0.0)
    found = calibrated("greedy", replace(MACHINE, costs=costs), lookahead=0).machine.costs
    assert 2 * found.message + found.task == pytest.approx(2 * message, rel=0.01)


def test_waiting_for_another_worker_s_arrays_is_not_the_event_loop():
    # Every array takes 20 ms and more from one worker to the other.
    costs = replace(COSTS, send=CopyCost(5e6), task=0.0)
    machine = replace(MACHINE, workers=2, costs=costs)
    run, trace = recorded(DAG, machine, "greedy", network_bandwidth=5e6)
    assert run.bytes_sent > 500_000
    assert calibrate(trace).machine.costs.task < 5e-4


def test_what_takes_longer_than_a_message_is_the_event_loop():
    costs = replace(COSTS, message=0.1)
    found = calibrated("greedy", replace(MACHINE, costs=costs)).machine.costs
    assert 0.001 <= found.message <= 0.005
    assert found.task > 0.05


@pytest.mark.parametrize("policy", ["stock", "greedy", "darts"])
@pytest.mark.parametrize("limit", [500_000, 1_000_000, 10**9])
def test_a_run_on_the_fitted_machine_takes_as_long(policy: str, limit: int):
    run, trace = recorded(DAG, replace(MACHINE, limit=limit), policy)
    found = calibrate(trace)
    figures = repeat(found).figures
    assert figures.makespan == pytest.approx(run.makespan, rel=0.1)
    assert figures.makespan == pytest.approx(found.live.makespan, rel=0.1)
    assert figures.bytes_loaded == pytest.approx(found.live.bytes_loaded, rel=0.05)
    assert found.live.bytes_loaded == run.bytes_loaded
    assert found.live.bytes_evicted == run.bytes_evicted


def test_where_nothing_was_copied_a_direction_has_the_cost_of_the_other_or_the_assumed_one():
    found = calibrated("greedy", replace(MACHINE, limit=None), bandwidth=123.0)
    assert (found.load, found.evict) == (None, None)
    assert found.machine.costs.load == found.machine.costs.evict == CopyCost(123.0)
    assert found.machine.limit is None


def test_an_eviction_that_copied_nothing_is_no_copy():
    run, trace = recorded(DAG, replace(MACHINE, keep_clean=True), "greedy", keep_clean=True)
    found = calibrate(trace)
    assert found.machine.keep_clean
    assert found.live.bytes_evicted == run.bytes_evicted
    assert found.evict is not None
    assert found.evict.cost.bandwidth == pytest.approx(COSTS.evict.bandwidth, rel=1e-6)


def test_decisions_take_what_the_stopwatch_showed():
    dask = RecordedDask(Greedy())
    dask.join(0, limit=30)
    dask.submit("a-1 a-2 -> b-1 -> c-1")
    dask.run()
    # Each reading of the virtual stopwatch is a step of it later.
    assert calibrate(dask.trace()).machine.costs.decision > 0
    assert calibrated("greedy").machine.costs.decision == 0.0


def test_others_overheads_are_their_medians():
    costs = [Costs(message=m, task=t, decision=m) for m, t in ((1.0, 5.0), (2.0, 4.0), (9.0, 0.0))]
    changed = with_costs(MACHINE, costs).costs
    assert (changed.message, changed.task, changed.decision) == (2.0, 4.0, 2.0)
    assert (changed.load, changed.evict) == (COSTS.load, COSTS.evict)


def test_a_trace_in_which_nothing_ended_cannot_be_simulated():
    dask = RecordedDask(Greedy())
    dask.join(0, limit=30)
    dask.submit("a-1 -> b-1")
    with pytest.raises(SimulationError, match=r"no task of this trace has ended; expected") as info:
        calibrate(dask.trace())
    assert "\n" not in str(info.value)


# What a simulation does not know


def test_workers_that_were_not_equal_are_told():
    dask = RecordedDask(Greedy())
    dask.join(0, threads=1)
    dask.join(1, threads=8)
    dask.submit("a-1 a-2 a-3 -> b-1")
    dask.run()
    assert calibrate(dask.trace()).unequal == "workers of 1 and 8 threads"
    assert calibrated("greedy", replace(MACHINE, workers=3)).unequal is None


def test_what_the_run_made_or_never_read_is_not_left_over():
    dask = RecordedDask(Greedy())
    dask.join(0)
    dask.scatter("unread", 7, [0])
    dask.submit("a -> b -> c")
    dask.run()
    found = calibrate(dask.trace())
    assert found.taken.dag.given.any()
    assert (found.left_over, found.left_over_bytes) == (0, 0)


def test_arrays_that_were_there_and_are_read_are_left_over():
    dask = RecordedDask(Greedy())
    dask.join(0)
    for key, nbytes in (("x", 7), ("y", 5), ("unread", 3)):
        dask.scatter(key, nbytes, [0])
    dask.submit("x y -> b -> c\nx -> d")
    dask.run()
    found = calibrate(dask.trace())
    assert (found.left_over, found.left_over_bytes) == (2, 12)


def test_so_is_a_result_of_an_earlier_run_whatever_it_was_made_of():
    specs = tuple(ev.TaskSpec(n, (n - 1,) if n else (), (0, 0, n)) for n in range(3))
    events = (
        ev.WorkerJoined(0.0, 0, 1, 100),
        ev.GraphArrived(0.0, specs),
        ev.ArrayAppeared(0.0, 1, 30, (0,)),
        ev.TaskReady(1.0, 2),
        ev.TaskStarted(1.0, 2, 0),
        ev.TaskFinished(2.0, 2, 10, 0.5),
    )
    header = Header("1.2.3", 0.0, "greedy", "manage", Settings())
    found = calibrate(Trace(header, tuple(map(Step, events))))
    assert (found.left_over, found.left_over_bytes) == (1, 30)


def test_results_that_go_before_the_last_task_has_ended_are_released():
    dask = RecordedDask(Greedy())
    dask.join(0)
    dask.submit("a:5 -> b:7 -> c:20")  # b is read by c, and goes of itself
    dask.submit("d:3")
    dask.run()
    assert calibrate(dask.trace()).released_bytes == 0
    dask = RecordedDask(Greedy())
    dask.join(0)
    for key, nbytes in (("x", 20), ("y", 3), ("z", 50)):
        dask.submit(f"{key}:{nbytes}")
        dask.run()
        dask.release(key)
    assert calibrate(dask.trace()).released_bytes == 23


# Who decided


def run_with_switches(
    policy: Greedy | None, *before: str, after: Sequence[str] = ()
) -> RecordedDask:
    """Run three tasks; switch policies before the first one begins, and after that."""
    dask = RecordedDask(policy)
    dask.join(0, limit=30)
    for name in before:
        switched(dask, name)
    dask.submit("a-1 a-2 -> b-1")
    dask.decide()
    for name in after:
        switched(dask, name)
    dask.run()
    return dask


def switched(dask: RecordedDask, name: str) -> None:
    dask.controller.chooser.set_policy(None if name == "stock" else Greedy())
    dask.recorder.policy_switched(name)


@pytest.mark.parametrize(
    ("policy", "before", "after", "stock"),
    [
        (Greedy(), (), (), False),
        (Greedy(), ("stock",), (), True),
        (Greedy(), ("stock", "greedy"), (), False),
        (Greedy(), (), ("stock",), False),
        (Greedy(), ("stock",), ("greedy",), True),
        (None, (), (), True),
        (None, ("greedy",), (), False),
        (None, ("greedy",), ("stock",), False),
        (None, (), ("greedy",), True),
    ],
)
def test_dask_decided_alone_if_nobody_else_was_asked_when_the_first_task_began(
    policy: Greedy | None, before: tuple[str, ...], after: tuple[str, ...], stock: bool
):
    dask = run_with_switches(policy, *before, after=after)
    assert calibrate(dask.trace()).stock == stock


@pytest.mark.parametrize("before", [(), ("stock",)])
def test_what_was_only_observed_dask_decided_alone(before: tuple[str, ...]):
    trace = run_with_switches(Greedy(), *before).trace()
    observed = replace(trace, header=replace(trace.header, mode="observe"))
    assert calibrate(observed).stock
