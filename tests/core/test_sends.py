"""What sending takes: synthetic answers give back what made them, whatever they waited for."""

from __future__ import annotations

import random
from dataclasses import replace
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.recorded_simulations import COSTS, block_product, recorded, reporting_fetches
from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.sends import bytes_sent_again, fit_sends
from dask_mlsched.core.trace import Copy, Fetch, Header, Step, Trace

SEND = CopyCost(bandwidth=5e7, latency=1e-3)


def fetch(time: float, nbytes: int, seconds: float, *, array: int = 1) -> Fetch:
    return Fetch(time, 0, 1, ((array, nbytes),), seconds)


def load(time: float, seconds: float, *, worker: int = 1, array: int = 1) -> Copy:
    return Copy(time, worker, array, True, 1000, seconds)


def answers(count: int = 40, *, waits: float = 0.0) -> list[Fetch]:
    """Answers of sizes that differ, of which a share had to wait for 50 ms."""
    rng = random.Random(0)
    sizes = [rng.randrange(10_000, 1_000_000) for _ in range(count)]
    waiting = set(rng.sample(range(count), round(waits * count)))
    return [
        fetch(float(n), nbytes, SEND.seconds(nbytes) + 0.05 * (n in waiting))
        for n, nbytes in enumerate(sizes)
    ]


def test_without_answers_there_is_nothing_to_fit():
    assert fit_sends([], []) is None
    assert fit_sends([], [load(1.0, 0.1)]) is None


def test_latency_and_bandwidth_are_those_of_whole_answers():
    found = fit_sends(answers(), [])
    assert found is not None
    assert found.cost.bandwidth == pytest.approx(SEND.bandwidth)
    assert found.cost.latency == pytest.approx(SEND.latency)
    assert found.error < 1e-9
    assert found.samples == 40


def test_several_arrays_of_one_answer_have_one_latency():
    several = [
        replace(each, arrays=((1, each.nbytes - 5_000), (-1, 3_000), (2, 2_000)))
        for each in answers()
    ]
    assert fit_sends(several, []) == fit_sends(answers(), [])


@pytest.mark.parametrize("waits", [0.2, 0.5, 0.6])
def test_senders_that_are_busy_do_not_move_the_line_though_most_may_be(waits: float):
    found = fit_sends(answers(waits=waits), [])
    assert found is not None
    assert found.cost.bandwidth == pytest.approx(SEND.bandwidth)
    assert found.cost.latency == pytest.approx(SEND.latency)


def test_the_error_is_over_all_answers_those_that_waited_as_well():
    fetches = answers(waits=0.6)
    found = fit_sends(fetches, [])
    assert found is not None
    expected = [(each.seconds - SEND.seconds(each.nbytes)) / each.seconds for each in fetches]
    assert found.error == pytest.approx(median(expected), abs=1e-9)


def test_a_quarter_of_answers_of_one_size_are_quicker_than_the_line():
    fetches = [fetch(float(n), 1000, (n + 1) * 1e-3) for n in range(40)]
    found = fit_sends(fetches, [])
    assert found is not None
    assert found.cost.latency == 0.0
    assert 0.009 <= found.cost.seconds(1000) <= 0.011


@given(
    st.lists(st.tuples(st.integers(1, 10**9), st.floats(1e-6, 10)), min_size=1, max_size=30),
)
@settings(max_examples=60, deadline=None)
def test_whatever_was_measured_the_cost_is_one(samples: list[tuple[int, float]]):
    found = fit_sends([fetch(100.0 * n, *each) for n, each in enumerate(samples)], [])
    assert found is not None
    assert found.cost.bandwidth > 0
    assert found.cost.latency >= 0
    assert found.samples == len(samples)


def test_of_very_many_answers_some_will_do():
    found = fit_sends(answers(5_000, waits=0.5), [])
    assert found is not None
    assert found.cost.bandwidth == pytest.approx(SEND.bandwidth)
    assert found.samples == 5_000


def test_what_the_sender_loaded_for_an_answer_is_taken_off():
    fetches = [replace(each, seconds=each.seconds + 0.02) for each in answers()]
    # The sender's report may come before that of the one who fetched, or after.
    loads = [load(each.time + (0.005 if n % 2 else -0.02), 0.02) for n, each in enumerate(fetches)]
    found = fit_sends(fetches, loads)
    assert found is not None
    assert found.cost.latency == pytest.approx(SEND.latency)


