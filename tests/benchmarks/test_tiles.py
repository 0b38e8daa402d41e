from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.benchmarks.tiles import (
    assemble_sparse,
    buffers,
    close,
    even_sizes,
    offsets,
    sparse_array,
    tiles_nbytes,
)


def a_matrix(rows: int, columns: int) -> scipy.sparse.csr_matrix:
    rng = np.random.default_rng(0)
    return scipy.sparse.csr_matrix(
        scipy.sparse.random_array((rows, columns), density=0.2, format="csr", rng=rng)
    )


@given(total=st.integers(1, 1000), tiles=st.integers(1, 50))
def test_even_sizes_add_up_and_differ_by_at_most_one(total, tiles):
    sizes = even_sizes(total, tiles)
    assert len(sizes) == tiles
    assert sum(sizes) == total
    assert max(sizes) - min(sizes) <= 1


def test_offsets_are_where_each_part_begins_and_the_last_ends():
    assert offsets((3, 5, 2)) == [0, 3, 8, 10]


def test_tiles_read_from_files_make_up_the_matrix(tmp_path: Path):
    matrix = a_matrix(30, 20)
    array = sparse_array(matrix, (10, 12, 8), (5, 15), tmp_path, "A")
    (computed,) = dask.compute(array, scheduler="sync")
    assert array.chunks == ((10, 12, 8), (5, 15))
    assert (computed != matrix).nnz == 0


def test_chunks_are_csr_matrices_of_the_matrix_type(tmp_path: Path):
    matrix = a_matrix(6, 6).astype(np.complex128)
    tile = sparse_array(matrix, (6,), (6,), tmp_path, "A").compute(scheduler="sync")
    assert isinstance(tile, scipy.sparse.csr_matrix)
    assert tile.dtype == np.complex128


def test_keys_begin_with_the_label(tmp_path: Path):
    array = sparse_array(a_matrix(4, 4), (2, 2), (4,), tmp_path, "stiffness")
    assert array.name.startswith("stiffness-")


def test_a_product_reads_each_tile_once_and_keeps_it_as_an_array(tmp_path: Path):
    # Were the reads merged into the products, nothing would ever be resident.
    array = sparse_array(a_matrix(8, 8), (4, 4), (4, 4), tmp_path, "A")
    (product,) = dask.optimize(array.dot(array))
    reads = [key for key in product.__dask_graph__() if key[0] == array.name]
    assert len(reads) == 4


def test_assembling_inverts_cutting(tmp_path: Path):
    matrix = a_matrix(9, 7)
    array = sparse_array(matrix, (4, 5), (3, 4), tmp_path, "A")
    keys = [(array.name, i, j) for i in range(2) for j in range(2)]
    tiles = dict(zip(keys, dask.get(dict(array.__dask_graph__()), keys), strict=True))
    assert (assemble_sparse(array, tiles) != matrix).nnz == 0


def test_nbytes_of_a_cut_matrix_is_that_of_its_tiles(tmp_path: Path):
    matrix = a_matrix(12, 12)
    array = sparse_array(matrix, (4, 4, 4), (6, 6), tmp_path, "A")
    keys = [(array.name, i, j) for i in range(3) for j in range(2)]
    tiles = dask.get(dict(array.__dask_graph__()), keys)
    found = sum(buffer.nbytes for tile in tiles for buffer in buffers(tile))
    assert tiles_nbytes(matrix, 3, 2) == found


def test_buffers_of_an_array_a_sparse_matrix_and_nothing():
    dense, sparse = np.ones((2, 2)), a_matrix(3, 3)
    assert buffers(dense) == (dense,)
    assert [id(b) for b in buffers(sparse)] == [
        id(sparse.data),
        id(sparse.indices),
        id(sparse.indptr),
    ]
    assert buffers(None) == ()


@pytest.mark.parametrize(
    ("change", "agrees"),
    [(0.0, True), (1e-14, True), (1e-6, False), (float("nan"), False)],
)
def test_close_allows_rounding_and_nothing_more(change, agrees):
    reference = np.arange(1.0, 10.0).reshape(3, 3)
    result = reference.copy()
    result[1, 1] += change
    assert close(result, reference) is agrees


def test_other_shapes_are_not_close():
    assert not close(np.ones((2, 3)), np.ones((3, 2)))
