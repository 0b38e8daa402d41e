"""The calls that a handle makes on the scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dask.typing import Key

from dask_mlsched.config import ConfigError, checked
from dask_mlsched.extension.policy_source import load_policy, prepare
from dask_mlsched.extension.recording import NotRecordedError

if TYPE_CHECKING:
    from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin


def add_handlers(plugin: MLSchedulerPlugin) -> None:
    """Let clients reach the plugin through the scheduler's own calls.

    None of them answers None, which is what a scheduler says when it does not know a call.
    """

    def mlsched_status() -> dict[str, Any]:
        return plugin.snapshot()

    def mlsched_explain(key: Key) -> dict[str, Any]:
        return plugin.explain(key)

    async def mlsched_set(mode: str | None = None, policy: str | None = None) -> str:
        # Users get one line about their value, not a traceback of the scheduler's.
        try:
            if policy is not None:
                await prepare(load_policy(checked("policy", policy), plugin.config.seed))
                plugin.set_policy(policy)
            if mode is not None:
                plugin.set_mode(checked("mode", mode))
        except ConfigError as error:
            return str(error)
        return ""

    def mlsched_trace() -> dict[str, Any]:
        try:
            return {"trace": plugin.recording.fetch(), "problem": None}
        except NotRecordedError as error:
            return {"trace": None, "problem": str(error)}

    async def mlsched_uninstall() -> int:
        return await plugin.uninstall()

    handlers = (
        mlsched_status,
        mlsched_explain,
        mlsched_set,
        mlsched_trace,
        mlsched_uninstall,
    )
    plugin.remote_handlers = {handler.__name__: handler for handler in handlers}
    plugin.scheduler.handlers.update(plugin.remote_handlers)


def remove_handlers(plugin: MLSchedulerPlugin) -> None:
    """Take the calls back, unless a later plugin has put its own in their place."""
    for name, handler in plugin.remote_handlers.items():
        if plugin.scheduler.handlers.get(name) is handler:
            del plugin.scheduler.handlers[name]
    plugin.remote_handlers = {}