@pytest.mark.parametrize(
    "other",
    [
        load(10.0, 0.02, worker=2),
        load(10.0, 0.02, worker=0),
        load(10.0, 0.02, array=2),
        load(10.0, 0.02, array=-1),
        load(9.0, 0.02),
        load(11.0, 0.02),
        replace(load(10.0, 0.02), loaded=False),
    ],
    ids=["third worker", "own", "array", "unknown", "before", "after", "eviction"],
)
def test_what_was_copied_for_something_else_is_not(other: Copy):
    fetches = [fetch(10.0, 100_000, 0.05, array=-1 if other.array < 0 else 1)]
    assert fit_sends(fetches, [other]) == fit_sends(fetches, [])


def test_answers_that_carried_nothing_or_took_no_time_say_nothing():
    empty = [Fetch(1.0, 0, 1, (), 0.5), fetch(2.0, 0, 0.5), fetch(3.0, 10, 0.0)]
    assert fit_sends(empty, []) is None
    assert fit_sends([*answers(), *empty], []) == fit_sends(answers(), [])


def test_a_load_longer_than_its_answer_leaves_no_sample():
    assert fit_sends([fetch(1.0, 100, 0.01)], [load(1.0, 0.02)]) is None


# What was sent again


def told(*events: ev.Event) -> Trace:
    return Trace(Header("1", 0.0, "greedy", "manage", Settings()), tuple(map(Step, events)))


def made(task: int, worker: int) -> list[ev.Event]:
    return [ev.TaskStarted(0.0, task, worker), ev.TaskFinished(0.0, task, 10, 0.1)]


def got(worker: int, *arrays: int) -> ev.Event:
    answer = 7, 0.1, tuple((array, 10 + array) for array in arrays)
    return ev.ArraysMoved(1.0, worker, (), 0, 0.0, (), (answer,))


def test_what_a_worker_had_neither_made_nor_fetched_it_is_sent_for_the_first_time():
    assert bytes_sent_again(told(*made(1, 0), *made(2, 1), got(0, 2), got(1, 1), got(2, 1, 2))) == 0


def test_what_it_had_fetched_it_is_sent_again():
    assert bytes_sent_again(told(*made(1, 0), got(1, 1), got(2, 1), got(1, 1), got(1, 1))) == 22


def test_so_is_what_it_had_made_itself():
    assert bytes_sent_again(told(*made(1, 0), got(1, 1), got(0, 1))) == 11


def test_an_array_that_was_released_and_made_again_is_another_one():
    released = ev.ArrayReleased(2.0, 1)
    assert bytes_sent_again(told(*made(1, 0), got(1, 1), released, *made(1, 2), got(1, 1))) == 0


def test_arrays_that_are_not_known_are_not_told_apart():
    assert bytes_sent_again(told(got(1, -1), got(1, -1))) == 0


def test_a_simulated_worker_drops_nothing_that_is_needed_again():
    with reporting_fetches() as sent:
        trace = recorded(block_product(4), Machine(500_000, workers=3, costs=COSTS), "greedy")[1]
    assert sent
    assert bytes_sent_again(trace) == 0


# Simulated runs


@pytest.mark.parametrize("policy", ["stock", "greedy", "darts"])
def test_a_simulated_run_gives_back_about_what_it_was_made_of(policy: str):
    # Without a message's time, and with a large device, hardly any answer waits.
    costs = replace(COSTS, send=CopyCost(5e6, 1e-2))
    machine = Machine(limit=4_000_000, workers=3, costs=costs)
    with reporting_fetches() as sent:
        run, trace = recorded(block_product(4), machine, policy)
    fetches = list(trace.fetches())
    assert [(f.source, f.worker, f.arrays[0][0]) for f in fetches] == sent
    assert sum(each.nbytes for each in fetches) == run.bytes_sent
    found = fit_sends(fetches, list(trace.copies()))
    assert found is not None
    assert found.cost.bandwidth == pytest.approx(costs.send.bandwidth, rel=0.1)
    assert found.error < 0.1
