"""Where the plugin's state is shown beside Dask's own: in metrics, and in dumps of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dask_mlsched.extension import metrics, state_dump

if TYPE_CHECKING:
    from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin


def add(plugin: MLSchedulerPlugin) -> None:
    """Show a plugin that is at work on a scheduler."""
    metrics.add(plugin)
    state_dump.add(plugin)


def remove(plugin: MLSchedulerPlugin) -> None:
    """Show it no longer; doing it again does nothing."""
    metrics.remove(plugin)
    state_dump.remove(plugin)
