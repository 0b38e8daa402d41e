"""The six first figures: a search is never worse than what it began with."""

from __future__ import annotations

import pytest

from dask_mlsched.benchmarks.first_figures import PRODUCTS, Product, tiles_moved

SMALL = Product("chain", 5, 1.0, 12, 0, None)


@pytest.mark.parametrize("eviction", [False, True])
def test_a_search_is_never_worse_than_the_candidates(eviction: bool) -> None:
    moved = tiles_moved(SMALL, 20, eviction=eviction)
    assert moved["specialised"] == min(moved.values()) > 0
    assert moved["specialised"] <= moved["stock"]
    assert moved == tiles_moved(SMALL, 20, eviction=eviction)


def test_more_search_is_never_worse() -> None:
    few, many = (tiles_moved(SMALL, runs, eviction=False)["specialised"] for runs in (5, 60))
    assert many <= few


def test_the_products_are_those_of_the_first_figures() -> None:
    dense = PRODUCTS[0].dag()
    assert (~dense.given).sum() == 12**3
    sparse = PRODUCTS[2].dag()
    assert 0 < (~sparse.given).sum() < 20**3
