"""The structure of block products, found in graphs whose names say what it is."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest

from core.driver import VirtualDask
from core.graphs import Drawn, gemm
from dask_mlsched.core.planners.cubes import cube_shape
from dask_mlsched.core.planners.products import NotAProductError, Products, find_products


def found(drawn: Drawn | str) -> tuple[VirtualDask, Products]:
    dask = VirtualDask()
    dask.submit(drawn)
    numbers = [task.number for task in dask.tasks.values()]
    return dask, find_products(dask.controller.graph, numbers)


def names(drawn: Drawn | str) -> dict[str, tuple[int, int, int]]:
    dask, products = found(drawn)
    return {dask.key(task): place for task, place in products.places.items()}


def tree_product(size: int, density: float = 1.0, seed: int = 0) -> Drawn:
    """Draw products summed by one task for each block of C, and one task that takes all sums."""
    rng = random.Random(seed)
    drawn = Drawn()
    sums = []
    for i, j in product(range(size), repeat=2):
        terms = []
        for k in range(size):
            if rng.random() < density:
                for key in (f"a-{i}-{k}", f"b-{k}-{j}"):
                    drawn.dependencies.setdefault(key, [])
                terms.append(f"p-{i}-{j}-{k}")
                drawn.dependencies[terms[-1]] = [f"a-{i}-{k}", f"b-{k}-{j}"]
        if terms:
            sums.append(f"s-{i}-{j}")
            drawn.dependencies[sums[-1]] = terms
    drawn.dependencies["all"] = sums
    return drawn


def test_a_chained_product_is_numbered_as_it_is_named():
    assert names(gemm(3)) == {
        f"c-{i}-{j}-{k}": (i, j, k) for i, j, k in product(range(3), repeat=3)
    }


def test_a_product_summed_in_trees_is_numbered_as_it_is_named():
    assert names(tree_product(3)) == {
        f"p-{i}-{j}-{k}": (i, j, k) for i, j, k in product(range(3), repeat=3)
    }


@pytest.mark.parametrize("seed", range(8))
def test_tasks_of_a_sparse_product_share_rows_columns_and_steps_only_where_their_names_do(
    seed: int,
):
    places = names(tree_product(5, density=0.6, seed=seed))
    named: tuple[dict[int, str], ...] = ({}, {}, {})
    for name, place in places.items():
        for numbers, number, part in zip(named, place, name.split("-")[1:], strict=True):
            assert numbers.setdefault(number, part) == part
    # A step falls apart where nothing connects its arrays; rows and columns hang together.
    assert len(named[0]) == len(named[1]) == 5


def test_arrays_may_be_made_in_several_steps():
    dask, products = found("file -> a\nb\na b -> p")
    assert [dask.key(task) for task in sorted(products.sources)] == ["file", "a", "b"]
    assert products.left == {dask.number("a"): (0, 0)}
    assert products.right == {dask.number("b"): (0, 0)}


def test_arrays_that_are_there_already_are_sources():
    dask = VirtualDask()
    dask.join(0)
    dask.scatter("a", 10, [0])
    dask.submit("b\na b -> p")
    products = find_products(dask.controller.graph, [dask.number(key) for key in ("b", "p")])
    assert products.places == {dask.number("p"): (0, 0, 0)}


def test_independent_tasks_on_a_grid_are_a_product_of_one_step():
    grid = "\n".join(f"a-{i} b-{j} -> c-{i}-{j}" for i, j in product(range(3), repeat=2))
    assert names(grid) == {f"c-{i}-{j}": (i, j, 0) for i, j in product(range(3), repeat=2)}


def test_steps_stand_in_the_order_in_which_chains_go_through_them():
    # By their first products the steps would be y, x, z; but the chain of d goes from x to y.
    drawn = "ay by -> cy\naz bz -> fz\nax ex -> dx\nay ey dx -> dy"
    steps = {name: k for name, (_, _, k) in names(drawn).items()}
    assert steps["dx"] < steps["dy"] == steps["cy"]


@pytest.mark.parametrize(
    ("drawn", "said"),
    [
        ("a -> b -> c", "no task reads two source arrays"),
        ("a b c -> p", "task 3 reads 3 source arrays and 0 results"),
        ("a b -> p\na p -> q", "task 3 reads 1 source arrays and 1 results"),
        ("a b -> p\nb c -> q\na c -> r", "stand on the same side"),
    ],
)
def test_what_is_no_product_is_an_error_that_says_what_was_expected(drawn: str, said: str):
    with pytest.raises(NotAProductError, match=said):
        found(drawn)


# Cubes


def test_a_cube_holds_what_fits():
    # Four by four by four blocks of 10 bytes: two by two by two take 4 + 4 + 4 blocks; one more in
    # any direction takes 16.
    blocks = np.full((4, 4), 10)
    assert cube_shape(blocks, blocks, blocks, 120) == (2, 2, 2)
    assert cube_shape(blocks, blocks, blocks, 159) == (2, 2, 2)


def test_cubes_are_of_equal_shape():
    # Three of five would fit; two and three is what three and two is.
    a, b, c = np.full((5, 1), 10), np.full((1, 1), 0), np.full((5, 1), 0)
    assert cube_shape(a, b, c, 40) == (3, 1, 1)
    assert cube_shape(np.full((9, 1), 10), b, np.full((9, 1), 0), 70)[0] == 5


def test_a_product_that_fits_is_one_cube():
    blocks = np.full((3, 3), 10)
    assert cube_shape(blocks, blocks, blocks, float("inf")) == (3, 3, 3)


def test_a_cube_is_one_block_where_nothing_fits():
    blocks = np.full((3, 3), 10)
    assert cube_shape(blocks, blocks, blocks, 1) == (1, 1, 1)


def test_blocks_that_are_not_there_take_no_room():
    diagonal = np.diag([10] * 4)
    assert cube_shape(diagonal, diagonal, diagonal, 120) == (4, 4, 4)
