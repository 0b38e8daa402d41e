from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.benchmarks.block_products import (
    BlockMatrix,
    agrees,
    block_sparse,
    chains,
    gemm,
    multiply_add,
    random_block_matrix,
    random_tile,
)
from dask_mlsched.benchmarks.problem import Problem, digest
from dask_mlsched.benchmarks.tiles import offsets
from local_run import compute

SMALL = {"tiles": 5, "smallest": 4, "largest": 9, "density": 0.4}


def dense(matrix: BlockMatrix) -> np.ndarray:
    row, column = offsets(matrix.rows), offsets(matrix.columns)
    whole = np.zeros((row[-1], column[-1]))
    for i, j in matrix.places:
        whole[row[i] : row[i + 1], column[j] : column[j + 1]] = matrix.tile((i, j))
    return whole


def operands(seed: int = 0, density: float = 0.4) -> tuple[BlockMatrix, BlockMatrix]:
    rng = np.random.default_rng(seed)
    m, k, n = ((5, 3, 4), (2, 6, 3, 4), (7, 1, 2))
    a = random_block_matrix("A", m, k, density, (seed, 0), rng)
    return a, random_block_matrix("B", k, n, density, (seed, 1), rng)


def products(a: BlockMatrix, b: BlockMatrix) -> dict[tuple[int, int], np.ndarray]:
    whole = dense(a) @ dense(b)
    row, column = offsets(a.rows), offsets(b.columns)
    return {(i, j): whole[row[i] : row[i + 1], column[j] : column[j + 1]] for i, j in chains(a, b)}


def graph_of(problem: Problem) -> dict:
    return {key: task for c in problem.collections for key, task in c.__dask_graph__().items()}


@given(
    density=st.floats(0.01, 1.0),
    seed=st.integers(0, 1000),
    rows=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    columns=st.lists(st.integers(1, 9), min_size=1, max_size=6),
)
def test_random_tiles_reach_the_density_and_stop_there(density, seed, rows, columns):
    rng = np.random.default_rng(seed)
    matrix = random_block_matrix("A", rows, columns, density, (seed,), rng)
    largest = max(rows) * max(columns) / (sum(rows) * sum(columns))
    assert density - 1e-12 <= matrix.density < density + largest
    assert len(set(matrix.places)) == len(matrix.places)


def test_tile_sizes_span_their_range_and_do_not_leave_it(tmp_path: Path):
    problem = block_sparse(tmp_path, 0, tiles=40, smallest=3, largest=6, density=0.02)
    shapes = [tile.shape for tile in compute(problem).values()]
    assert {size for shape in shapes for size in shape} == {3, 4, 5, 6}


def test_a_seed_gives_the_same_instance_and_another_seed_another(tmp_path: Path):
    first, again, other = (block_sparse(tmp_path, seed, **SMALL) for seed in (7, 7, 8))
    assert digest(compute(first)) == digest(compute(again))
    assert digest(compute(first)) != digest(compute(other))


def test_tiles_depend_on_their_seed_alone():
    assert (random_tile((1, 0, 2), (3, 3)) == random_tile((1, 0, 2), (3, 3))).all()
    assert (random_tile((1, 0, 2), (3, 3)) != random_tile((1, 2, 0), (3, 3))).all()


def test_only_products_of_two_non_zero_tiles_become_tasks(tmp_path: Path):
    graph = graph_of(block_sparse(tmp_path, 0, **SMALL))
    a_tiles = {key for key in graph if key.startswith("A-")}
    b_tiles = {key for key in graph if key.startswith("B-")}
    expected = {
        f"C-{i}-{j}-{k}"
        for i, j, k in itertools.product(range(5), repeat=3)
        if f"A-{i}-{k}" in a_tiles and f"B-{k}-{j}" in b_tiles
    }
    assert {key for key in graph if key.startswith("C-")} == expected


def test_each_product_adds_to_the_one_before_it_along_k(tmp_path: Path):
    problem = block_sparse(tmp_path, 0, **SMALL)
    graph = graph_of(problem)
    for result in problem.collections:
        i, j = result.key.split("-")[1:3]
        ks = sorted(int(key.split("-")[3]) for key in graph if key.startswith(f"C-{i}-{j}-"))
        assert result.key == f"C-{i}-{j}-{ks[-1]}"
        for before, k in zip([None, *ks], ks, strict=False):
            inputs = {f"A-{i}-{k}", f"B-{k}-{j}"}
            inputs |= set() if before is None else {f"C-{i}-{j}-{before}"}
            assert set(graph[f"C-{i}-{j}-{k}"].dependencies) == inputs


def test_accumulating_leaves_its_input_as_it_is():
    # The store may hold the very same array, and the task may run again.
    c = np.ones((2, 2))
    multiply_add(c, np.eye(2), np.eye(2))
    assert (c == 1).all()


@given(seed=st.integers(0, 100), density=st.floats(0.1, 1.0))
def test_multiplying_with_vectors_is_that_of_the_whole_matrix(seed, density):
    a, _ = operands(seed, density)
    vectors = np.random.default_rng(seed).standard_normal((sum(a.columns), 2))
    np.testing.assert_allclose(a.times(vectors), dense(a) @ vectors, atol=1e-12)


def test_results_are_those_of_numpy(tmp_path: Path):
    problem = block_sparse(tmp_path, 3, **SMALL)
    assert problem.check(compute(problem))


def test_the_check_accepts_the_product_of_the_whole_matrices():
    a, b = operands()
    assert agrees(a, b, products(a, b))


def test_the_check_sees_a_wrong_entry_a_missing_tile_and_a_wrong_shape():
    a, b = operands(density=0.8)
    right = products(a, b)
    place = next(iter(right))
    wrong_entry = {**right, place: right[place] + 1e-4}
    missing = {other: tile for other, tile in right.items() if other != place}
    wrong_shape = {**right, place: right[place].T.copy()[:1]}
    assert not any(agrees(a, b, c) for c in (wrong_entry, missing, wrong_shape))


def test_the_working_set_is_all_operands_and_results(tmp_path: Path):
    problem = block_sparse(tmp_path, 0, **SMALL)
    everything = compute(problem, everything=True)
    last = {result.key for result in problem.collections}
    kept = [tile for key, tile in everything.items() if key[0] in "AB" or key in last]
    assert problem.working_set == sum(tile.nbytes for tile in kept)


def test_a_dense_product_has_every_tile_and_every_step(tmp_path: Path):
    problem = gemm(tmp_path, 0, tiles=3, size=4)
    assert problem.tasks() == 9 + 9 + 27
    assert problem.check(compute(problem))
