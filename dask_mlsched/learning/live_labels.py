"""Recorded runs as something to learn from: their decisions, and what each action would have cost.

Every run has to pass the gate of `dask_mlsched.core.judgement`; one that does not adds nothing, and
is counted. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dask_mlsched.core import hindsight
from dask_mlsched.core.calibration import Calibration
from dask_mlsched.core.judgement import Judgement, Survey, judge, median_task_seconds, survey
from dask_mlsched.core.machine import SimulationError
from dask_mlsched.core.network import Network
from dask_mlsched.core.trace import Header, Trace
from dask_mlsched.learning.decision_record import DecisionRecord, Source
from dask_mlsched.learning.replay import ReplayBuffer

#: Called with the share of a run's decisions that have been judged.
OnDecision = Callable[[float], None]


@dataclass(frozen=True)
class Judging:
    """How recorded decisions are judged, and how many of each run."""

    #: The current policy, which goes on after each action.
    network: Network
    #: Drawn at random.
    decisions: int = 200
    #: See `hindsight.costs`.
    clairvoyant: Network | None = None
    beta: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class LiveLabels:
    """What a recorded run has added to a replay buffer."""

    #: None if it could not be surveyed.
    survey: Survey | None
    #: Decisions, with the cost of each action.
    added: int
    #: Why the run was thrown away; None if it was not.
    rejected: str | None = None


def add_run(
    buffer: ReplayBuffer,
    trace: Trace,
    calibration: Calibration,
    judging: Judging,
    *,
    family: int = 0,
    source: Source = "live",
    surveyed: Survey | None = None,
    on_decision: OnDecision | None = None,
) -> LiveLabels:
    """Judge decisions of a recorded run, and add them with their costs to a buffer.

    It takes about ten microseconds for each decision, action and task that is left.

    Parameters
    ----------
    buffer
        Open for writing; its features are those of `dask_mlsched.core.features`.
    trace, calibration
        The run, and what `calibrate` makes of it.
    judging
        How its decisions are judged.
    family, source
        For the records.
    surveyed
        What `survey` found with the network of `judging`; found here by default.
    on_decision
        Is told how far it is.

    Raises
    ------
    dask_mlsched.learning.replay_file.ReplayError
        If the buffer is open for reading.
    """
    run = run_number(trace.header)
    if buffer.holds_run(run):
        return LiveLabels(None, 0, "it is in the buffer already")
    try:
        found = surveyed or survey(calibration, judging.network)
    except SimulationError as error:
        return LiveLabels(None, 0, str(error))
    median = median_task_seconds(calibration.taken.dag)
    if not found.gate.passed:
        return LiveLabels(found, 0, found.gate.verdict)
    if not median:
        return LiveLabels(found, 0, "its tasks take no time, so costs have no unit")
    rng = np.random.default_rng(judging.seed)
    numbers = found.sample(judging.decisions, rng)
    judgements = judge(
        calibration,
        judging.network,
        numbers,
        clairvoyant=judging.clairvoyant,
        beta=judging.beta,
        rng=rng,
    )
    for done, judgement in enumerate(judgements, 1):
        record = record_of(
            judgement,
            median,
            run=run,
            family=family,
            source=source,
            started=trace.header.started,
        )
        buffer.label(buffer.add(record), hindsight.normalised(judgement.costs, median))
        if on_decision is not None:
            on_decision(done / len(numbers))
    return LiveLabels(found, len(numbers))


def record_of(
    judgement: Judgement,
    median_task_seconds: float,
    *,
    run: int,
    family: int,
    source: Source,
    started: float,
) -> DecisionRecord:
    """Make a record of a judged decision; its costs are added apart.

    Parameters
    ----------
    started
        When the run began, in seconds since the epoch.
    """
    decision = judgement.decision
    return DecisionRecord(
        features=decision.features,
        has_hold=decision.may_hold,
        taken=judgement.taken,
        log_propensity=math.log(judgement.choice.propensity),
        worker=decision.worker,
        time=started + decision.time,
        run=run,
        family=family,
        median_task_seconds=median_task_seconds,
        source=source,
    )


def run_number(header: Header) -> int:
    """Return a number of 63 bits that tells runs apart: what made the controller, and when."""
    digest = hashlib.blake2b(repr(header).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
