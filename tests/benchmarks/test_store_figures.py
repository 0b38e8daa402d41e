"""What our own store is worth: searches on every store, and what is made of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dask_mlsched.benchmarks import store_figures, workloads
from dask_mlsched.benchmarks.contest import DECISION, MEASURES
from dask_mlsched.benchmarks.store_figures import (
    GROUPS,
    OURS,
    RATIOS,
    STORES,
    TARGETS,
    Row,
    as_json,
    cases,
    grouped,
    means,
    run,
    specialised,
    table,
)
from dask_mlsched.core.simulator import simulate
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.processes import Processes
from learning.instances import NEAREST, factorization, product


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return run(NEAREST, Processes([product(5), factorization(6)]), runs=10)


def test_every_store_is_searched_on_by_each_measure(rows: list[Row]):
    assert len(rows) == 2
    for row in rows:
        assert set(row.specialised) == set(STORES)
        assert all(set(ratios) == set(MEASURES) for ratios in row.specialised.values())


def test_no_store_does_worse_than_dask_alone(rows: list[Row]):
    # Its own candidate is among those of the search, and keeps clean copies where the store does.
    for row in rows:
        for name in ("stock", "clean copies"):
            assert all(0 < ratio <= 1 for ratio in row.specialised[name].values())


def slow_product() -> Instance:
    """Return a product whose tasks take so long that decisions cost next to nothing."""
    made = product(5)
    dag = replace(made.dag, seconds=1e4 * made.dag.seconds)
    assert made.machine.limit is not None
    return Instance.measured("slow", "gemm", dag, made.order, limit=made.machine.limit)


def test_our_store_is_better_than_dasks_on_a_product():
    (row,) = run(NEAREST, Processes([slow_product()]), runs=10)
    ratios = row.specialised
    assert ratios[OURS]["bytes"] < ratios["stock"]["bytes"]
    assert ratios[OURS]["makespan"] < ratios["stock"]["makespan"]
    assert ratios[OURS]["makespan"] < ratios["no loads ahead"]["makespan"]


def test_a_figure_is_what_the_specialists_run_comes_to_over_dask_alone():
    instance = product(5)
    costs = replace(instance.machine.costs, decision=DECISION)
    alone = simulate(
        instance.dag,
        replace(instance.machine, costs=costs),
        None,
        order=instance.order,
        settings=instance.settings,
        stock=True,
    )
    # Dask alone decides for free: it is the same with a price on decisions.
    assert alone.makespan == instance.stock_makespan
    few, many = (specialised(instance, OURS, "bytes", NEAREST, runs, 0) for runs in (0, 40))
    assert 0 < many <= few < 1


def test_the_same_seed_gives_the_same_figures():
    instance = product(4)
    one, again = (specialised(instance, OURS, "makespan", NEAREST, 20, 3) for _ in range(2))
    assert one == again


def test_stores_differ_from_ours_in_the_part_that_they_are_named_after():
    ours = STORES[OURS]
    assert STORES["no victims"] == replace(ours, eviction="lru")
    assert STORES["no clean copies"] == replace(ours, keep_clean=False)
    assert STORES["no loads ahead"] == replace(ours, loads_ahead=False)
    stock = STORES["stock"]
    assert (stock.eviction, stock.keep_clean, stock.loads_ahead) == ("lru", False, False)


def test_every_workload_comes_at_every_ratio():
    named = [name for names in GROUPS.values() for name in names]
    assert set(named) <= set(workloads.WORKLOADS)
    assert {(case.workload, case.memory_ratio) for case in cases()} == {
        (name, ratio) for name in named for ratio in RATIOS
    }
    assert [case.workload for case in cases(["lu"])] == ["lu"] * len(RATIOS)


def a_row(family: str, ratio: float) -> Row:
    return Row("an instance", family, 10, {name: dict.fromkeys(MEASURES, ratio) for name in STORES})


def test_means_are_geometric_by_group_and_over_all():
    made = [a_row("gemm", 0.5), a_row("gemm-tree", 0.125), a_row("lu", 1.0)]
    groups = dict(grouped(made))
    assert {group: len(chosen) for group, chosen in groups.items()} == {
        "dense products": 2,
        "others": 1,
        None: 3,
    }
    assert means(groups["dense products"], "bytes")[OURS] == pytest.approx(0.25)
    assert set(TARGETS) <= {(group, each) for group in (*GROUPS, None) for each in MEASURES}


def test_people_and_programs_get_the_same(rows: list[Row]):
    document = as_json(rows, 10)
    assert (document["runs"], len(document["instances"])) == (10, 2)
    (every,) = [
        each for each in document["means"] if (each["group"], each["measure"]) == (None, "makespan")
    ]
    assert every["target"] == TARGETS[None, "makespan"]
    assert every["ratios"] == means(rows, "makespan")
    for measure in MEASURES:
        made = table(rows, measure)
        assert [str(column.header) for column in made.columns] == ["instance", *STORES, "at most"]
        # Each instance, a mean for each group and for all, and what each part gains.
        assert made.row_count == len(rows) + len(list(grouped(rows))) + 1


def test_a_program_is_told_of_each_row_as_it_comes():
    told: list[str] = []
    instances = [product(4), product(5)]
    run(NEAREST, Processes(instances), runs=0, on_row=lambda row: told.append(row.instance))
    assert told == [each.name for each in instances]


@pytest.mark.slow
def test_two_processes_come_to_the_same(rows: list[Row]):
    with Processes([product(5), factorization(6)], 2) as two:
        assert run(NEAREST, two, runs=10) == rows


def test_the_command_prints_both_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(store_figures, "make", lambda _cases: [product(4)])
    store_figures.main(["--runs", "0"])
    printed = capsys.readouterr().out
    assert "bytes over Dask alone" in printed
    assert "makespan over Dask alone" in printed
    store_figures.main(["--runs", "0", "--workloads", "gemm,lu", "--json"])
    assert json.loads(capsys.readouterr().out)["format"] == "mlsched-store-figures"


def test_a_workload_that_is_none_of_them_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        store_figures.main(["--workloads", "gemm,magic"])
    assert "--workloads='gemm,magic'; expected some of gemm, gemm-tree" in capsys.readouterr().err
