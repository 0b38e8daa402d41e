from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse

from dask_mlsched.benchmarks.families import matrices
from dask_mlsched.benchmarks.families.matrices import (
    GALLERY,
    cut,
    gallery_matrix,
    gallery_square,
    tile_nbytes,
)
from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.benchmarks.tiles import tiles_nbytes

gallery = pytest.importorskip("pyamg.gallery")


def sizes(dag) -> dict[str, int]:
    return dict(zip(dag.keys, dag.nbytes.tolist(), strict=True))


@pytest.mark.parametrize("name", GALLERY)
def test_every_matrix_of_the_gallery_can_be_squared(name):
    dag = gallery_square(matrix=name, tiles=4)
    matrix = scipy.sparse.csr_matrix(gallery.load_example(name)["A"])
    square = cut(matrix @ matrix, 4)
    results = {key.rpartition("-")[0] for key in np.array(dag.keys)[dag.wanted]}
    assert results >= {f"C-{i}-{j}" for i, j in square}


def test_the_gallery_is_all_that_pyamg_ships():
    assert set(GALLERY) == set(sys.modules["pyamg.gallery"].example.example_names)


def test_results_have_the_bytes_of_the_computed_tiles(monkeypatch):
    # Without signs nothing cancels: scipy drops entries that cancel in a sum, not in a product.
    matrix = abs(gallery_matrix("bar"))
    monkeypatch.setattr(matrices, "gallery_matrix", lambda _name: matrix)
    square = cut(matrix @ matrix, 5)
    dag = gallery_square(matrix="bar", tiles=5)
    final = {
        key.rpartition("-")[0]: nbytes
        for key, nbytes, wanted in zip(dag.keys, dag.nbytes, dag.wanted, strict=True)
        if wanted
    }
    computed = {f"C-{i}-{j}": tile_nbytes(tile) for (i, j), tile in square.items()}
    assert {key: final[key] for key in computed} == computed
    # Entries of two tiles need not meet: what is left are the row pointers of 120 rows.
    assert {final[key] for key in final if key not in computed} == {4 * 121}


def test_operands_are_all_entries_of_the_matrix():
    matrix = gallery_matrix("airfoil")
    dag = gallery_square(matrix="airfoil", tiles=1)
    assert sizes(dag)["A-0-0"] == tiles_nbytes(matrix, 1, 1)
    parts = cut(matrix, 6)
    assert sum(part.nnz for part in parts.values()) == matrix.nnz
    dag = gallery_square(matrix="airfoil", tiles=6)
    assert {key for key in dag.keys if key[0] == "A"} == {f"A-{i}-{j}" for i, j in parts}
    assert len(parts) < 36


def test_partial_sums_fill_in():
    found = sizes(gallery_square(matrix="bar", tiles=5))
    assert found["C-2-2-1"] < found["C-2-2-2"]


def test_products_are_chained_along_k():
    dag = gallery_square(matrix="bar", tiles=3)
    task = dag.keys.index("C-1-1-1")
    inputs = {dag.keys[dep] for dep in dag.dependencies(task).tolist()}
    assert inputs == {"A-1-1", "C-1-1-0"}


@pytest.mark.parametrize(("name", "per_pair", "per_sum"), [("knot", 2, 1), ("helmholtz_2D", 8, 2)])
def test_operations_are_those_of_the_pairs_of_entries_that_meet(name, per_pair, per_sum):
    matrix = gallery_matrix(name)
    pattern = abs(matrix).sign()
    pairs = (pattern @ pattern).sum()
    whole = gallery_square(matrix=name, tiles=1, flop_rate=1.0)
    assert whole.seconds.sum() == pytest.approx(per_pair * pairs)
    tiled = gallery_square(matrix=name, tiles=3, flop_rate=1.0)
    additions = tiled.seconds.sum() - per_pair * pairs
    assert additions > 0
    assert additions % per_sum == pytest.approx(0.0)


def test_an_unknown_matrix_and_too_many_tiles_are_named():
    with pytest.raises(ValueError, match=r"unknown matrix 'knots'; expected one of airfoil"):
        gallery_square(matrix="knots", tiles=2)
    with pytest.raises(ValueError, match=r"tiles is 240; expected at most 239"):
        gallery_square(matrix="knot", tiles=240)


def test_without_pyamg_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyamg.gallery", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        gallery_square(matrix="knot", tiles=2)
