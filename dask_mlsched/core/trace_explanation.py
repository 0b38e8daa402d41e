"""What became of one task in a recorded run, and why: as the plugin tells it of a run at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dask_mlsched.core import events as ev
from dask_mlsched.core.policies import Situation
from dask_mlsched.core.recent_choices import PassedOver, passed_over
from dask_mlsched.core.trace import Names, PolicySwitched, Step, Trace

#: So many keys are listed where one is asked for that is not in the trace.
_SIMILAR: Final = 5


@dataclass
class _Found:
    """What was found so far about the task."""

    key: str
    #: The number and the priority that it has, once it is known.
    number: int | None = None
    priority: ev.Priority = ()
    state: str = "unknown"
    run: ev.Run | None = None
    policy: str = ""


def explain_in_trace(trace: Trace, key: str) -> dict[str, Any]:
    """Describe what became of a task.

    Parameters
    ----------
    key
        As text. Of one that was submitted again, the last time counts.

    Returns
    -------
    dict
        As `dask_mlsched.extension.explanation.Explanation` takes it. A task that is not there comes
        with keys that are, and in which what was asked for occurs.
    """
    found = _Found(key)
    tasks: dict[int, str] = {}
    workers: dict[int, str] = {}
    similar: dict[str, None] = {}
    policy = trace.header.policy
    choices: list[tuple[Situation, int]] = []
    instead: tuple[str | None, str | None] = (None, None)
    for entry in trace.entries:
        if isinstance(entry, Names):
            tasks.update(entry.tasks)
            workers.update(entry.workers)
            similar.update((name, None) for _, name in entry.tasks if key in name)
        elif isinstance(entry, PolicySwitched):
            policy = entry.policy
        elif isinstance(entry, Step):
            _follow(found, entry, tasks, policy)
            for decision in entry.decisions:
                situation, chosen = decision.situation, decision.chosen
                if chosen is not None and _passes_over(situation, chosen, found.number):
                    choices.append((situation, chosen))
                    instead = _names(situation, chosen, tasks)
    if found.number is None:
        return {"key": key, "state": "unknown", "similar": list(similar)[:_SIMILAR]}
    answer: dict[str, Any] = {"key": key, "state": found.state}
    if found.run is not None:
        answer["decision"] = _decision(found.run, found.policy, workers)
    passed = passed_over(choices, found.number, found.priority)
    if passed is not None:
        answer["passed_over"] = _passed(passed, instead, workers)
    return answer


def _follow(found: _Found, step: Step, tasks: dict[int, str], policy: str) -> None:
    """Bring what is known of the task up to an event."""
    event = step.event
    if isinstance(event, ev.GraphArrived):
        for spec in event.tasks:
            if tasks.get(spec.task) == found.key:
                found.number, found.priority = spec.task, spec.priority
                found.state, found.run = "waiting", None
        return
    if found.number is None or tasks.get(found.number) != found.key:
        return  # not known yet, or forgotten, and its number is another task's
    if getattr(event, "task", None) == found.number:
        found.state = _STATES.get(type(event), found.state)
    for each in step.instructions:
        if isinstance(each, ev.Run) and each.task == found.number:
            found.run, found.policy = each, policy


#: What a task is after an event about it, as Dask calls it.
_STATES: Final[dict[type, str]] = {
    ev.TaskReady: "parked",
    ev.TaskWithdrawn: "waiting",
    ev.TaskStarted: "processing",
    ev.TaskStopped: "waiting",
    ev.TaskFinished: "memory",
    ev.ArrayAppeared: "memory",
    ev.ArrayReleased: "released",
    ev.TaskForgotten: "forgotten",
}


def _names(
    situation: Situation, chosen: int, tasks: dict[int, str]
) -> tuple[str | None, str | None]:
    """Name what was taken and what a hold waited for, as numbers stand then."""
    if chosen < len(situation.candidates):
        return tasks.get(situation.candidates[chosen].task), None
    return None, None if situation.hold is None else tasks.get(situation.hold.successor)


def _decision(run: ev.Run, policy: str, workers: dict[int, str]) -> dict[str, Any]:
    return {
        "policy": policy,
        "worker": workers.get(run.worker, str(run.worker)),
        "reason": run.reason,
        "missing_bytes": run.missing_bytes,
        "candidates": run.candidates,
        "place_in_dask_order": run.rank,
        "held_seconds": run.held_seconds,
    }


def _passes_over(situation: Situation, chosen: int, task: int | None) -> bool:
    """Tell whether a task stood among the candidates, and was not taken."""
    here = [each.task for each in situation.candidates]
    return task in here and here.index(task) != chosen


def _passed(
    passed: PassedOver, instead: tuple[str | None, str | None], workers: dict[int, str]
) -> dict[str, Any]:
    taken, held_for = instead
    return {
        "times": passed.times,
        "worker": workers.get(passed.worker),
        "instead": taken,
        "missing_bytes": passed.missing_bytes,
        "missing_bytes_instead": passed.missing_bytes_instead,
        "held": passed.instead is None,
        "held_for": held_for,
    }
