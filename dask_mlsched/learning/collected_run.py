"""One run of a cluster as something to learn from: its decisions, its DAG, and what it came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from dask_mlsched.core.calibration import Calibration, calibrate
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.dask_alone import dask_alone
from dask_mlsched.core.judgement import Gate, Survey, survey
from dask_mlsched.core.machine import SimulationError
from dask_mlsched.core.network import Network
from dask_mlsched.core.trace import Trace, TraceError
from dask_mlsched.core.trace_codec import decode
from dask_mlsched.learning.dag_digest import dag_digest
from dask_mlsched.learning.ended_run import EndedRun
from dask_mlsched.learning.family_suite import recorded_instance
from dask_mlsched.learning.fingerprint import fingerprint
from dask_mlsched.learning.instance import Instance, InstanceError
from dask_mlsched.learning.live_labels import Judging, LiveLabels, add_run
from dask_mlsched.learning.replay import ReplayBuffer
from dask_mlsched.learning.run_facts import RunFacts, run_facts

#: Decisions of one run that are judged, and seconds that this should take at most, about.
DECISIONS: Final = 200
JUDGING_SECONDS: Final = 30.0
LEAST_DECISIONS: Final = 10

#: Seconds for each action and task that is left, and actions of a decision.
_ROLLOUT_SECONDS: Final = 1e-5
_ACTIONS: Final = 10


@dataclass(frozen=True, eq=False)
class CollectedRun:
    """What became of a run."""

    labels: LiveLabels
    #: For the log.
    fields: dict[str, Any] = field(default_factory=dict)


def collect(
    buffer: ReplayBuffer,
    data: bytes,
    name: str,
    network: Network,
    find: Callable[[str], str | None],
    take_in: Callable[[EndedRun], None],
    go_on: Callable[[], None],
) -> CollectedRun:
    """Say what a run came to, and then add its decisions to the buffer.

    Parameters
    ----------
    data, name
        The trace, and the name of its file.
    network
        Goes on after each action that is tried.
    find
        Returns the version that has a network of this digest; None if there is none.
    take_in
        Takes what models are chosen and judged by, before decisions are judged: that takes long,
        and after a bad run the next one is to fare better. Not called if the run says nothing.
    go_on
        Called before each decision; raises BrokenPipeError if there is nobody to go on for.

    Raises
    ------
    OSError
        If the buffer cannot be written.
    Exception
        What `take_in` raises.
    """
    fields: dict[str, Any] = {"run": name}
    try:
        trace = decode(data)
        calibration = calibrate(trace, name)
        dag = calibration.taken.dag
        digest = dag_digest(dag)
        fields |= {"program": f"{digest:016x}", "tasks": len(dag)}
        facts = run_facts(trace, calibration, find)
        surveyed = survey(calibration, network)
        ended = _ended(trace, calibration, f"{digest:016x}", facts, surveyed.gate)
        fields |= {"error": round(surveyed.gate.error, 4), "model": facts.model}
    except Exception as error:  # noqa: BLE001 - one odd run must not stop those behind it
        return _rejected(error, fields)
    take_in(ended)
    try:
        labels = _judged(buffer, trace, calibration, surveyed, digest, network, go_on)
    except OSError:
        raise  # of the buffer, or nobody listens any more
    except Exception as error:  # noqa: BLE001 - as above
        return _rejected(error, fields)
    return CollectedRun(labels, fields)


def _rejected(error: Exception, fields: dict[str, Any]) -> CollectedRun:
    expected = isinstance(error, TraceError | SimulationError)
    reason = str(error) if expected else f"{type(error).__name__}: {error}"
    return CollectedRun(LiveLabels(None, 0, reason), fields)


def _judged(
    buffer: ReplayBuffer,
    trace: Trace,
    calibration: Calibration,
    surveyed: Survey,
    digest: int,
    network: Network,
    go_on: Callable[[], None],
) -> LiveLabels:
    tasks = len(calibration.taken.dag)
    affordable = JUDGING_SECONDS / (_ROLLOUT_SECONDS * _ACTIONS * max(1, tasks) / 2)
    decisions = max(LEAST_DECISIONS, min(DECISIONS, int(affordable)))
    return add_run(
        buffer,
        trace,
        calibration,
        Judging(network, decisions),
        family=digest,
        surveyed=surveyed,
        on_decision=lambda _: go_on(),
    )


def _ended(
    trace: Trace,
    calibration: Calibration,
    program: str,
    facts: RunFacts,
    gate: Gate,
) -> EndedRun:
    """Say what a run came to; what Dask alone would have, only if the simulation foretold it."""
    dag, live = calibration.taken.dag, calibration.live
    stock, moved, instance = 0.0, 0, None
    # Compiled runs have no Dask that decides alone: of such a run, the simulator's word counts.
    if gate.simulated > 0 and (gate.foretold if calibration.stock else gate.passed):
        order = np.arange(len(dag))
        simulated = dask_alone(dag, order, calibration.machine, calibration.settings)
        # What the simulation is off for the run as it was, it is off for Dask alone, too.
        stock = simulated.makespan * gate.live / gate.simulated
        moved = simulated.bytes_loaded + simulated.bytes_evicted
        instance = _instance(calibration, program)
    return EndedRun(
        fingerprint=fingerprint(dag),
        program=program,
        word=_commonest_prefix(dag),
        time=trace.header.started,
        model=facts.model,
        seconds=live.makespan,
        baseline_seconds=stock,
        instance=instance,
        bytes_moved=live.bytes_loaded + live.bytes_evicted,
        baseline_bytes=moved,
        held_share=facts.held_share,
        failures=facts.failures,
    )


def _instance(calibration: Calibration, program: str) -> Instance | None:
    try:
        return recorded_instance(calibration, "own run", program)
    except (InstanceError, SimulationError):
        return None  # there is nothing to win


def _commonest_prefix(dag: Dag) -> str:
    made = dag.prefix[~dag.given]
    if not len(made):
        return "graph"
    number, _ = Counter(made.tolist()).most_common(1)[0]
    return dag.prefixes[number]
