"""The cost model: fits that find what made the samples, and bounds that hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dask_mlsched.core.costs import (
    CopyCost,
    Costs,
    bounds,
    critical_path,
    fit_compute,
    fit_copies,
    product_bound,
)
from dask_mlsched.core.dag import Dag, DagTask


def samples(bandwidth: float, latency: float, count: int = 200) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(0)
    nbytes = rng.uniform(1e4, 1e7, count)
    return nbytes.tolist(), (latency + nbytes / bandwidth).tolist()


def test_a_copy_takes_latency_and_its_bytes_over_bandwidth():
    assert CopyCost(bandwidth=100.0, latency=0.5).seconds(200) == 2.5
    assert CopyCost().seconds(10**12) == 0.0


@given(bandwidth=st.floats(1e6, 1e11), latency=st.floats(0, 0.01))
def test_a_fit_finds_what_made_the_samples(bandwidth: float, latency: float):
    fit = fit_copies(*samples(bandwidth, latency))
    assert fit.cost.bandwidth == pytest.approx(bandwidth, rel=1e-6)
    assert fit.cost.latency == pytest.approx(latency, rel=1e-3, abs=1e-7)
    assert fit.error < 1e-3
    assert fit.samples == 200


def test_a_fit_is_not_moved_by_outliers():
    nbytes, seconds = samples(1e9, 1e-4)
    rng = np.random.default_rng(1)
    # A quarter of all copies waited for something else.
    waited = [s + (rng.exponential(1.0) if i % 4 == 0 else 0.0) for i, s in enumerate(seconds)]
    fit = fit_copies(nbytes, waited)
    assert fit.cost.bandwidth == pytest.approx(1e9, rel=0.1)
    least_squares = 1 / np.polyfit(nbytes, waited, 1)[0]
    assert abs(fit.cost.bandwidth - 1e9) < abs(least_squares - 1e9)


@given(rate=st.floats(1e6, 1e11), latency=st.floats(0, 0.01))
def test_computing_is_fitted_to_bytes(rate: float, latency: float):
    nbytes, seconds = samples(rate, latency)
    fit = fit_compute(nbytes, seconds)
    assert fit.seconds(5e6) == pytest.approx(latency + 5e6 / rate, rel=1e-6, abs=1e-9)
    assert fit.error < 1e-3
    assert fit.samples == 200


def test_tasks_of_one_size_take_the_median():
    fit = fit_compute([100.0] * 5, [1.0, 2.0, 3.0, 4.0, 90.0])
    assert (fit.seconds(100), fit.seconds(10**6)) == (3.0, 3.0)
    assert fit.error == pytest.approx(0.5)


def test_larger_tasks_do_not_take_less():
    fit = fit_compute([100.0, 200.0, 300.0], [3.0, 2.0, 1.0])
    assert (fit.seconds(100), fit.seconds(1000)) == (2.0, 2.0)


def test_no_task_takes_less_than_nothing():
    fit = fit_compute([100.0, 200.0, 400.0], [0.0, 2.0, 6.0])
    assert fit.seconds(0) == 0.0
    assert fit.seconds(200) == pytest.approx(2.0)


@pytest.mark.parametrize(("nbytes", "seconds"), [([], []), ([1.0], []), ([1.0], [-1.0])])
def test_what_cannot_be_fitted_is_one_line(nbytes: list[float], seconds: list[float]):
    with pytest.raises(ValueError, match=r"to fit computing to; expected as many") as info:
        fit_compute(nbytes, seconds)
    assert "\n" not in str(info.value)


def test_the_error_is_the_median_relative_one():
    nbytes, seconds = samples(1e9, 0.0)
    off = [s * (1.1 if i % 2 else 0.9) for i, s in enumerate(seconds)]
    fit = fit_copies(nbytes, off)
    errors = [abs(fit.cost.seconds(n) - s) / s for n, s in zip(nbytes, off, strict=True)]
    assert fit.error == pytest.approx(float(np.median(errors)))
    assert 0.05 < fit.error < 0.12


def test_from_copies_of_one_size_there_is_no_latency():
    fit = fit_copies([1e6] * 10, [1e-3] * 10)
    assert (fit.cost.bandwidth, fit.cost.latency) == (pytest.approx(1e9), 0.0)


def test_a_single_copy_is_enough():
    assert fit_copies([100.0], [2.0]).cost.bandwidth == 50.0


def test_many_samples_are_thinned_out():
    assert fit_copies(*samples(1e9, 1e-4, 20_000)).samples == 20_000


@pytest.mark.parametrize(
    ("nbytes", "seconds"), [([], []), ([1.0], []), ([0.0], [1.0]), ([1.0], [0.0])]
)
def test_there_must_be_something_to_fit(nbytes: list[float], seconds: list[float]):
    with pytest.raises(ValueError, match="expected as many of both, at least one, all above 0"):
        fit_copies(nbytes, seconds)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, math.nan])
def test_a_bandwidth_is_above_zero(bandwidth: float):
    with pytest.raises(ValueError, match="expected more than 0 bytes per second"):
        CopyCost(bandwidth=bandwidth)


def test_times_are_finite_and_not_negative():
    with pytest.raises(ValueError, match=r"a latency of -1"):
        CopyCost(latency=-1)
    with pytest.raises(ValueError, match=r"noise is nan; expected a finite number, 0 or more"):
        Costs(noise=math.nan)


# Bounds


def dag() -> Dag:
    """Two given arrays of 10 bytes, one read; a chain of 1 and 2 seconds beside one of 4."""
    return Dag.build(
        "bounds",
        [
            DagTask("g-0", [], 10, 0.0, "g", given=True),
            DagTask("g-1", [], 10, 0.0, "g", given=True),
            DagTask("a", ["g-0"], 30, 1.0, "a"),
            DagTask("b", ["a"], 50, 2.0, "b"),
            DagTask("c", [], 20, 4.0, "c"),
        ],
    )


def test_the_critical_path_is_the_longest_chain():
    assert critical_path(dag()) == 4.0
    assert critical_path(Dag.build("empty", [])) == 0.0


def test_bytes_are_what_must_come_in_and_what_wanted_results_have_no_room_for():
    least = bounds(dag(), 60, Costs(), workers=1, threads=1)
    # g-0 comes in; b and c are wanted, 70 bytes where 60 have room.
    assert (least.bytes_loaded, least.bytes_moved) == (10, 20)
    assert bounds(dag(), None, Costs(), workers=1, threads=1).bytes_moved == 10
    assert bounds(dag(), 60, Costs(), workers=2, threads=1).bytes_moved == 10


def test_arrays_that_may_be_resident_already_bound_no_loads_and_no_time():
    slow = Costs(load=CopyCost(1.0), evict=CopyCost(2.0))
    least = bounds(dag(), 60, slow, workers=1, threads=1, given_resident=True)
    assert (least.bytes_loaded, least.bytes_moved, least.makespan) == (0, 10, 7.0)


def test_the_makespan_is_the_largest_of_computing_copying_and_the_longest_chain():
    slow = Costs(load=CopyCost(1.0), evict=CopyCost(2.0))
    assert bounds(dag(), 60, Costs(), workers=1, threads=1).makespan == 7.0
    assert bounds(dag(), 60, Costs(), workers=2, threads=1).makespan == 4.0
    assert bounds(dag(), 60, slow, workers=1, threads=1).makespan == 10 / 1 + 10 / 2


def test_the_bound_of_a_product_is_that_of_its_paper():
    assert product_bound(1728, 36) == 2 * 1728 / 6 - 72
    assert product_bound(8, 1000) == 0.0
