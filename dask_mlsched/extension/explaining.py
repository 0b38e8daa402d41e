"""What became of one task, and why, from the plugin's own state: plain dictionaries."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from dask.typing import Key

from dask_mlsched.core.explained import decision_of, passed_of
from dask_mlsched.core.graph import TaskState
from dask_mlsched.core.policies import Candidate
from dask_mlsched.extension import parking

if TYPE_CHECKING:
    from distributed.scheduler import TaskState as DaskTask

    from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin

#: So many keys are listed where one is asked for that nobody knows.
_SIMILAR: Final = 5


def explain(plugin: MLSchedulerPlugin, key: Key) -> dict[str, Any]:
    """Describe what became of one task, and why."""
    ts = plugin.scheduler.tasks.get(key)
    answer: dict[str, Any] = {"key": key, "state": ts.state if ts else "unknown"}
    if ts is None and key not in plugin.dispatcher.decided:
        answer["similar"] = _similar(plugin, key)
    if ts is not None:
        answer["managed"] = parking.is_ours(ts)
        if not answer["managed"]:
            answer["left_to_dask"] = _why_left(plugin, ts)
        if ts.waiting_on:
            answer["waits_for"] = len(ts.waiting_on)
    if key in plugin.dispatcher.decided:
        run, address, policy, model = plugin.dispatcher.decided[key]
        answer["decision"] = decision_of(run, policy, address)
        if model is not None:
            answer["decision"]["model"] = model
    parked = _parked(plugin, key)
    if parked is not None:
        answer["parked"] = parked
    passed_over = _passed_over(plugin, key)
    if passed_over is not None:
        answer["passed_over"] = passed_over
    return answer


def _similar(plugin: MLSchedulerPlugin, key: Key) -> list[str]:
    """List keys in which what was asked for occurs: a collection has many tasks of its name."""
    part = str(key)
    known = itertools.chain(plugin.scheduler.tasks, reversed(plugin.dispatcher.decided))
    found = (text for text in map(str, known) if part in text)
    return list(dict.fromkeys(itertools.islice(found, _SIMILAR)))


def _passed_over(plugin: MLSchedulerPlugin, key: Key) -> dict[str, Any] | None:
    """Describe how a task stood among the candidates and another one was chosen."""
    controller, translator = plugin.controller, plugin.translator
    number = translator.tasks.get(key) if translator else None
    if controller is None or translator is None or number is None:
        return None
    found = controller.chooser.recent.passed_over(number, controller.graph.priority[number])
    if found is None:
        return None
    return passed_of(
        found,
        _address(plugin, found.worker),
        None if found.instead is None else _chosen(plugin, found.instead),
        None if found.held_for is None else _known(plugin, found.held_for),
    )


def _address(plugin: MLSchedulerPlugin, worker: int) -> str | None:
    """Return a worker's address; None if it is gone."""
    assert plugin.controller is not None
    assert plugin.translator is not None
    return plugin.translator.workers.key(worker) if worker in plugin.controller.devices else None


def _known(plugin: MLSchedulerPlugin, task: int) -> str | None:
    """Return the key that a number stands for now; None if it stands for none."""
    assert plugin.controller is not None
    assert plugin.translator is not None
    return str(plugin.translator.tasks.key(task)) if plugin.controller.graph.known(task) else None


def _chosen(plugin: MLSchedulerPlugin, candidate: Candidate) -> str | None:
    """Return the key of a task that was chosen; None if it was forgotten since."""
    assert plugin.controller is not None
    graph = plugin.controller.graph
    if not graph.known(candidate.task):
        return None
    priority = graph.priority[candidate.task]
    same = candidate.priority[: len(priority)] == priority
    return _known(plugin, candidate.task) if same else None


def _why_left(plugin: MLSchedulerPlugin, ts: DaskTask) -> str | None:
    if plugin.manages:
        return parking.reason_to_leave(ts)
    models = plugin.networks.models
    if models is not None and models.left_to_dask and models.choice is not None:
        return f"baseline: {models.choice.why}"
    return "the plugin manages nothing now"


def _parked(plugin: MLSchedulerPlugin, key: Key) -> dict[str, Any] | None:
    controller, translator = plugin.controller, plugin.translator
    number = translator.tasks.get(key) if translator else None
    if controller is None or translator is None or number is None:
        return None
    graph = controller.graph
    if graph.state[number] != TaskState.PARKED:
        return None
    inputs = [(dep, graph.nbytes[dep]) for dep in graph.dependencies[number]]
    home = controller.levels[graph.priority[number][0]].home(number)
    return {
        "inputs": len(inputs),
        "home": None if home is None else translator.workers.key(home),
        "missing_bytes": {
            translator.workers.key(worker): device.residency.missing_bytes(inputs)
            for worker, device in controller.devices.items()
        },
        "free_slots": {
            translator.workers.key(worker): device.free_slots(controller.settings.lookahead)
            for worker, device in controller.devices.items()
        },
    }
