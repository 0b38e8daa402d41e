"""HOLD against DAGs whose answers are known: needed, useless, harmful, and where all fits.

::

    A ──┬───┬───┬───┐           given arrays A and B, of 60 bytes each; a chain c0 to c3 whose
        c0─►c1─►c2─►c3          tasks all read A, and a task r that reads B and is ready with c1
        └──►r◄── B              each takes a second and makes a byte; copies go at 10 bytes/s

While c1 runs there is a free slot, for r or for nothing: what HOLD waits for is c2, which finds A.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.recorded_simulations import block_product
from core.rollouts import product_rollout
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Decision, Rollout
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.hindsight import costs
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.scores import FEWEST_MISSING, score

COPY = CopyCost(bandwidth=10.0)
#: Room for one of A and B, and for both.
ONE, BOTH = 100, 130

#: What misses least; what does not hold goes before.
NEVER_HOLDS = score(missing=-1.0, hold=-8.0)


def chain(*, last: bool = False, made: bool = False) -> Dag:
    """Make the DAG above; with a last task that needs more memory than is left beside A and B.

    If A and B are `made`, tasks make them on the device.
    """
    tasks = [
        DagTask("A", (), 60, 0.0, "A", given=True),
        DagTask("B", (), 60, 0.0, "B", given=True),
        *(DagTask(f"c{i}", ["A", *([f"c{i - 1}"] if i else [])], 1, 1.0, "c") for i in range(4)),
        DagTask("r", ["B", "c0"], 1, 1.0, "r"),
    ]
    if last:
        tasks.append(DagTask("D", (), 100, 0.0, "D", given=True))
        tasks.append(DagTask("z", ["D", "c3", "r"], 1, 1.0, "z"))
    if made:
        tasks = [replace(task, given=False) for task in tasks]
    return Dag.build("chain", tasks)


def begun(
    dag: Dag,
    limit: int,
    network=FEWEST_MISSING,
    *,
    lookahead: int = 1,
    threads: int = 1,
    message: float = 0.0,
) -> Rollout:
    machine = Machine(limit, threads=threads, costs=Costs(COPY, COPY, COPY, message=message))
    settings = Settings(lookahead=lookahead, bandwidth=COPY.bandwidth, hold_limit=100.0)
    return Rollout(dag, machine, settings, np.arange(len(dag)), network)


def decisions(rollout: Rollout) -> list[tuple[Decision, np.ndarray]]:
    """Run to the end by the network; return each decision with what its actions cost."""
    found = []
    while (decision := rollout.until(len(found))) is not None:
        found.append((decision, costs(rollout, decision)))
        rollout.take(decision.preferred)
    return found


def run_or_hold(rollout: Rollout) -> list[tuple[float, float]]:
    """Return what RUN and HOLD cost wherever only those two could be chosen."""
    return [
        (float(both[0]), float(both[1]))
        for decision, both in decisions(rollout)
        if decision.may_hold and len(decision.candidates) == 1
    ]


# Needed: r takes A's place, which c2 needs next


def test_where_hold_is_needed_run_costs_what_it_makes_move():
    # A goes out and comes back: 60 bytes each way that nobody would have moved.
    assert run_or_hold(begun(chain(), ONE)) == [(pytest.approx(12.0), 0.0)] * 2


def test_where_hold_is_needed_it_saves_that_end_to_end():
    with_hold = begun(chain(), ONE).run()
    without = begun(chain(), ONE, NEVER_HOLDS).run()
    assert (with_hold.bytes_loaded, with_hold.bytes_evicted) == (120, 0)
    assert without.bytes_moved == with_hold.bytes_moved + 120
    assert without.makespan == pytest.approx(with_hold.makespan + 12.0)
    # A load each of A and B, and five seconds of computing.
    assert with_hold.makespan == pytest.approx(6 + 6 + 5)


def test_a_slot_that_is_held_while_its_worker_computes_costs_nothing():
    figures = begun(chain(), ONE).run()
    assert figures.holds == 2
    assert figures.hold_seconds == pytest.approx(2.0)


def test_hold_is_needed_as_well_for_a_thread_of_two_that_idles():
    rollout = begun(chain(), ONE, lookahead=0, threads=2)
    for run, hold in run_or_hold(rollout):
        assert hold == 0
        # r could have run beside c1, but for what it moves.
        assert 10.0 < run < 12.0


# Useless: there is room for A and B


def test_where_hold_is_useless_nothing_is_lost_or_won():
    rollout = begun(chain(last=True), BOTH)
    assert run_or_hold(rollout) == [(0.0, 0.0)] * 2
    figures = begun(chain(last=True), BOTH, NEVER_HOLDS).run()
    assert figures.makespan == pytest.approx(rollout.figures().makespan)
    assert figures.bytes_moved == rollout.figures().bytes_moved


# Harmful: there is room for A and B, and something has to wait


def test_where_hold_lets_a_thread_idle_it_costs_that():
    # r would have run beside c1 or c2, for a second.
    rollout = begun(chain(last=True), BOTH, lookahead=0, threads=2)
    assert run_or_hold(rollout) == [(0.0, pytest.approx(1.0))] * 2
    without = begun(chain(last=True), BOTH, NEVER_HOLDS, lookahead=0, threads=2).run()
    assert rollout.figures().makespan == pytest.approx(without.makespan + 1.0)


def test_where_messages_take_time_hold_costs_them():
    # There and back, less what r would have taken in between.
    rollout = begun(chain(last=True), BOTH, message=1.0)
    assert run_or_hold(rollout) == [(0.0, pytest.approx(1.0))] * 2


def test_messages_do_not_outweigh_what_hold_saves():
    for run, hold in run_or_hold(begun(chain(), ONE, message=0.5)):
        assert hold == 0
        assert run > 10.0


# Not offered at all


@pytest.mark.parametrize(("dag", "limit"), [(chain(), ONE), (chain(last=True), BOTH)])
def test_without_lookahead_an_idle_worker_is_never_held(dag: Dag, limit: int):
    found = decisions(begun(dag, limit, lookahead=0))
    assert found
    assert not any(decision.may_hold for decision, _ in found)


def test_without_lookahead_running_what_waits_for_its_memory_costs_the_same():
    # The same mistake, as a choice between two tasks.
    for decision, both in decisions(begun(chain(), ONE, lookahead=0)):
        assert len(decision.candidates) == 2
        assert both.tolist() == [0.0, pytest.approx(12.0)]


@pytest.mark.parametrize("lookahead", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 2])
def test_where_everything_fits_nothing_is_held(lookahead: int, threads: int):
    # Nothing that was made on the device is ever missing, so HOLD has nothing to save.
    rollout = begun(
        chain(last=True, made=True), 10_000, score(hold=8.0), lookahead=lookahead, threads=threads
    )
    assert not any(decision.may_hold for decision, _ in decisions(rollout))
    assert (rollout.figures().holds, rollout.figures().bytes_moved) == (0, 0)


def test_where_all_fits_and_is_still_to_be_loaded_hold_makes_no_difference():
    rollout = begun(chain(last=True), 10_000)
    assert run_or_hold(rollout) == [(0.0, 0.0)] * 2
    assert rollout.figures().bytes_evicted == 0


def test_where_a_product_fits_nothing_is_held_and_nothing_is_lost():
    dag = block_product(3)
    limit = int(dag.nbytes.sum())
    figures = product_rollout(score(hold=8.0), dag=dag, limit=limit).run()
    assert (figures.holds, figures.bytes_moved) == (0, 0)
    without = product_rollout(dag=dag, limit=limit, may_hold=False).run()
    assert figures.makespan == pytest.approx(without.makespan, rel=0.02)
