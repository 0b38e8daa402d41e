"""Our figures on the scheduler's `/metrics`, for Prometheus.

Dask's schedulers serve what is in the process's one registry. Before each page, Dask's handler
tells Dask's own collectors which scheduler was asked; several schedulers in one process so have
pages with the same names and figures of their own. Ours asks Dask's collectors, and tells of the
plugin on that scheduler. It is registered while there is a plugin in the process, and keeps none
alive.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import prometheus_client
from distributed.http.prometheus import PrometheusCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dask_mlsched.extension import dask_versions
from dask_mlsched.extension.figures import FIGURES, Figure, Status

if TYPE_CHECKING:
    from dask_mlsched.extension.scheduler_plugin import MLSchedulerPlugin

logger = logging.getLogger("dask_mlsched")

_FAMILIES: Final = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class PluginCollector(PrometheusCollector):
    """Tells of the plugin on the scheduler whose page is asked for."""

    def __init__(self) -> None:
        # It belongs to no scheduler: who has the page is found out as it is made.
        super().__init__(None)  # type: ignore[no-untyped-call]  # Dask's
        self.subsystem = "mlsched"
        self.plugins: WeakSet[MLSchedulerPlugin] = WeakSet()
        #: Pages on which our figures are missing because of an error.
        self.failures = 0

    def describe(self) -> Iterable[Metric]:
        """Claim no names: the registry would ask for a page to find them out."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return all figures, or none: whatever is wrong with them, Dask's page is served."""
        try:
            plugin = self._asked()
            return [] if plugin is None else self._families(plugin.snapshot())
        except Exception:
            # The page is Dask's, too.
            self.failures += 1
            if self.failures == 1:
                logger.exception("mlsched: figures are missing in /metrics; work goes on")
            return []

    def _asked(self) -> MLSchedulerPlugin | None:
        plugins = list(self.plugins)
        scheduler = dask_versions.scraped_scheduler()
        if scheduler is None:
            # Somebody reads the registry, and Dask has served no page yet.
            return plugins[0] if len(plugins) == 1 else None
        return next((each for each in plugins if each.scheduler is scheduler), None)

    def _families(self, status: Status) -> list[Metric]:
        return [self._family(figure, status) for figure in FIGURES]

    def _family(self, figure: Figure, status: Status) -> Metric:
        name: str = self.build_name(figure.name)  # type: ignore[no-untyped-call]  # Dask's
        family: CounterMetricFamily | GaugeMetricFamily
        family = _FAMILIES[figure.kind](name, figure.help, labels=figure.labels)
        for labels, value in figure.read(status):
            family.add_metric(labels, value)
        return family


_lock = threading.Lock()
#: The process's collector while a plugin is at work in it.
_collector: PluginCollector | None = None


def add(plugin: MLSchedulerPlugin) -> None:
    """Show a plugin's figures on its scheduler's page, from now on."""
    global _collector  # noqa: PLW0603 - the registry is one per process, too
    with _lock:
        if _collector is None:
            _collector = PluginCollector()
            prometheus_client.REGISTRY.register(_collector)
        _collector.plugins.add(plugin)


def remove(plugin: MLSchedulerPlugin) -> None:
    """Take them off again; with the last plugin, the registry is as it was found."""
    global _collector  # noqa: PLW0603 - the registry is one per process, too
    with _lock:
        if _collector is None:
            return
        _collector.plugins.discard(plugin)
        if not _collector.plugins:
            # Somebody may have emptied the registry; the plugin leaves all the same.
            with contextlib.suppress(KeyError):
                prometheus_client.REGISTRY.unregister(_collector)
            _collector = None
