"""The network's policy: live it decides as in a compiled run, and it survives what happens live."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.compiled.test_rollout import Case, cases
from dask_mlsched.core import features
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.network import Network, linear
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.core.planners.planner import Planner
from dask_mlsched.core.simulator import SimulatedRun, simulate


@st.composite
def networks(draw: st.DrawFn) -> Network:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    weights = rng.standard_normal(features.COUNT)
    weights[features.NAMES.index("missing")] = -3.0
    return linear(weights, scale=np.full(features.COUNT, 0.3))


def live(case: Case, network: Network) -> tuple[SimulatedRun, Controller]:
    """Let the simulator drive the live policy."""
    made: list[Controller] = []

    def make(*arguments: object) -> Controller:
        made.append(Controller(*arguments))  # type: ignore[arg-type]  # the simulator's
        return made[0]

    rng = None if case.seed is None else np.random.default_rng(case.seed)
    run = simulate(
        case.dag,
        case.machine,
        Learned(network),
        order=case.order,
        settings=case.settings,
        rng=rng,
        controller=make,
    )
    return run, made[0]


@given(cases(), networks())
@settings(max_examples=150, deadline=None)
def test_it_decides_live_as_in_a_compiled_run(case: Case, network: Network) -> None:
    run, controller = live(case, network)
    guard = controller.chooser.guard
    assert guard is not None
    assert guard.failures == 0, guard.last_failure
    rng = None if case.seed is None else np.random.default_rng(case.seed)
    rollout = Rollout(case.dag, case.machine, case.settings, case.order, network, rng=rng)
    figures = rollout.run()
    for record in run.schedule:
        assert rollout.arrays["begun"][record.task] == pytest.approx(record.start)
    assert (figures.bytes_loaded, figures.bytes_evicted) == (run.bytes_loaded, run.bytes_evicted)
    assert figures.holds == run.holds


def test_it_is_a_planner() -> None:
    assert isinstance(Learned(linear(np.zeros(features.COUNT))), Planner)
