"""Holds ready tasks back on a Dask scheduler, and sends them off.

A parked task carries a worker restriction that no worker satisfies, so Dask
itself moves it to its `no-worker` state when its inputs are there. That needs
no private API, survives Dask's own validation, and parks a task again by itself
when it has to be computed a second time.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from dask_mlsched.extension.dask_versions import is_p2p_barrier

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskState

#: The restriction that parks. Compared by value: P2P shuffles copy and restore restrictions.
PARKED: Final[set[str]] = {"mlsched://parked"}

#: Why a task is left to Dask.
Unmanaged: TypeAlias = Literal["restricted", "actor", "p2p", "no run spec", "under way", "baseline"]


def is_ours(ts: TaskState) -> bool:
    """Tell whether the task carries our restriction and nobody else's."""
    return ts.worker_restrictions is PARKED or ts.worker_restrictions == PARKED


def restricted_besides(ts: TaskState) -> bool:
    """Tell whether a user restricts the task in a way that stands beside worker restrictions."""
    # Loose restrictions let Dask run the task anywhere, whatever its worker restrictions say.
    return bool(ts.host_restrictions or ts.resource_restrictions or ts.loose_restrictions)


def reason_to_leave(ts: TaskState) -> Unmanaged | None:
    """Say why a task must keep stock behaviour; None if it can be managed."""
    if ts.run_spec is None:
        return "no run spec"
    if ts.actor:
        return "actor"
    if ts.worker_restrictions or restricted_besides(ts):
        return "restricted"
    if ts.state in ("processing", "queued", "no-worker"):
        return "under way"
    if _belongs_to_p2p(ts):
        return "p2p"
    return None


def _belongs_to_p2p(ts: TaskState) -> bool:
    # A shuffle sets restrictions on the tasks around its barrier while it runs, and keeps the old
    # ones to put them back: two hands on the same field would undo each other.
    return (
        is_p2p_barrier(ts.run_spec)
        or any(is_p2p_barrier(dep.run_spec) for dep in ts.dependencies)
        or any(is_p2p_barrier(dep.run_spec) for dep in ts.dependents)
    )


def park(ts: TaskState) -> None:
    """Have the task parked as soon as it is ready."""
    ts.worker_restrictions = PARKED


def park_all(
    scheduler: Scheduler, tasks: Iterable[TaskState], stimulus_id: str
) -> list[tuple[TaskState, Unmanaged]]:
    """Park what can be managed; list what cannot, and why."""
    queued: list[TaskState] = []
    left: list[tuple[TaskState, Unmanaged]] = []
    for ts in tasks:
        if is_ours(ts):
            continue
        reason = reason_to_leave(ts)
        if reason is None:
            park(ts)
        elif ts.state == "queued":
            queued.append(ts)
        elif reason != "no run spec":
            left.append((ts, reason))
    if queued:
        adopt(scheduler, queued, stimulus_id)
    return left


def leave_all(tasks: Iterable[TaskState]) -> list[tuple[TaskState, Unmanaged]]:
    """List tasks that are all left to Dask, and why; "baseline" those that could be managed."""
    reasons = [(ts, reason_to_leave(ts) or "baseline") for ts in tasks]
    return [(ts, reason) for ts, reason in reasons if reason != "no run spec"]


def adopt(scheduler: Scheduler, tasks: Iterable[TaskState], stimulus_id: str) -> None:
    """Park tasks that Dask has queued: send them round through `released`."""
    recommendations: dict = {}  # type: ignore[type-arg]  # Dask's own alias is private
    for ts in tasks:
        park(ts)
        recommendations[ts.key] = "released"
    scheduler.transitions(recommendations, stimulus_id)


def dispatch(
    scheduler: Scheduler, choices: list[tuple[TaskState, str]], stimulus_id: str
) -> list[TaskState]:
    """Send parked tasks to their workers, in order.

    Returns
    -------
    list[TaskState]
        Those that Dask did not send: their worker has just left or paused.
    """
    targets = [{address} for _, address in choices]
    recommendations: dict = {}  # type: ignore[type-arg]
    # Dask works recommendations off from the end.
    for (ts, _), target in zip(reversed(choices), reversed(targets), strict=True):
        ts.worker_restrictions = target
        recommendations[ts.key] = "processing"
    try:
        scheduler.transitions(recommendations, stimulus_id)
    finally:
        for (ts, _), target in zip(choices, targets, strict=True):
            # Somebody may have set a restriction of their own in the meantime: theirs wins.
            if ts.worker_restrictions is target:
                ts.worker_restrictions = PARKED
    return [ts for ts, _ in choices if ts.state == "no-worker"]


def release_all(scheduler: Scheduler, stimulus_id: str) -> int:
    """Give every task that we restricted back to Dask; count those that were parked."""
    parked = []
    for ts in scheduler.tasks.values():
        if is_ours(ts):
            ts.worker_restrictions = None
            if ts.state == "no-worker":
                parked.append(ts)
    # Through `released`, so that Dask queues root tasks as it always does. Last in, first out.
    parked.sort(key=lambda ts: ts.priority or (), reverse=True)
    scheduler.transitions({ts.key: "released" for ts in parked}, stimulus_id)
    retry_others(scheduler, stimulus_id)
    return len(parked)


def retry_others(scheduler: Scheduler, stimulus_id: str) -> None:
    """Have Dask look again at tasks that wait for a worker and are not ours.

    Somebody may have changed the restriction of a task while it was parked. Dask does not look at
    such a task before a worker joins, and without us it would not have been waiting.
    """
    others = [ts.key for ts in scheduler.unrunnable if not is_ours(ts)]
    scheduler.transitions(dict.fromkeys(others, "processing"), stimulus_id)


def keep_alive(scheduler: Scheduler) -> None:
    """Set the clocks of `no-workers-timeout` back: a parked task is not waiting for a worker."""
    now = monotonic()
    for ts in [ts for ts in scheduler.unrunnable if is_ours(ts)]:
        # Dask wants the times in order of insertion.
        del scheduler.unrunnable[ts]
        scheduler.unrunnable[ts] = now
