"""Each DAG is run on a small matrix, with kernels of numpy: it has to make the factors."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from dask_mlsched.benchmarks.families.factorizations import cholesky, lu, qr

SIZE = 3


def prefixes(dag) -> Counter[str]:
    return Counter(dag.prefixes[number] for number in dag.prefix.tolist())


def execute(dag, matrix: np.ndarray, kernels) -> dict[str, np.ndarray]:
    """Run each task with its kernel on the arrays that the DAG says it reads, and no others."""
    arrays: dict[str, np.ndarray] = {}
    for task, key in enumerate(dag.keys):
        name, *numbers = key.split("-")
        if name == "A":
            i, j = map(int, numbers)
            arrays[key] = matrix[i * SIZE : (i + 1) * SIZE, j * SIZE : (j + 1) * SIZE]
        else:
            inputs = {dag.keys[dep]: arrays[dag.keys[dep]] for dep in dag.dependencies(task)}
            arrays[key] = kernels[name](inputs, *map(int, numbers))
    return arrays


def pick(inputs: dict[str, np.ndarray], *keys: str) -> np.ndarray:
    """Return the one input whose key is among `keys`."""
    (found,) = (inputs[key] for key in keys if key in inputs)
    return found


def assemble(arrays, tiles: int, name_of) -> np.ndarray:
    zero = np.zeros((SIZE, SIZE))
    return np.block(
        [
            [arrays[name_of(i, j)] if name_of(i, j) else zero for j in range(tiles)]
            for i in range(tiles)
        ]
    )


@pytest.mark.parametrize("tiles", [1, 2, 3, 6])
def test_cholesky_has_the_textbooks_tasks(tiles):
    t = tiles
    dag = cholesky(tiles=t, size=SIZE)
    assert int((~dag.given).sum()) == t * (t + 1) * (t + 2) // 6
    expected = {
        "A": t * (t + 1) // 2,
        "potrf": t,
        "trsm": t * (t - 1) // 2,
        "syrk": t * (t - 1) // 2,
        "gemm": t * (t - 1) * (t - 2) // 6,
    }
    assert prefixes(dag) == {name: n for name, n in expected.items() if n}


def test_cholesky_tasks_read_what_they_need_to_make_the_factor():
    tiles = 4
    dag = cholesky(tiles=tiles, size=SIZE)
    root = np.random.default_rng(0).random((tiles * SIZE, tiles * SIZE))
    matrix = root @ root.T + np.eye(len(root))

    def old(inputs, i, j, k):
        update = "syrk" if i == j else "gemm"
        number = f"{i}-{k - 1}" if i == j else f"{i}-{j}-{k - 1}"
        return pick(inputs, f"A-{i}-{j}" if k == 0 else f"{update}-{number}")

    def trsm(inputs, i, k):
        return np.linalg.solve(inputs[f"potrf-{k}"], old(inputs, i, k, k).T).T

    def syrk(inputs, i, k):
        column = inputs[f"trsm-{i}-{k}"]
        return old(inputs, i, i, k) - column @ column.T

    def gemm(inputs, i, j, k):
        return old(inputs, i, j, k) - inputs[f"trsm-{i}-{k}"] @ inputs[f"trsm-{j}-{k}"].T

    kernels = {
        "potrf": lambda inputs, k: np.linalg.cholesky(old(inputs, k, k, k)),
        "trsm": trsm,
        "syrk": syrk,
        "gemm": gemm,
    }
    arrays = execute(dag, matrix, kernels)
    factor = assemble(
        arrays,
        tiles,
        lambda i, j: "" if j > i else f"potrf-{i}" if i == j else f"trsm-{i}-{j}",
    )
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrix), atol=1e-10)
    wanted = {key for key, w in zip(dag.keys, dag.wanted, strict=True) if w}
    assert wanted == {key for key in dag.keys if key.startswith(("potrf", "trsm"))}


@pytest.mark.parametrize("tiles", [1, 2, 5])
def test_lu_has_the_textbooks_tasks(tiles):
    t = tiles
    dag = lu(tiles=t, size=SIZE)
    assert int((~dag.given).sum()) == t * (t + 1) * (2 * t + 1) // 6
    assert prefixes(dag)["getrf"] == t
    assert prefixes(dag)["trsm_row"] == prefixes(dag)["trsm_column"] == t * (t - 1) // 2


def test_lu_tasks_read_what_they_need_to_make_the_factors():
    tiles = 3
    dag = lu(tiles=tiles, size=SIZE)
    n = tiles * SIZE
    matrix = np.random.default_rng(0).random((n, n)) + n * np.eye(n)

    def old(inputs, i, j, k):
        return pick(inputs, f"A-{i}-{j}" if k == 0 else f"gemm-{i}-{j}-{k - 1}")

    def getrf(inputs, k):
        packed = old(inputs, k, k, k).copy()
        for p in range(SIZE - 1):
            packed[p + 1 :, p] /= packed[p, p]
            packed[p + 1 :, p + 1 :] -= np.outer(packed[p + 1 :, p], packed[p, p + 1 :])
        return packed

    def lower(packed):
        return np.tril(packed, -1) + np.eye(SIZE)

    kernels = {
        "getrf": getrf,
        "trsm_row": lambda inputs, k, j: np.linalg.solve(
            lower(inputs[f"getrf-{k}"]), old(inputs, k, j, k)
        ),
        "trsm_column": lambda inputs, i, k: (
            np.linalg.solve(np.triu(inputs[f"getrf-{k}"]).T, old(inputs, i, k, k).T).T
        ),
        "gemm": lambda inputs, i, j, k: (
            old(inputs, i, j, k) - inputs[f"trsm_column-{i}-{k}"] @ inputs[f"trsm_row-{k}-{j}"]
        ),
    }
    arrays = execute(dag, matrix, kernels)
    names = {-1: "trsm_row", 0: "getrf", 1: "trsm_column"}

    def name_of(i, j):
        side = names[int(np.sign(i - j))]
        return f"getrf-{i}" if i == j else f"{side}-{i}-{j}"

    packed = assemble(arrays, tiles, name_of)
    product = (np.tril(packed, -1) + np.eye(n)) @ np.triu(packed)
    np.testing.assert_allclose(product, matrix, atol=1e-10)
    assert int(dag.wanted.sum()) == tiles**2


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (4, 4), (5, 2)])
def test_qr_has_one_task_for_each_tile_of_each_step(rows, columns):
    dag = qr(rows=rows, columns=columns, size=64)
    steps = range(columns)
    assert int((~dag.given).sum()) == sum((rows - k) * (columns - k) for k in steps)
    assert prefixes(dag)["geqrt"] == columns
    assert prefixes(dag)["tsqrt"] == sum(rows - k - 1 for k in steps)
    assert prefixes(dag)["unmqr"] == sum(columns - k - 1 for k in steps)


def test_qr_tasks_read_what_they_need_to_make_r():
    rows, columns = 4, 3
    dag = qr(rows=rows, columns=columns, size=SIZE, inner=1)
    matrix = np.random.default_rng(0).random((rows * SIZE, columns * SIZE))

    # An array is everything that its task makes: for factorizations Q and the new R, for updates
    # the tile in row k above the one in row i.
    def top(inputs, k, j, i):
        if i == k + 1:
            return pick(inputs, f"unmqr-{k}-{j}")
        return pick(inputs, f"tsmqr-{i - 1}-{j}-{k}")[:SIZE]

    def own(inputs, i, j, k):
        if k == 0:
            return pick(inputs, f"A-{i}-{j}")
        return pick(inputs, f"tsmqr-{i}-{j}-{k - 1}")[SIZE:]

    def geqrt(inputs, k):
        return np.linalg.qr(own(inputs, k, k, k), mode="complete")

    def tsqrt(inputs, i, k):
        above = pick(inputs, f"geqrt-{k}" if i == k + 1 else f"tsqrt-{i - 1}-{k}")[1][:SIZE]
        return np.linalg.qr(np.vstack([above, own(inputs, i, k, k)]), mode="complete")

    def unmqr(inputs, k, j):
        return inputs[f"geqrt-{k}"][0].T @ own(inputs, k, j, k)

    def tsmqr(inputs, i, j, k):
        both = np.vstack([top(inputs, k, j, i), own(inputs, i, j, k)])
        return inputs[f"tsqrt-{i}-{k}"][0].T @ both

    kernels = {"geqrt": geqrt, "tsqrt": tsqrt, "unmqr": unmqr, "tsmqr": tsmqr}
    arrays = execute(dag, matrix, kernels)
    last = rows - 1
    r = np.block(
        [
            [
                np.zeros((SIZE, SIZE))
                if j < k
                else arrays[f"tsqrt-{last}-{k}"][1][:SIZE]
                if j == k
                else arrays[f"tsmqr-{last}-{j}-{k}"][:SIZE]
                for j in range(columns)
            ]
            for k in range(columns)
        ]
    )
    expected = np.linalg.qr(matrix, mode="r")
    np.testing.assert_allclose(np.abs(r), np.abs(expected), atol=1e-10)
    kept = {key for key, w in zip(dag.keys, dag.wanted, strict=True) if w}
    reflectors = {key for key in dag.keys if key.startswith(("geqrt", "tsqrt"))}
    assert kept == reflectors | {"tsmqr-3-1-0", "tsmqr-3-2-0", "tsmqr-3-2-1"}


def test_factorizations_take_the_operations_of_the_whole_matrix():
    # n³/3, 2n³/3 and 4n³/3 for large n: of t³ tiles, the lower orders are some 1/t.
    t, size = 40, 50
    cubes = (t * size) ** 3
    for build, share in ((cholesky, 1 / 3), (lu, 2 / 3)):
        dag = build(tiles=t, size=size, flop_rate=1.0)
        assert dag.seconds.sum() == pytest.approx(share * cubes, rel=0.05)
    dag = qr(rows=t, columns=t, size=size, flop_rate=1.0)
    assert dag.seconds.sum() == pytest.approx(4 / 3 * cubes, rel=0.05)


def test_factorizations_are_of_one_tile_size_but_for_what_qr_packs_together():
    assert set(lu(tiles=3, size=16).nbytes.tolist()) == {8 * 256}
    assert set(cholesky(tiles=3, size=16).nbytes.tolist()) == {8 * 256}
    dag = qr(rows=2, columns=2, size=16, inner=4)
    sizes = dict(zip(dag.keys, dag.nbytes.tolist(), strict=True))
    tile, triangles = 8 * 256, 8 * 64
    assert sizes["geqrt-0"] == tile + triangles
    assert sizes["tsqrt-1-0"] == 2 * tile + triangles
    assert sizes["unmqr-0-1"] == tile
    assert sizes["tsmqr-1-1-0"] == 2 * tile


@pytest.mark.parametrize(
    "build", [lambda: cholesky(tiles=0, size=4), lambda: lu(tiles=2, size=0)], ids=["tiles", "size"]
)
def test_nothing_to_factorize_is_refused(build):
    with pytest.raises(ValueError, match="is 0; expected a number above 0"):
        build()


@pytest.mark.parametrize("parameters", [{"columns": 3}, {"inner": 65}])
def test_qr_refuses_wide_matrices_and_large_inner_blocks(parameters):
    with pytest.raises(ValueError, match="not more columns than rows"):
        qr(**{"rows": 2, "columns": 2, "size": 64, **parameters})
