"""Our state in `client.dump_cluster_state()`, beside that of Dask's own extensions.

Dask dumps `scheduler.extensions`; there it is ``["scheduler"]["extensions"]["mlsched"]``.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

from distributed.utils import recursive_to_dict

from dask_mlsched.core.graph import TaskState
from dask_mlsched.extension import status

if TYPE_CHECKING:
    from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin

#: Among the scheduler's extensions.
NAME: Final = "mlsched"

#: So many parked tasks and decisions are told of one by one.
MOST_TASKS: Final = 100


class StateDump:
    """What Dask asks for our state.

    Parameters
    ----------
    plugin
        Whose; it is not kept alive.
    """

    def __init__(self, plugin: MLSchedulerPlugin) -> None:
        self._plugin = ref(plugin)

    def is_of(self, plugin: MLSchedulerPlugin) -> bool:
        """Tell whether this is the dump of a plugin."""
        return self._plugin() is plugin

    def _to_dict(self, *, exclude: Container[str] = ()) -> dict[str, Any]:
        """Describe the plugin, its parked tasks and latest decisions, as plain lists and dicts."""
        plugin = self._plugin()
        if plugin is None:
            return {}
        parts = {"status": status.snapshot, "parked": _parked, "decided": _decided}
        try:
            state = {name: part(plugin) for name, part in parts.items() if name not in exclude}
        except Exception as error:  # noqa: BLE001 - the rest of the dump is worth having
            state = {"error": f"{type(error).__name__}: {error}"}
        plain: dict[str, Any] = recursive_to_dict(_without(state, exclude), exclude=exclude)
        return plain


def _parked(plugin: MLSchedulerPlugin) -> list[dict[str, Any]]:
    """Describe some parked tasks, the first that came."""
    controller, translator = plugin.controller, plugin.translator
    if controller is None or translator is None:
        return []
    state = controller.graph.state
    parked = (key for key, number in translator.tasks.items() if state[number] == TaskState.PARKED)
    return [plugin.explain(key) for key in islice(parked, MOST_TASKS)]


def _decided(plugin: MLSchedulerPlugin) -> list[dict[str, Any]]:
    """Describe the latest decisions, the newest last."""
    latest = list(islice(reversed(plugin.dispatcher.decided), MOST_TASKS))
    return [plugin.explain(key) for key in reversed(latest)]


def _without(state: Any, exclude: Container[str]) -> Any:
    """Leave out what is not wanted; Dask itself does so among attributes alone."""
    if isinstance(state, dict):
        return {
            name: _without(part, exclude) for name, part in state.items() if name not in exclude
        }
    if isinstance(state, list):
        return [_without(part, exclude) for part in state]
    return state


def add(plugin: MLSchedulerPlugin) -> None:
    """Have a plugin's state dumped with its scheduler's."""
    plugin.scheduler.extensions[NAME] = StateDump(plugin)


def remove(plugin: MLSchedulerPlugin) -> None:
    """Leave no trace in dumps, unless a later plugin is there."""
    extensions = plugin.scheduler.extensions
    found = extensions.get(NAME)
    if isinstance(found, StateDump) and found.is_of(plugin):
        del extensions[NAME]
