from __future__ import annotations

import pytest

from dask_mlsched.benchmarks.families.reductions import tree_reduction


def inputs(dag, key: str) -> set[str]:
    return {dag.keys[dep] for dep in dag.dependencies(dag.keys.index(key)).tolist()}


@pytest.mark.parametrize(
    ("leaves", "width", "combinations"), [(1, 2, 0), (8, 2, 7), (16, 4, 5), (17, 4, 5 + 2 + 1)]
)
def test_a_tree_combines_so_many_at_a_time_until_one_is_left(leaves, width, combinations):
    dag = tree_reduction(leaves=leaves, width=width)
    assert int((~dag.given).sum()) == leaves + combinations
    assert int(dag.wanted.sum()) == 1
    combined = [task for task, key in enumerate(dag.keys) if key.startswith("combine")]
    assert all(1 <= len(dag.dependencies(task)) <= width for task in combined)


def test_every_array_of_the_data_goes_into_the_result_once():
    dag = tree_reduction(leaves=11, width=3)
    for task in range(len(dag)):
        assert len(dag.dependents(task)) == (0 if dag.wanted[task] else 1)
    assert inputs(dag, "partial0-4") == {"X-4"}
    assert inputs(dag, "combine0-0-1") == {"partial0-3", "partial0-4", "partial0-5"}


def test_trees_share_the_data_and_nothing_else():
    dag = tree_reduction(leaves=4, width=2, trees=3)
    assert int(dag.given.sum()) == 4
    assert int(dag.wanted.sum()) == 3
    data = [task for task in range(len(dag)) if dag.given[task]]
    assert [len(dag.dependents(task)) for task in data] == [3] * 4


def test_bytes_and_seconds_are_those_of_what_is_read():
    dag = tree_reduction(leaves=4, width=4, tile_nbytes=800, partial_nbytes=80, flop_rate=10.0)
    found = {
        key: (nbytes, seconds)
        for key, nbytes, seconds in zip(
            dag.keys, dag.nbytes.tolist(), dag.seconds.tolist(), strict=True
        )
    }
    assert found["X-0"] == (800, 0.0)
    assert found["partial0-0"] == (80, 10.0)
    assert found["combine0-0-0"] == (80, 4.0)


def test_a_reduction_of_one_at_a_time_is_refused():
    with pytest.raises(ValueError, match="width is 1"):
        tree_reduction(leaves=4, width=1)
