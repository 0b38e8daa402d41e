from __future__ import annotations

import numpy as np
import pytest

from dask_mlsched.benchmarks.families.matrices import cut, gallery_matrix, tile_nbytes
from dask_mlsched.benchmarks.families.matvec import gallery_matvec, matvec

SMALL = {"tiles": 6, "size": 10, "density": 0.4, "fill": 0.2, "iterations": 3}


def inputs(dag, key: str) -> set[str]:
    return {dag.keys[dep] for dep in dag.dependencies(dag.keys.index(key)).tolist()}


def there(dag) -> set[tuple[int, int]]:
    return {tuple(map(int, key.split("-")[1:])) for key in dag.keys if key[0] == "A"}


def test_every_iteration_reads_the_same_tiles_of_the_matrix():
    dag = matvec(**SMALL)
    for i, j in there(dag):
        readers = {dag.keys[r] for r in dag.dependents(dag.keys.index(f"A-{i}-{j}")).tolist()}
        assert readers == {f"spmv-{step}-{i}-{j}" for step in (1, 2, 3)}


def test_a_product_reads_the_sum_of_the_iteration_before():
    dag = matvec(**SMALL)
    assert inputs(dag, "spmv-1-2-2") == {"A-2-2", "x-2"}
    assert inputs(dag, "spmv-2-2-2") == {"A-2-2", "sum-1-2"}
    row = {f"spmv-3-2-{j}" for i, j in there(dag) if i == 2}
    assert inputs(dag, "sum-3-2") == row


def test_there_is_one_product_for_each_tile_and_one_sum_for_each_row():
    dag = matvec(**SMALL)
    assert int((~dag.given).sum()) == 3 * (len(there(dag)) + 6)
    assert {key for key, w in zip(dag.keys, dag.wanted, strict=True) if w} == {
        f"sum-3-{i}" for i in range(6)
    }


def test_tiles_are_random_but_for_the_diagonal():
    dags = [matvec(seed, **SMALL) for seed in (1, 1, 2)]
    assert dags[0].keys == dags[1].keys
    assert there(dags[0]) != there(dags[2])
    assert {(i, i) for i in range(6)} <= there(dags[2])
    assert 0 < len(there(dags[2])) < 36


def test_bytes_and_seconds_follow_from_the_entries():
    dag = matvec(**SMALL, flop_rate=10.0)
    task = {key: number for number, key in enumerate(dag.keys)}
    assert dag.nbytes[task["A-0-0"]] == 12 * 20 + 4 * 11
    assert dag.nbytes[task["x-0"]] == dag.nbytes[task["spmv-1-0-0"]] == 80
    assert dag.seconds[task["spmv-1-0-0"]] == pytest.approx(4.0)
    parts = len(dag.dependencies(task["sum-1-0"]))
    assert dag.seconds[task["sum-1-0"]] == pytest.approx(parts * 1.0)


@pytest.mark.parametrize(("name", "item", "factor"), [("bar", 8, 1), ("helmholtz_2D", 16, 4)])
def test_a_matrix_of_the_gallery_has_measured_tiles(name, item, factor):
    pytest.importorskip("pyamg.gallery")
    parts = cut(gallery_matrix(name), 5)
    dag = gallery_matvec(matrix=name, tiles=5, iterations=2, flop_rate=1.0)
    assert there(dag) == set(parts)
    sizes = dict(zip(dag.keys, dag.nbytes.tolist(), strict=True))
    assert {place: sizes[f"A-{place[0]}-{place[1]}"] for place in parts} == {
        place: tile_nbytes(part) for place, part in parts.items()
    }
    assert sizes["x-0"] == item * parts[0, 0].shape[0]
    products = np.array([key.startswith("spmv") for key in dag.keys])
    entries = sum(part.nnz for part in parts.values())
    assert dag.seconds[products].sum() == pytest.approx(2 * 2 * factor * entries)


def test_no_iterations_are_refused():
    with pytest.raises(ValueError, match="iterations is 0"):
        matvec(**{**SMALL, "iterations": 0})
