from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from dask.utils import key_split

from dask_mlsched.benchmarks import sparse_products
from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.benchmarks.problem import digest
from dask_mlsched.benchmarks.sparse_products import galerkin, helmholtz
from dask_mlsched.benchmarks.tiles import assemble_sparse, buffers, close
from local_run import compute

gallery = pytest.importorskip("pyamg.gallery")


def prefixes(problem) -> Counter[str]:
    return Counter(key_split(key) for key in set(problem.collections[0].__dask_graph__()))


@pytest.mark.parametrize("power", [2, 4])
def test_helmholtz_is_the_power_of_the_example_matrix(tmp_path: Path, power):
    problem = helmholtz(tmp_path, 0, tiles=4, power=power)
    matrix = scipy.sparse.csr_matrix(gallery.load_example("helmholtz_2D")["A"])
    expected = matrix @ matrix if power == 2 else (matrix @ matrix) @ (matrix @ matrix)
    result = assemble_sparse(problem.collections[0], compute(problem))
    assert result.dtype == np.complex128
    assert close(result, expected)


def test_helmholtz_has_one_task_for_each_tile_of_each_square(tmp_path: Path):
    problem = helmholtz(tmp_path, 0, tiles=3, power=4)
    assert prefixes(problem) == {"A": 9, "tensordot": 18}
    assert problem.tasks() == 27


def test_helmholtz_passes_its_own_check_and_a_wrong_entry_does_not(tmp_path: Path):
    problem = helmholtz(tmp_path, 0, tiles=3, power=2)
    results = compute(problem)
    assert problem.check(results)
    spoilt = next(tile for tile in results.values() if tile.nnz)
    spoilt.data[0] += 1e-3 * abs(spoilt.data).max()
    assert not problem.check(results)


def test_galerkin_is_the_coarse_operator_that_pyamg_computes(tmp_path: Path):
    pyamg = pytest.importorskip("pyamg")
    problem = galerkin(tmp_path, 0, grid=16, tiles=3, coarse_tiles=2)
    np.random.seed(0)  # noqa: NPY002 - the one that pyamg uses
    operator, modes = gallery.linear_elasticity((16, 16), format="bsr")
    solver = pyamg.smoothed_aggregation_solver(operator, B=modes, max_levels=2, max_coarse=10)
    expected = scipy.sparse.csr_matrix(solver.levels[1].A)
    assert close(assemble_sparse(problem.collections[0], compute(problem)), expected)


def test_galerkin_is_the_same_each_time_and_leaves_the_global_generator_alone(tmp_path: Path):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = galerkin(tmp_path, 3, grid=8, tiles=2, coarse_tiles=2)
    sparse_products._two_levels.cache_clear()
    again = galerkin(tmp_path, 3, grid=8, tiles=2, coarse_tiles=2)
    assert digest(compute(first)) == digest(compute(again))
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_galerkin_reads_each_matrix_and_makes_two_products(tmp_path: Path):
    problem = galerkin(tmp_path, 0, grid=16, tiles=3, coarse_tiles=2)
    assert prefixes(problem) == {"R": 6, "A": 9, "P": 6, "tensordot": 6 + 4}


def test_galerkin_passes_its_own_check_and_a_missing_tile_does_not(tmp_path: Path):
    problem = galerkin(tmp_path, 0, grid=16, tiles=3, coarse_tiles=2)
    results = compute(problem)
    assert problem.check(results)
    results[problem.keys()[0]] *= 0
    assert not problem.check(results)


@pytest.mark.parametrize(
    "build",
    [
        lambda folder: helmholtz(folder, 0, tiles=4, power=4),
        lambda folder: galerkin(folder, 0, grid=16, tiles=3, coarse_tiles=2),
    ],
    ids=["helmholtz", "galerkin"],
)
def test_the_working_set_is_what_all_named_matrices_take(tmp_path: Path, build):
    problem = build(tmp_path)
    arrays = compute(problem, everything=True)
    found = sum(buffer.nbytes for tile in arrays.values() for buffer in buffers(tile))
    # The file's row pointers may be of another width than those of a computed tile.
    assert problem.working_set == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize("build", [helmholtz, galerkin])
def test_without_pyamg_one_line_says_what_to_install(tmp_path: Path, monkeypatch, build):
    sparse_products._two_levels.cache_clear()
    for module in ("pyamg", "pyamg.gallery"):
        monkeypatch.setitem(sys.modules, module, None)
    arguments = {"tiles": 2, "power": 2} if build is helmholtz else {}
    arguments = arguments or {"grid": 8, "tiles": 2, "coarse_tiles": 2}
    with pytest.raises(
        MissingDependencyError, match=r'pip install "dask-mlsched\[bench\]"'
    ) as info:
        build(tmp_path, 0, **arguments)
    assert "\n" not in str(info.value)
