"""Compiled runs against the simulator: the same tasks, times, places, loads and evictions."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.families.factorizations import cholesky
from dask_mlsched.benchmarks.families.pairs import pairs
from dask_mlsched.benchmarks.families.products import block_sparse, gemm
from dask_mlsched.benchmarks.families.reductions import tree_reduction
from dask_mlsched.benchmarks.families.stencils import stencil
from dask_mlsched.core import events as ev
from dask_mlsched.core import policies
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import EVICTIONS, POLICIES, Rollout
from dask_mlsched.core.compiled.tables import Tables
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, DagTask, Integers
from dask_mlsched.core.eviction import MOST_VICTIMS
from dask_mlsched.core.machine import Machine, SimulationError, needed_bytes
from dask_mlsched.core.simulator import SimulatedRun, simulate

COPY = CopyCost(bandwidth=1e9, latency=1e-5)

#: With few readers to an array: where there are many, the simulator goes through them as sets do.
STRUCTURED: dict[str, Callable[[], Dag]] = {
    "gemm": partial(gemm, tiles=4, size=32),
    "gemm-tree": partial(gemm, tiles=4, size=32, accumulation="tree", given=False),
    "block-sparse": partial(block_sparse, seed=1, tiles=6, smallest=16, largest=48, density=0.4),
    "2d": partial(pairs, n=12, result_nbytes=8),
    "cholesky": partial(cholesky, tiles=6, size=32),
    "stencil": partial(stencil, rows=4, columns=4, steps=4, size=32),
    "reduction": partial(tree_reduction, leaves=24, partial_nbytes=500_000),
}


@dataclass(frozen=True)
class Case:
    """A run to make twice."""

    dag: Dag
    machine: Machine
    settings: Settings
    order: Integers
    policy: str | None = "greedy"
    seed: int | None = None


def by_simulator(case: Case) -> SimulatedRun:
    policy = None if case.policy is None else policies.make(case.policy, random.Random(0))
    rng = None if case.seed is None else np.random.default_rng(case.seed)
    return simulate(
        case.dag, case.machine, policy, order=case.order, settings=case.settings, rng=rng
    )


def compiled(case: Case) -> Rollout:
    rng = None if case.seed is None else np.random.default_rng(case.seed)
    return Rollout(
        case.dag, case.machine, case.settings, case.order, case.policy, rng=rng, log=True
    )


def moves(rollout: Rollout, task: int, *, loaded: bool) -> list[int]:
    lines = rollout.arrays["log"][: rollout.arrays["clock"]["logged"][0]]
    chosen = lines[(lines["task"] == task) & (lines["loaded"] == loaded)]
    return [int(array) for array in chosen["array"]]


def assert_same(case: Case) -> None:
    assert_runs_as(by_simulator(case), compiled(case))


def assert_runs_as(expected: SimulatedRun, rollout: Rollout) -> None:
    figures = rollout.run()
    for record in expected.schedule:
        assert rollout.arrays["begun"][record.task] == pytest.approx(record.start)
        assert rollout.arrays["done"][record.task] == pytest.approx(record.end)
        assert moves(rollout, record.task, loaded=True) == record.loaded
        assert moves(rollout, record.task, loaded=False) == record.evicted
    assert figures.makespan == pytest.approx(expected.makespan)
    assert figures.bytes_loaded == expected.bytes_loaded
    assert figures.bytes_evicted == expected.bytes_evicted
    assert figures.bytes_sent == expected.bytes_sent
    assert figures.holds == expected.holds
    assert figures.hold_seconds == pytest.approx(expected.hold_seconds)
    assert figures.decisions == expected.decisions


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    tasks: list[DagTask] = []
    for i in range(draw(st.integers(1, 25))):
        keys = [task.key for task in tasks]
        reads = draw(st.lists(st.sampled_from(keys), max_size=3, unique=True)) if keys else []
        is_given = not reads and draw(st.booleans())
        seconds = 0.0 if is_given else draw(st.sampled_from([0.0, 1e-3, 2e-3, 0.02]))
        nbytes = draw(st.sampled_from([0, 8, 4_000, 8_000, 9_000]))
        prefix = draw(st.sampled_from("pq"))
        wanted = draw(st.sampled_from([None, True, False]))
        tasks.append(DagTask(str(i), reads, nbytes, seconds, prefix, wanted, is_given))
    return Dag.build("drawn", tasks)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    dag = draw(dags())
    needs = max(1, int(needed_bytes(dag).max()))
    room = draw(st.sampled_from([needs, needs + 8_000, 2 * needs + 8_000, 1_000_000, None]))
    latency = draw(st.sampled_from([0.0, 1e-3]))
    copy = CopyCost(draw(st.sampled_from([1e6, 1e7])), latency)
    costs = Costs(
        copy,
        CopyCost(2e6, latency),
        copy,
        message=draw(st.sampled_from([0.0, 1e-3])),
        decision=draw(st.sampled_from([0.0, 1e-4])),
        task=draw(st.sampled_from([0.0, 1e-4])),
        noise=0.3,
    )
    machine = Machine(
        room,
        workers=draw(st.integers(1, 3)),
        threads=draw(st.integers(1, 2)),
        costs=costs,
        keep_clean=draw(st.booleans()),
        overlap=draw(st.booleans()),
    )
    chosen = Settings(
        lookahead=draw(st.integers(0, 3)),
        shortlist=draw(st.sampled_from([1, 3, 32])),
        round_trip=draw(st.sampled_from([0.0, 5e-3])),
        bandwidth=copy.bandwidth,
        network_bandwidth=copy.bandwidth,
        eviction=draw(st.sampled_from(sorted(EVICTIONS))),
        keep_clean=machine.keep_clean,
    )
    order = np.array(draw(st.permutations(range(len(dag)))), np.int64)
    policy = draw(st.sampled_from(list(POLICIES)))
    return Case(dag, machine, chosen, order, policy, draw(st.sampled_from([None, 7])))


@given(cases())
@settings(max_examples=300, deadline=None)
def test_a_compiled_run_is_the_simulators(case: Case) -> None:
    assert_same(case)


@cache
def built(name: str) -> tuple[Dag, Integers]:
    dag = STRUCTURED[name]()
    return dag, dask_order(dag)


def structured(name: str = "gemm", workers: int = 1, eviction: str = "lru") -> Case:
    """Return a case whose devices hold a third of the arrays that are there at first."""
    dag, order = built(name)
    needs, share = int(needed_bytes(dag).max()), int(dag.nbytes.sum()) // (3 * workers)
    costs = Costs(COPY, COPY, COPY, message=1e-4, decision=5e-5, task=1e-4)
    machine = Machine(max(needs, min(share, 4 * needs)), workers=workers, costs=costs)
    return Case(dag, machine, Settings(bandwidth=1e9, eviction=eviction), order)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("eviction", EVICTIONS)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", STRUCTURED)
def test_structured_graphs_run_as_simulated(
    name: str, policy: str | None, eviction: str, workers: int
) -> None:
    case = replace(structured(name, workers, eviction), policy=policy)
    assert_same(case)


@pytest.mark.parametrize("lookahead", [0, 1, 3])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("eviction", EVICTIONS)
@pytest.mark.parametrize("name", STRUCTURED)
def test_structured_graphs_load_ahead_as_simulated(
    name: str, eviction: str, workers: int, lookahead: int
) -> None:
    assert_same(overlapping(structured(name, workers, eviction), lookahead))


def overlapping(case: Case, lookahead: int) -> Case:
    """Return the case on our own store: loads ahead, and clean arrays leave free."""
    machine = replace(case.machine, overlap=True, keep_clean=True, threads=1 + lookahead % 2)
    settings = replace(case.settings, lookahead=lookahead, keep_clean=True)
    return replace(case, machine=machine, settings=settings)


@pytest.mark.parametrize("eviction", ["luf", "next-use"])
def test_of_very_many_small_arrays_only_so_many_are_named_for_one_task(eviction: str) -> None:
    """The rest leaves by age, so the run goes on as it would."""
    small = [DagTask(f"s{i:03}", (), 10, 1e-3, "s") for i in range(3 * MOST_VICTIMS)]
    # Its size is known beforehand, unlike that of the first output of its prefix.
    others = [DagTask("large", (), 10 * len(small) - 100, 0.0, "l", given=True)]
    others += [DagTask("reads it", ("large",), 1, 1e-3, "r", wanted=True)]
    others += [DagTask(f"r{i:03}", (f"s{i:03}",), 1, 1e-3, "r") for i in range(len(small))]
    dag = Dag.build("small ones", [*small, *others])
    machine = Machine(10 * len(small) + 50, costs=Costs(COPY, COPY, COPY))
    settings = Settings(bandwidth=1e9, eviction=eviction, lookahead=0)
    order = np.arange(len(dag))
    case = Case(dag, machine, settings, order, None)
    assert_same(case)
    named: list[int] = []

    class Watched(Controller):
        def handle(self, event: ev.Event) -> list[ev.Instruction]:
            instructions = super().handle(event)
            named.extend(len(each.evict) for each in instructions if isinstance(each, ev.Run))
            return instructions

    run = simulate(dag, machine, None, order=case.order, settings=settings, controller=Watched)
    assert max(named) == MOST_VICTIMS
    assert max(len(record.evicted) for record in run.schedule) > MOST_VICTIMS


def test_a_copy_of_a_run_that_loads_ahead_goes_on_by_itself() -> None:
    case = overlapping(structured(), 2)
    rollout = compiled(case)
    assert rollout.until(20) is not None
    copied = rollout.copy()
    assert copied.run() == compiled(case).run()
    assert rollout.run() == copied.figures()


def test_a_queue_that_is_full_grows() -> None:
    case = structured(workers=3)
    rollout = compiled(case)
    for name in ("happenings", "log"):
        rollout.arrays[name] = rollout.arrays[name][:1].copy()
    rollout._tables = Tables(rollout.arrays)
    assert_runs_as(by_simulator(case), rollout)
    assert len(rollout.arrays["happenings"]) > 1
    assert len(rollout.arrays["log"]) > 1


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("overlap", [False, True])
def test_a_slow_tier_that_overflows_is_the_simulators_error(workers: int, overlap: bool) -> None:
    case = structured("gemm-tree", workers)
    case = overlapping(case, 1) if overlap else case
    few = 3 * int(case.dag.nbytes.max())
    case = replace(case, machine=replace(case.machine, slow_limit=few))
    with pytest.raises(SimulationError) as expected:
        by_simulator(case)
    with pytest.raises(SimulationError) as error:
        compiled(case).run()
    assert str(error.value) == str(expected.value)


def test_a_task_that_does_not_fit_is_refused() -> None:
    case = structured()
    case = replace(case, machine=replace(case.machine, limit=1))
    with pytest.raises(SimulationError, match="and the device memory is 1 bytes; give at least"):
        compiled(case)


def test_two_tasks_of_one_place_in_the_order_are_refused() -> None:
    case = structured()
    order = case.order.copy()
    order[0] = order[1]
    n = len(order)
    with pytest.raises(ValueError, match=f"{n} tasks have {n - 1} places in Dask's order"):
        compiled(replace(case, order=order))
