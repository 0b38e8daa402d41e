from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse

from dask_mlsched.benchmarks.csr_products import csr_product, csr_tile
from dask_mlsched.benchmarks.tiles import buffers
from local_run import compute

SMALL = {"tiles": 4, "size": 24, "density": 0.5, "per_row": 3}


def test_a_row_has_one_entry_in_each_stretch_of_columns():
    tile = csr_tile((1, 2), (50, 24), 3)
    assert (tile.shape, tile.nnz, tile.dtype) == ((50, 24), 150, np.dtype("float64"))
    places = tile.indices.reshape(50, 3)
    assert (places // 8 == [0, 1, 2]).all()
    assert len(np.unique(places[:, 0])) == 8
    assert tile.has_canonical_format
    assert (abs(tile.data) <= 1).all()


def test_tiles_depend_on_their_seed_alone():
    first, again, other = (csr_tile(seed, (9, 9), 3) for seed in ((1,), (1,), (2,)))
    assert (first != again).nnz == 0
    assert (first != other).nnz > 0


def test_results_are_those_of_scipy_and_a_wrong_one_is_seen(tmp_path: Path):
    problem = csr_product(tmp_path, 3, **SMALL)
    results = compute(problem)
    assert {type(tile) for tile in results.values()} == {scipy.sparse.csr_matrix}
    assert problem.check(results)
    key = next(iter(results))
    assert not problem.check({**results, key: results[key] * 1.001})
    del results[key]
    assert not problem.check(results)


def test_the_working_set_is_all_operands_and_results(tmp_path: Path):
    problem = csr_product(tmp_path, 0, **SMALL)
    last = {result.key for result in problem.collections}
    kept = [
        tile
        for key, tile in compute(problem, everything=True).items()
        if key[0] in "AB" or key in last
    ]
    assert problem.working_set == sum(b.nbytes for tile in kept for b in buffers(tile))
