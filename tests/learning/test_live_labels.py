"""Labels of recorded runs: what gets into the buffer, and what does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.recorded_simulations import COSTS, block_product, recorded
from dask_mlsched.core import features
from dask_mlsched.core.calibration import Calibration, calibrate
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.judgement import judge, median_task_seconds, survey
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.scores import FEWEST_MISSING, score
from dask_mlsched.core.trace import Trace
from dask_mlsched.learning.live_labels import Judging, add_run, run_number
from dask_mlsched.learning.replay import ReplayBuffer

MACHINE = Machine(limit=600_000, costs=COSTS)
DAG = block_product(3)
JUDGING = Judging(FEWEST_MISSING, decisions=12)


def recording(policy: str = "random", dag: Dag = DAG) -> tuple[Trace, Calibration]:
    trace = recorded(dag, MACHINE, policy)[1]
    return trace, calibrate(trace)


def at(trace: Trace, started: float) -> Trace:
    return replace(trace, header=replace(trace.header, started=started))


@pytest.fixture
def buffer(tmp_path: Path) -> Iterator[ReplayBuffer]:
    with ReplayBuffer.create(tmp_path / "b", features.NAMES, 64) as buffer:
        yield buffer


def test_decisions_come_with_what_they_cost(buffer: ReplayBuffer):
    trace, calibration = recording()
    found = add_run(buffer, trace, calibration, JUDGING)
    assert (found.added, found.rejected) == (12, None)
    records = buffer.records(labelled=True)
    assert len(records) == 12
    rng = np.random.default_rng(0)
    numbers = survey(calibration, FEWEST_MISSING).sample(12, rng)
    median = median_task_seconds(calibration.taken.dag)
    judgements = judge(calibration, FEWEST_MISSING, numbers)
    for record, expected in zip(records, judgements, strict=True):
        n = record["actions"]
        assert n == len(expected.costs)
        np.testing.assert_array_equal(record["features"][:n], expected.decision.features)
        np.testing.assert_allclose(record["costs"][:n], expected.costs / median, rtol=1e-6)
        assert np.isnan(record["costs"][n:]).all()
        assert record["taken"] == expected.taken
        assert record["has_hold"] == expected.decision.may_hold


def test_records_tell_where_they_come_from(buffer: ReplayBuffer):
    trace, calibration = recording()
    trace = at(trace, 1e9)
    add_run(buffer, trace, calibration, JUDGING, family=7)
    records = buffer.records()
    assert set(records["run"].tolist()) == {run_number(trace.header)}
    assert set(records["family"].tolist()) == {7}
    assert buffer.info().live == 12
    assert np.all(records["time"] >= 1e9)
    assert np.all(records["time"] < 1e9 + calibration.live.makespan)
    assert np.all(np.diff(records["time"]) >= 0)
    assert set(records["median_task_seconds"].tolist()) == {
        median_task_seconds(calibration.taken.dag)
    }


def test_simulated_runs_are_marked_so(buffer: ReplayBuffer):
    add_run(buffer, *recording(), JUDGING, source="simulated")
    assert (buffer.info().live, buffer.info().simulated) == (0, 12)


def test_the_propensity_is_that_of_the_record(buffer: ReplayBuffer):
    trace, calibration = recording("greedy")
    sent = [replace(each, propensity=0.5) for each in calibration.taken.sent]
    unsure = replace(calibration, taken=replace(calibration.taken, sent=sent))
    add_run(buffer, trace, unsure, JUDGING)
    np.testing.assert_allclose(buffer.records()["log_propensity"], np.log(0.5))


def test_a_run_that_the_gate_refuses_adds_nothing(buffer: ReplayBuffer):
    trace, calibration = recording()
    slow = replace(calibration.live, makespan=3 * calibration.live.makespan)
    found = add_run(buffer, trace, replace(calibration, live=slow), JUDGING)
    assert found.added == 0
    assert found.rejected is not None
    assert "expected 10% at most" in found.rejected
    assert found.survey is not None
    assert not found.survey.gate.passed
    assert len(buffer) == 0


def test_a_run_is_added_once(buffer: ReplayBuffer):
    trace, calibration = recording()
    add_run(buffer, trace, calibration, JUDGING)
    again = add_run(buffer, trace, calibration, JUDGING)
    assert (again.added, again.rejected) == (0, "it is in the buffer already")
    assert len(buffer) == 12
    assert add_run(buffer, at(trace, 5.0), calibration, JUDGING).added == 12
    assert buffer.info().runs == 2


def test_tasks_that_take_no_time_give_no_unit(buffer: ReplayBuffer):
    still = Dag.build(
        "still", [DagTask(key, (), 300_000, 0.0, "p", wanted=True) for key in "abcdef"]
    )
    trace, calibration = recording("greedy", still)
    found = add_run(buffer, trace, calibration, JUDGING)
    assert found.rejected == "its tasks take no time, so costs have no unit"


def test_a_machine_that_a_task_does_not_fit_is_refused(buffer: ReplayBuffer):
    trace, calibration = recording()
    small = replace(calibration, machine=replace(calibration.machine, limit=1_000))
    found = add_run(buffer, trace, small, JUDGING)
    assert found.survey is None
    assert found.rejected is not None
    assert "the device memory is 1000 bytes" in found.rejected


def test_short_runs_give_what_they_have(buffer: ReplayBuffer):
    trace, calibration = recording("greedy", block_product(2))
    known = survey(calibration, FEWEST_MISSING)
    found = add_run(buffer, trace, calibration, replace(JUDGING, decisions=1_000))
    assert found.added == len(known.recorded) < 64


def test_the_same_seed_takes_the_same_decisions(tmp_path: Path):
    trace, calibration = recording()
    drawn = []
    for number, seed in enumerate((1, 1, 2)):
        with ReplayBuffer.create(tmp_path / str(number), features.NAMES, 64) as buffer:
            add_run(buffer, trace, calibration, replace(JUDGING, seed=seed))
            drawn.append(buffer.records()["time"].tolist())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_clairvoyant_has_its_say(tmp_path: Path):
    trace, calibration = recording()
    costs = []
    for number, beta in enumerate((0.0, 1.0)):
        with ReplayBuffer.create(tmp_path / str(number), features.NAMES, 64) as buffer:
            judging = replace(JUDGING, clairvoyant=score(missing=1.0), beta=beta)
            add_run(buffer, trace, calibration, judging)
            costs.append(buffer.records()["costs"])
    assert not np.allclose(costs[0], costs[1], equal_nan=True)


def test_progress_goes_up_to_all(buffer: ReplayBuffer):
    shares: list[float] = []
    add_run(buffer, *recording(), JUDGING, on_decision=shares.append)
    assert shares == pytest.approx(np.arange(1, 13) / 12)


def test_runs_have_numbers_of_their_own():
    header = recording()[0].header
    assert run_number(header) == run_number(replace(header))
    assert run_number(header) != run_number(replace(header, started=1.0))
    assert 0 <= run_number(header) < 2**63
