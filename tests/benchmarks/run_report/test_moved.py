"""Bytes over time: measured, and of Dask alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.recorded_simulations import COSTS, block_product, recorded
from dask_mlsched.benchmarks.run_report.moved import (
    POINTS,
    Moved,
    measured,
    simulated_alone,
)
from dask_mlsched.core.calibration import calibrate
from dask_mlsched.core.machine import Machine

DAG = block_product(3)


def test_bytes_add_up_from_nothing_to_the_end():
    moved = Moved.of([(2.0, 10), (1.0, 5)], 4.0)
    assert moved.times.tolist() == [0.0, 1.0, 2.0, 4.0]
    assert moved.nbytes.tolist() == [0, 5, 15, 15]


def test_where_nothing_moved_nothing_is_drawn_but_the_ground():
    moved = Moved.of([], 3.0)
    assert (moved.times.tolist(), moved.nbytes.tolist()) == ([0.0, 3.0], [0, 0])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.floats(-1, 11), st.integers(0, 100)), max_size=50))
def test_curves_begin_at_nothing_never_fall_and_end_with_all(copies: list[tuple[float, int]]):
    moved = Moved.of(copies, 10.0)
    assert moved.times[0] == moved.nbytes[0] == 0
    assert np.all(np.diff(moved.times) >= 0)
    assert np.all(np.diff(moved.nbytes) >= 0)
    assert (moved.times[-1], moved.nbytes[-1]) == (10.0, sum(nbytes for _, nbytes in copies))


def test_long_curves_have_fewer_points_and_the_same_shape():
    copies = [(place / 10_000, 7) for place in range(100_000)]
    moved = Moved.of(copies, 10.0)
    assert len(moved.times) <= POINTS
    assert moved.nbytes[-1] == 700_000
    expected = moved.times * 70_000
    assert np.abs(moved.nbytes - expected).max() <= 700_000 / (POINTS - 2) + 7


def test_the_bytes_of_a_run_are_those_that_workers_reported():
    run, trace = recorded(DAG, Machine(600_000, costs=COSTS), "random")
    found = measured(trace, calibrate(trace))
    assert found.loaded.nbytes[-1] == run.bytes_loaded == found.figures.bytes_loaded > 0
    assert found.evicted.nbytes[-1] == run.bytes_evicted == found.figures.bytes_evicted > 0
    assert found.loaded.times[-1] == found.figures.makespan


def test_dask_alone_is_what_dask_alone_came_to():
    # A run that Dask decided, simulated as Dask alone: what it is compared with is itself.
    run, trace = recorded(DAG, Machine(600_000, costs=COSTS), "stock")
    alone = simulated_alone(calibrate(trace))
    assert alone.figures.makespan == pytest.approx(run.makespan, rel=0.05)
    assert alone.loaded.nbytes[-1] == alone.figures.bytes_loaded
    assert alone.loaded.nbytes[-1] == pytest.approx(run.bytes_loaded, rel=0.2)
    assert alone.evicted.nbytes[-1] == pytest.approx(run.bytes_evicted, rel=0.2)
