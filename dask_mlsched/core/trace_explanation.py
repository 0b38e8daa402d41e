"""What became of one task in a recorded run, and why: as the plugin tells it of a run at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from dask_mlsched.core import events as ev
from dask_mlsched.core.explained import decision_of, passed_of
from dask_mlsched.core.policies import Situation
from dask_mlsched.core.recent_choices import passed_over
from dask_mlsched.core.trace import Names, PolicySwitched, Step, Trace

#: So many keys are listed where one is asked for that is not in the trace.
_SIMILAR: Final = 5


@dataclass
class _Found:
    """What was found so far about the task; names are what numbers stood for then."""

    key: str
    #: The number and the priority that it has, once it is known.
    number: int | None = None
    priority: ev.Priority = ()
    state: str = "unknown"
    #: What sent it, the policy that was in force, and the worker.
    run: ev.Run | None = None
    policy: str = ""
    worker: str = ""
    #: Choices in which it was not taken; of the last one the worker, what was taken instead, and
    #: what a hold waited for.
    choices: list[tuple[Situation, int]] = field(default_factory=list)
    passed: tuple[str | None, str | None, str | None] = (None, None, None)

    def arrived(self, spec: ev.TaskSpec) -> None:
        """Begin anew: all that was known is about the time before."""
        self.number, self.priority = spec.task, spec.priority
        self.state, self.run = "waiting", None
        self.choices.clear()

    def is_here(self, tasks: dict[int, str]) -> bool:
        """Tell whether its number is its own: not before it is known, nor once it is another's."""
        return self.number is not None and tasks.get(self.number) == self.key


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
    for entry in trace.entries:
        if isinstance(entry, Names):
            tasks.update(entry.tasks)
            workers.update(entry.workers)
            similar.update((name, None) for _, name in entry.tasks if key in name)
        elif isinstance(entry, PolicySwitched):
            policy = entry.policy
        elif isinstance(entry, Step):
            if isinstance(entry.event, ev.GraphArrived):
                for spec in entry.event.tasks:
                    if tasks.get(spec.task) == key:
                        found.arrived(spec)
            if found.is_here(tasks):
                _follow(found, entry, policy, workers)
                _follow_choices(found, entry, tasks, workers)
    return _answer(found, list(similar)[:_SIMILAR])


def _answer(found: _Found, similar: list[str]) -> dict[str, Any]:
    if found.number is None:
        return {"key": found.key, "state": "unknown", "similar": similar}
    answer: dict[str, Any] = {"key": found.key, "state": found.state}
    if found.run is not None:
        answer["decision"] = decision_of(found.run, found.policy, found.worker)
    passed = passed_over(found.choices, found.number, found.priority)
    if passed is not None:
        answer["passed_over"] = passed_of(passed, *found.passed)
    return answer


def _follow(found: _Found, step: Step, policy: str, workers: dict[int, str]) -> None:
    """Bring what is known of the task up to an event."""
    if getattr(step.event, "task", None) == found.number:
        found.state = _STATES.get(type(step.event), found.state)
    if isinstance(step.event, ev.DependenciesAdded) and step.event.task == found.number:
        found.priority = step.event.priority
    for each in step.instructions:
        if isinstance(each, ev.Run) and each.task == found.number:
            found.run, found.policy = each, policy
            found.worker = workers.get(each.worker, str(each.worker))


def _follow_choices(
    found: _Found, step: Step, tasks: dict[int, str], workers: dict[int, str]
) -> None:
    """Keep the choices in which the task stood among the candidates, and was not taken."""
    for decision in step.decisions:
        situation, chosen = decision.situation, decision.chosen
        here = [each.task for each in situation.candidates]
        if chosen is None or found.number not in here or here.index(found.number) == chosen:
            continue
        found.choices.append((situation, chosen))
        found.passed = (workers.get(situation.worker), *_names(situation, chosen, tasks))


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
