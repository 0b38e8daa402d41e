"""Challengers: the search finds something better where there is, a fit has to beat it clearly."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from core.networks import random_network
from dask_mlsched.core import features
from dask_mlsched.core.network import Network, hidden_of
from dask_mlsched.learning import challengers
from dask_mlsched.learning.challengers import SHARES, Challenger, challenger, comparable, on_the_way
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.gate import Suite, compare, judged
from learning.instances import NEAREST, factorization, product, scored_by

#: Runs what misses most: easily beaten.
FARTHEST = scored_by(missing=1.0)
INSTANCES = Suite([product(4)], [factorization(5), product(5)])


def after(looks: int) -> Callable[[], float]:
    """Let a second pass at each of so many questions, and then an hour."""
    ticks = itertools.count()
    return lambda: float(tick) if (tick := next(ticks)) < looks else 3600.0


def made(
    champion: Network = FARTHEST,
    instances: Suite = INSTANCES,
    decisions: Decisions | None = None,
    *,
    looks: int = 2_000,
) -> Challenger | None:
    return challenger(
        champion, instances, decisions, seed=0, elapsed=after(looks), seconds=looks / 0.6
    )


def some_decisions(count: int = 40) -> Decisions:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 4, features.COUNT)).astype(np.float32)
    costs = np.abs(rng.standard_normal((count, 4))).astype(np.float32)
    return Decisions.from_arrays(x, costs, groups=np.arange(count) % 4)


@pytest.mark.slow
def test_the_search_finds_a_better_one_where_there_is() -> None:
    found = made()
    assert found is not None
    assert found.made_by == "search"
    assert found.cost < -0.05
    assert compare(INSTANCES, judged(INSTANCES, FARTHEST), found.network).overall < 0.95
    assert hidden_of(found.network) == (0, 0)


def test_the_same_seed_finds_the_same() -> None:
    first, second = made(looks=300), made(looks=300)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.network.skip, second.network.skip)


def test_without_own_runs_what_ships_counts_alone() -> None:
    found = made(instances=Suite([], [factorization(5)]))
    assert found is not None
    assert found.cost < 0


def test_when_time_is_up_at_once_there_is_none() -> None:
    assert made(looks=0, decisions=some_decisions()) is None


def test_time_ends_the_search_in_the_middle_of_a_round() -> None:
    asked = itertools.count()

    def elapsed() -> float:
        return float(next(asked))

    challenger(FARTHEST, INSTANCES, None, seed=0, elapsed=elapsed, seconds=10.0)
    assert next(asked) == 11  # all of it, where there is nothing to fit


def test_what_would_not_get_through_costs_more_than_it_gains() -> None:
    assert challengers._cost(1.0) == 0
    assert challengers._cost(0.9) == pytest.approx(np.log(0.9))
    assert challengers._cost(1.01) == pytest.approx(3 * np.log(1.01))
    assert challengers._cost(1.1) == pytest.approx(6 * np.log(1.1) - 3 * np.log(1.02))


def test_a_fit_that_is_clearly_better_is_taken_and_another_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for fitted, expected in ((NEAREST, "fit"), (FARTHEST, None)):
        monkeypatch.setattr(challengers, "_fitted", lambda *_, fitted=fitted, **__: fitted)
        # No time for a search.
        ticks = iter([9.0, *[0.0] * 10])
        found = challenger(
            FARTHEST,
            INSTANCES,
            some_decisions(),
            seed=0,
            elapsed=lambda ticks=ticks: next(ticks),  # type: ignore[misc]  # this one's
            seconds=10.0,
        )
        assert (None if found is None else found.made_by) == expected


def test_a_fit_begins_at_what_the_search_found_and_keeps_its_linear_part_and_layers() -> None:
    start = random_network(np.random.default_rng(0), features.COUNT, (3, 2))
    for network, hidden in ((NEAREST, (16, 16)), (start, (3, 2))):
        fitted = challengers._fitted(network, some_decisions(), 0, expired=lambda: False)
        assert fitted is not None
        assert hidden_of(fitted) == hidden
        np.testing.assert_array_equal(fitted.mean, network.mean)


def test_a_fit_ends_when_time_is_up_or_there_is_too_little(tmp_path: Path) -> None:
    assert challengers._fitted(NEAREST, some_decisions(), 0, expired=lambda: True) is None
    expired = partial(next, iter([False, False]), True)
    assert challengers._fitted(NEAREST, some_decisions(), 0, expired=expired) is None
    assert challengers._fitted(NEAREST, some_decisions(1), 0, expired=lambda: False) is None


def test_what_is_nearer_lies_on_the_way() -> None:
    assert comparable(FARTHEST, NEAREST)
    for share in SHARES:
        network = on_the_way(FARTHEST, NEAREST, share)
        np.testing.assert_allclose(
            network.skip, FARTHEST.skip + share * (NEAREST.skip - FARTHEST.skip), atol=1e-6
        )
        assert network.skip.dtype == network.w3.dtype == np.float32
    assert list(SHARES) == sorted(SHARES, reverse=True)
    assert SHARES[0] == 1.0


def test_between_other_hidden_layers_there_is_no_way() -> None:
    other = random_network(np.random.default_rng(0), features.COUNT, (3, 2))
    assert not comparable(NEAREST, other)
    assert not comparable(NEAREST, NEAREST._replace(scale=2 * NEAREST.scale))
