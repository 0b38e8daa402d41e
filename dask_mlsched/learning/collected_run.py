"""One run of a cluster as something to learn from: its decisions, and its DAG for the suite."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from dask_mlsched.core.calibration import calibrate
from dask_mlsched.core.machine import SimulationError
from dask_mlsched.core.network import Network
from dask_mlsched.core.trace import TraceError
from dask_mlsched.core.trace_codec import decode
from dask_mlsched.learning.dag_digest import dag_digest
from dask_mlsched.learning.live_labels import Judging, LiveLabels, add_run
from dask_mlsched.learning.training_folder import TrainingFolder

#: Decisions of one run that are judged, and seconds that this should take at most, about.
DECISIONS: Final = 200
JUDGING_SECONDS: Final = 30.0
LEAST_DECISIONS: Final = 10

#: Seconds for each action and task that is left, and actions of a decision.
_ROLLOUT_SECONDS: Final = 1e-5
_ACTIONS: Final = 10


@dataclass(frozen=True)
class CollectedRun:
    """What became of a run."""

    labels: LiveLabels
    #: For the journal.
    fields: dict[str, Any]


def collect(
    folder: TrainingFolder,
    data: bytes,
    name: str,
    network: Network,
    go_on: Callable[[], None],
) -> CollectedRun:
    """Add the decisions of a run to the buffer, and its DAG to the suite if it is new.

    Parameters
    ----------
    data, name
        The trace, and the name of its file.
    network
        Goes on after each action that is tried.
    go_on
        Called before each decision; raises BrokenPipeError if there is nobody to go on for.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    fields: dict[str, Any] = {"run": name}
    try:
        labels = _judged(folder, data, name, network, go_on, fields)
    except (TraceError, SimulationError) as error:
        labels = LiveLabels(None, 0, str(error))
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - one odd run must not stop those behind it
        labels = LiveLabels(None, 0, f"{type(error).__name__}: {error}")
    if labels.survey is not None:
        fields["error"] = round(labels.survey.gate.error, 4)
    return CollectedRun(labels, fields)


def _judged(
    folder: TrainingFolder,
    data: bytes,
    name: str,
    network: Network,
    go_on: Callable[[], None],
    fields: dict[str, Any],
) -> LiveLabels:
    trace = decode(data)
    calibration = calibrate(trace, name)
    dag = calibration.taken.dag
    digest = dag_digest(dag)
    fields |= {"program": f"{digest:016x}", "tasks": len(dag)}
    affordable = JUDGING_SECONDS / (_ROLLOUT_SECONDS * _ACTIONS * max(1, len(dag)) / 2)
    decisions = max(LEAST_DECISIONS, min(DECISIONS, int(affordable)))
    found = add_run(
        folder.buffer,
        trace,
        calibration,
        Judging(network, decisions),
        family=digest,
        on_decision=lambda _: go_on(),
    )
    if found.rejected is None:
        fields["suite"] = folder.suite.offer(digest, calibration)
    return found
