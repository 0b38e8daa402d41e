from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest

from dask_mlsched.benchmarks import array_programs as programs
from dask_mlsched.benchmarks.array_programs import Program


def computed(program: Program) -> tuple[np.ndarray, ...]:
    results: tuple[np.ndarray, ...] = dask.compute(*program, scheduler="threads")
    return results


def random(shape, chunks, *, seed: int = 0, count: int = 1) -> list[np.ndarray]:
    """Compute the random operands that a program of this seed starts from."""
    generator = da.random.default_rng(seed)
    return [generator.random(shape, chunks=chunks).compute() for _ in range(count)]


def test_matmul_is_a_product():
    a, b = random((6, 6), (2, 2), count=2)
    (product,) = computed(programs.matmul(0, tiles=3, size=2))
    np.testing.assert_allclose(product, a @ b)


def test_tensordot_contracts_two_tensors_in_turn():
    (tensor,) = random((4, 4, 4), (2, 2, 2))
    first, second = random((4, 4), (2, 2), seed=1, count=2)
    (result,) = computed(programs.tensordot(0, tiles=2, size=2))
    np.testing.assert_allclose(result, np.einsum("abc,cd,bd->a", tensor, first, second))


def test_cholesky_is_the_factor_of_a_symmetric_matrix():
    (root,) = random((6, 6), (2, 2))
    (factor,) = computed(programs.cholesky(0, tiles=3, size=2))
    np.testing.assert_allclose(factor @ factor.T, root + root.T + 12 * np.eye(6))
    np.testing.assert_array_equal(factor, np.tril(factor))


@pytest.mark.parametrize(
    ("program", "matrix"),
    [
        (programs.qr_tall(0, tiles=3, size=4, columns=3), random((12, 3), (4, 3))[0]),
        (programs.qr_short(0, tiles=3, size=4, rows=3), random((3, 12), (3, 4))[0]),
    ],
    ids=["tall", "short"],
)
def test_qr_is_an_orthogonal_and_a_triangular_factor(program, matrix):
    q, r = computed(program)
    np.testing.assert_allclose(q @ r, matrix)
    np.testing.assert_allclose(q.T @ q, np.eye(3), atol=1e-12)
    np.testing.assert_array_equal(r, np.triu(r))


def test_svd_is_that_of_the_whole_matrix():
    (matrix,) = random((12, 3), (4, 3))
    u, s, v = computed(programs.svd(0, tiles=3, size=4, columns=3))
    np.testing.assert_allclose(u * s @ v, matrix)
    np.testing.assert_allclose(s, np.linalg.svd(matrix)[1])


def test_overlap_smooths_across_the_edges_of_chunks():
    (grid,) = random((6, 6), (3, 3))
    for _ in range(2):
        near = [np.roll(grid, step, axis) for axis in (0, 1) for step in (1, -1)]
        grid = (grid + sum(near)) / 5
    (smoothed,) = computed(programs.overlap(0, tiles=2, size=3, steps=2))
    np.testing.assert_allclose(smoothed, grid)


def test_smoothing_leaves_its_input_as_it_is():
    grid = np.arange(4.0).reshape(2, 2)
    programs.smooth(grid)
    assert (grid == np.arange(4.0).reshape(2, 2)).all()


def test_reduction_standardizes_by_the_columns():
    (data,) = random((8, 2), (2, 2))
    (result,) = computed(programs.reduction(0, tiles=4, size=2, width=2))
    expected = ((data - data.mean(axis=0)) / data.std(axis=0)).sum(axis=1)
    np.testing.assert_allclose(result, expected)


def test_a_seed_gives_the_same_program_and_another_seed_another():
    names = [programs.matmul(seed, tiles=2, size=2)[0].name for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
