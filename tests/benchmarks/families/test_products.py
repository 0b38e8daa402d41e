from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dask_mlsched.benchmarks import block_products
from dask_mlsched.benchmarks.families.products import block_sparse, gemm, sum_tree
from local_run import compute

SMALL = {"tiles": 5, "smallest": 4, "largest": 9, "density": 0.4}


def inputs(dag) -> dict[str, set[str]]:
    """Return the keys that each task reads."""
    return {
        key: {dag.keys[dep] for dep in dag.dependencies(task).tolist()}
        for task, key in enumerate(dag.keys)
    }


def live_instance(folder: Path, seed: int):
    """Return the live program's dependencies and its computed arrays."""
    problem = block_products.block_sparse(folder, seed, **SMALL)
    graph = {key: task for c in problem.collections for key, task in c.__dask_graph__().items()}
    reads = {key: set(task.dependencies) for key, task in graph.items()}
    return reads, compute(problem, everything=True), set(problem.keys())


@pytest.mark.parametrize("seed", [0, 7])
def test_a_chain_is_the_very_instance_that_runs_live(tmp_path: Path, seed):
    reads, arrays, kept = live_instance(tmp_path, seed)
    dag = block_sparse(seed, **SMALL)
    assert inputs(dag) == reads
    sizes = dict(zip(dag.keys, dag.nbytes.tolist(), strict=True))
    assert sizes == {key: array.nbytes for key, array in arrays.items()}
    assert {key for key, w in zip(dag.keys, dag.wanted, strict=True) if w} == kept


def test_operands_that_no_product_reads_are_left_out():
    sparse = block_sparse(0, **{**SMALL, "density": 0.1})
    assert all(len(sparse.dependents(task)) for task in np.flatnonzero(sparse.given).tolist())
    assert int(sparse.given.sum()) < 2 * 25 * 0.2


def test_a_dense_chain_has_a_task_for_each_product():
    dag = gemm(tiles=4, size=8)
    assert len(dag) == 2 * 16 + 64
    assert int(dag.wanted.sum()) == 16
    assert inputs(dag)["C-1-2-3"] == {"A-1-3", "B-3-2", "C-1-2-2"}
    assert set(dag.nbytes.tolist()) == {8 * 64}


@pytest.mark.parametrize(("tiles", "width", "sums"), [(4, 4, 1), (5, 4, 2), (9, 2, 8), (1, 2, 0)])
def test_a_dense_tree_adds_so_many_products_at_a_time(tiles, width, sums):
    dag = gemm(tiles=tiles, size=4, accumulation="tree", width=width)
    reads = inputs(dag)
    additions = [key for key in reads if key.startswith("S-")]
    assert len(additions) == sums * tiles**2
    assert all(2 <= len(reads[key]) <= width for key in additions)
    assert int(dag.wanted.sum()) == tiles**2


def test_a_tree_adds_every_product_once():
    dag = block_sparse(3, **SMALL, accumulation="tree", width=2)
    products = [task for task, key in enumerate(dag.keys) if key.startswith("P-")]
    for task in products:
        readers = [dag.keys[reader] for reader in dag.dependents(task).tolist()]
        i, j = dag.keys[task].split("-")[1:3]
        assert dag.wanted[task] == (not readers)
        assert all(reader.startswith(f"S-{i}-{j}-") for reader in readers)
        assert len(readers) <= 1
    chain = block_sparse(3, **SMALL)
    assert len(products) == sum(key.startswith("C-") for key in chain.keys)


def test_a_chain_computes_its_products_and_additions_at_the_flop_rate():
    dag = gemm(tiles=3, size=10, flop_rate=1000.0)
    seconds = dict(zip(dag.keys, dag.seconds.tolist(), strict=True))
    assert seconds["C-0-0-0"] == pytest.approx(2.0)
    assert seconds["C-0-0-1"] == pytest.approx(2.1)
    assert seconds["A-0-0"] == 0


def test_a_tree_computes_as_long_as_the_chain():
    chain, tree = (gemm(tiles=5, size=10, accumulation=each) for each in ("chain", "tree"))
    assert tree.seconds.sum() == pytest.approx(chain.seconds.sum())


def test_a_tile_alone_in_its_group_goes_up_as_it_is():
    made = list(sum_tree("S", list("abcde"), 2, 3, 1.0))
    reads = [(task.key, task.dependencies) for task in made]
    assert reads == [
        ("S-0-0", ("a", "b")),
        ("S-0-1", ("c", "d")),
        ("S-1-0", ("S-0-0", "S-0-1")),
        ("S-2-0", ("S-1-0", "e")),
    ]


def test_a_seed_gives_the_same_instance_and_another_seed_another():
    first, again, other = (block_sparse(seed, **SMALL) for seed in (7, 7, 8))
    assert first.keys == again.keys
    assert (first.nbytes == again.nbytes).all()
    assert first.keys != other.keys


def test_operands_are_given_or_made():
    given, made = (gemm(tiles=2, size=2, given=each) for each in (True, False))
    assert [key[0] for key in np.array(given.keys)[given.given]] == ["A"] * 4 + ["B"] * 4
    assert not made.given.any()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"accumulation": "ring"}, "accumulation is 'ring'; expected 'chain' or 'tree'"),
        ({"width": 1}, "width is 1; expected 2 or more"),
        ({"size": 0}, "size is 0"),
        ({"flop_rate": 0.0}, "flop_rate is 0.0"),
    ],
)
def test_parameters_out_of_range_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        gemm(**{"tiles": 2, "size": 2, **parameters})
