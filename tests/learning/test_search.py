from __future__ import annotations

import numpy as np
import pytest

from dask_mlsched.core.network import Network, linear, shapes
from dask_mlsched.learning.search import CrossEntropy, SearchSettings, search
from learning.instances import NEAREST, product

TARGET = np.random.default_rng(1).standard_normal(6)


def distance(network: Network) -> float:
    return float(np.square(network.skip - TARGET).sum())


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_it_finds_the_least_cost():
    found = search(linear(np.zeros(6)), distance, seeded(), SearchSettings(rounds=40))
    assert found.cost == distance(found.network) < 1e-3
    assert found.rounds[-1].mean < found.rounds[0].mean


def test_the_same_seed_gives_the_same_network():
    first, second, other = (
        search(linear(np.zeros(6)), distance, seeded(seed), SearchSettings(rounds=3))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.network.skip, second.network.skip)
    assert first.rounds == second.rounds
    assert other.network.skip.tolist() != first.network.skip.tolist()


def test_the_result_is_never_worse_than_the_start():
    start = linear(TARGET)
    found = search(start, distance, seeded(), SearchSettings(rounds=2, sigma=3.0))
    assert found.cost <= distance(start)


def test_it_ends_when_time_runs_out_with_the_best_so_far():
    left = iter([False] * 10)
    found = search(linear(np.zeros(6)), distance, seeded(), expired=lambda: next(left, True))
    assert found.rounds == ()
    assert found.cost < distance(linear(np.zeros(6)))


def test_what_follows_hidden_units_is_searched_too_and_nothing_else_changes():
    rng = seeded()
    arrays = {
        name: rng.standard_normal(shape).astype(np.float32)
        for name, shape in shapes(6, (3, 2)).items()
    }
    start = Network(**arrays)
    spread = np.array([1.0] * 6 + [0.0, 2.0])
    drawn = CrossEntropy(start, SearchSettings(), spread).ask(rng)
    for name in set(Network._fields) - {"skip", "w3"}:
        assert all(getattr(each, name) is getattr(start, name) for each in drawn)
    assert all((each.w3[:, 1] == start.w3[:, 1]).all() for each in drawn)
    assert all(each.w3[0, 0] == start.w3[0, 0] for each in drawn)
    assert len({float(each.w3[1, 0]) for each in drawn}) == len(drawn)


def test_a_state_says_how_a_search_goes_on():
    def costs(drawn: list[Network]) -> list[float]:
        return [distance(network) for network in drawn]

    whole, begun = (CrossEntropy(linear(np.zeros(6)), SearchSettings()) for _ in range(2))
    for number in range(2):
        for each in (whole, begun):
            each.tell(costs(each.ask(seeded(number))))
    after = CrossEntropy(linear(np.zeros(6)), SearchSettings())
    after.state.update({name: array.copy() for name, array in begun.state.items()})
    for each in (whole, after):
        each.tell(costs(each.ask(seeded(2))))
    np.testing.assert_array_equal(whole.network.skip, after.network.skip)


def test_it_specialises_to_one_dag():
    instance = product(5, ratio=3.0)
    settings = SearchSettings(population=10, elites=4, rounds=4)
    found = search(NEAREST, instance.cost, seeded(), settings)
    assert found.cost < instance.cost(NEAREST)


@pytest.mark.parametrize("elites", [1, 28])
def test_numbers_of_elites_that_make_no_sense_are_refused(elites: int):
    with pytest.raises(ValueError, match=f"elites is {elites} and population 28"):
        SearchSettings(elites=elites)
