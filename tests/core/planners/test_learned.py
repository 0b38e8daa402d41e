"""The network's policy: live it decides as in a compiled run, and it survives what happens live."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from core.compiled.test_rollout import Case, cases
from core.recorded_simulations import MACHINE_LIMIT, block_product
from core.rollouts import COPY, MOST_MISSING
from dask_mlsched.core import events as ev
from dask_mlsched.core import features
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.compiled.rollout import Rollout
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.costs import Costs
from dask_mlsched.core.dag import Integers
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.network import Network, linear
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.core.planners.planner import Planner
from dask_mlsched.core.scores import FEWEST_MISSING
from dask_mlsched.core.simulator import SimulatedRun, simulate


@st.composite
def networks(draw: st.DrawFn) -> Network:
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    weights = rng.standard_normal(features.COUNT)
    weights[features.NAMES.index("missing")] = -3.0
    return linear(weights, scale=np.full(features.COUNT, 0.3))


def live(
    case: Case, network: Network, guide: Integers | None = None
) -> tuple[SimulatedRun, Controller]:
    """Let the simulator drive the live policy."""
    made: list[Controller] = []
    policy = Learned(network)
    if guide is not None:
        policy.serve(network, may_hold=True, guide=dict(enumerate(guide.tolist())))

    def make(*arguments: object) -> Controller:
        made.append(Controller(*arguments))  # type: ignore[arg-type]  # the simulator's
        return made[0]

    rng = None if case.seed is None else np.random.default_rng(case.seed)
    run = simulate(
        case.dag,
        case.machine,
        policy,
        order=case.order,
        settings=case.settings,
        rng=rng,
        controller=make,
    )
    return run, made[0]


@given(cases(), networks(), st.none() | st.integers(0, 99))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_it_decides_live_as_in_a_compiled_run(
    case: Case, network: Network, seed: int | None
) -> None:
    # With several workers, what happens at one moment is not heard of in the same order, and
    # either order is as good: tasks must take time, and no two of them the same (there is noise).
    computes = case.dag.seconds[~case.dag.given] > 0
    assume(case.machine.workers == 1 or (bool(computes.all()) and case.seed is not None))
    guide = None if seed is None else np.random.default_rng(seed).permutation(len(case.dag))
    run, controller = live(case, network, guide)
    guard = controller.chooser.guard
    assert guard is not None
    assert guard.failures == 0, guard.last_failure
    rng = None if case.seed is None else np.random.default_rng(case.seed)
    rollout = Rollout(
        case.dag, case.machine, case.settings, case.order, network, guide=guide, rng=rng
    )
    figures = rollout.run()
    for record in run.schedule:
        assert rollout.arrays["begun"][record.task] == pytest.approx(record.start)
    assert (figures.bytes_loaded, figures.bytes_evicted) == (run.bytes_loaded, run.bytes_evicted)
    assert figures.holds == run.holds


def test_it_is_a_planner() -> None:
    assert isinstance(Learned(linear(np.zeros(features.COUNT))), Planner)


def test_a_network_without_a_preference_follows_its_guide() -> None:
    dag = block_product(4)
    machine = Machine(MACHINE_LIMIT, costs=Costs(COPY, COPY, COPY))
    case = Case(dag, machine, Settings(bandwidth=COPY.bandwidth), np.arange(len(dag)))
    flat = linear(np.zeros(features.COUNT))
    # What is ready at once, the other way round.
    backwards = np.arange(len(dag))[::-1].copy()
    roots = [task for task in range(len(dag)) if dag.starts[task] == dag.starts[task + 1]]
    computed = [task for task in roots if not dag.given[task]]
    run, _ = live(case, flat, backwards)
    first = [record.task for record in run.schedule if record.task in computed]
    assert first[0] == max(computed)
    assert first != [record.task for record in live(case, flat)[0].schedule][: len(first)]


def test_a_guide_may_know_of_some_tasks_only_and_of_others_that_are_not_there() -> None:
    dag = block_product(3)
    machine = Machine(MACHINE_LIMIT, costs=Costs(COPY, COPY, COPY))
    policy = Learned(FEWEST_MISSING)
    policy.serve(FEWEST_MISSING, may_hold=True, guide={len(dag) + 5: 0, 2: 1, 1: 2})
    chosen = Settings(bandwidth=COPY.bandwidth)
    run = simulate(dag, machine, policy, order=np.arange(len(dag)), settings=chosen)
    assert sorted(record.task for record in run.schedule) == np.flatnonzero(~dag.given).tolist()


def test_another_network_can_take_over_in_the_middle_of_a_run() -> None:
    dag = block_product(4)
    policy = Learned(FEWEST_MISSING)
    machine = Machine(MACHINE_LIMIT, costs=Costs(COPY, COPY, COPY))
    chosen = Settings(bandwidth=COPY.bandwidth)
    order = np.arange(len(dag))

    class Switching(Controller):
        """Switches when half of the tasks have finished."""

        finished = 0

        def _task_finished(self, event: ev.TaskFinished) -> None:
            self.finished += 1
            if self.finished == len(dag) // 2:
                policy.serve(MOST_MISSING, may_hold=False)
            super()._task_finished(event)

    def run(controller: type[Controller]) -> SimulatedRun:
        return simulate(dag, machine, policy, order=order, settings=chosen, controller=controller)

    nearest = [record.task for record in run(Controller).schedule]
    switched = [record.task for record in run(Switching).schedule]
    assert policy.network is MOST_MISSING
    assert switched[: len(dag) // 2] == nearest[: len(dag) // 2]
    assert switched != nearest


def test_tasks_submitted_one_by_one_do_not_each_go_over_all_that_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured: list[int] = []
    measure = features.measure_levels_of
    monkeypatch.setattr(
        features,
        "measure_levels_of",
        lambda tables, tasks: (measured.append(len(tasks)), measure(tables, tasks)),
    )
    controller = Controller(Learned(FEWEST_MISSING), Settings(time_budget=100.0), lambda: 0.0)
    controller.handle(ev.WorkerJoined(0.0, 0, 1, 100))
    for task in range(200):
        controller.handle(ev.GraphArrived(0.0, (ev.TaskSpec(task, (), (0, task, 0), 0),)))
        controller.handle(ev.TaskReady(0.0, task))
        controller.handle(ev.Decide(0.0))
    assert len(measured) > 0
    assert sum(measured) < 20 * 200
