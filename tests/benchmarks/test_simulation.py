"""Simulating several policies: what each gets, and Belady's rule under any of them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict

import pytest

from dask_mlsched.benchmarks import simulation
from dask_mlsched.benchmarks.simulation import Simulation, simulate_policies
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.scores import FEWEST_MISSING
from dask_mlsched.learning.specialise import Specialist

POLICIES = ("fifo", "greedy", "darts")


def dag() -> Dag:
    return find("gemm").dag(scale="quick")


def simulated(eviction: str, lookahead: int = 0) -> Simulation:
    copy = CopyCost(1e9)
    machine = Machine(limit=working_set(dag()) // 2, costs=Costs(copy, copy, copy))
    return simulate_policies(dag(), machine, POLICIES, lookahead=lookahead, eviction=eviction)


def fewest_loads(graph: Dag, order: list[int], limit: int) -> int:
    """Play Belady's MIN for a fixed order by looking every use up: the bytes that it loads."""
    uses: dict[int, list[int]] = defaultdict(list)
    for step, task in enumerate(order):
        for array in graph.dependencies(task).tolist():
            uses[array].append(step)

    def next_use(array: int, step: int) -> float:
        later = bisect_right(uses[array], step)
        return uses[array][later] if later < len(uses[array]) else float("inf")

    nbytes, resident, loaded = graph.nbytes.tolist(), set[int](), 0
    for step, task in enumerate(order):
        inputs = graph.dependencies(task).tolist()
        missing = [array for array in inputs if array not in resident]
        coming = sum(nbytes[array] for array in (*missing, task))
        while sum(nbytes[array] for array in resident) + coming > limit:
            rest = resident.difference(inputs)
            resident.remove(max(rest, key=lambda array: next_use(array, step)))
        loaded += sum(nbytes[array] for array in missing)
        resident.update((*missing, task))
        for array in inputs:
            if next_use(array, step) == float("inf") and not graph.wanted[array]:
                resident.discard(array)
    return loaded


@pytest.mark.parametrize("policy", POLICIES)
def test_belady_loads_as_little_as_can_be_for_the_order_of_the_policy(policy: str):
    number = POLICIES.index(policy)
    by_age, best = (simulated(rule).results[number] for rule in ("lru", "belady"))
    order = [record.task for record in by_age.run.schedule]
    assert [record.task for record in best.run.schedule] == order
    limit = simulated("lru").machine.limit
    assert limit is not None
    assert best.run.bytes_loaded == fewest_loads(dag(), order, limit)
    assert best.run.bytes_loaded < by_age.run.bytes_loaded


def test_belady_reports_the_decisions_of_the_policy_itself():
    by_age, best = (simulated(rule, lookahead=1).results[1].run for rule in ("lru", "belady"))
    assert (best.decisions, best.holds) == (by_age.decisions, by_age.holds)
    assert len(best.decision_seconds) == len(by_age.decision_seconds)


def test_next_use_is_between_age_and_the_best():
    loads = {
        rule: [result.run.bytes_loaded for result in simulated(rule).results]
        for rule in ("lru", "next-use", "belady")
    }
    for by_age, by_next_use, best in zip(*loads.values(), strict=True):
        assert best <= by_next_use < by_age


def test_stock_keeps_the_store_s_own_rule():
    machine = Machine(limit=working_set(dag()))
    results = simulate_policies(dag(), machine, ("stock", "greedy"), eviction="luf").results
    assert [result.eviction for result in results] == ["lru", "luf"]


def test_a_specialist_is_never_worse_than_the_generalist_or_dask_and_comes_out_the_same_again():
    copy = CopyCost(1e9)
    machine = Machine(limit=working_set(dag()) // 2, costs=Costs(copy, copy, copy))
    names = ("stock", "learned", "specialised", "specialised")
    stock, learned, one, again = (
        result.run for result in simulate_policies(dag(), machine, names).results
    )
    assert one.makespan <= min(stock.makespan, learned.makespan)
    assert one.schedule == again.schedule


def test_dask_alone_is_simulated_where_it_is_the_best(monkeypatch: pytest.MonkeyPatch):
    def stock_is_best(*_: object, **__: object) -> Specialist:
        return Specialist("stock", FEWEST_MISSING, False, None, {}, 1)

    monkeypatch.setattr(simulation, "specialise", stock_is_best)
    machine = Machine(limit=working_set(dag()) // 2)
    stock, specialised = simulate_policies(dag(), machine, ("stock", "specialised")).results
    assert specialised.run.schedule == stock.run.schedule


def test_a_specialist_is_found_for_machines_and_rules_that_compiled_runs_do_not_have():
    copy = CopyCost(1e9)
    limit = working_set(dag()) // 2
    machine = Machine(limit=limit, costs=Costs(copy, copy, copy), overlap=True)
    (result,) = simulate_policies(dag(), machine, ("specialised",), eviction="belady").results
    assert len(result.run.schedule) == len(dag())
