"""The plugin on the scheduler: Dask's callbacks in, transitions out. It takes no decisions.

Theory of operation. `update_graph` marks each managed task with a restriction
that parks it (`parking`). Every callback is translated into events for the
controller (`translator`) and asks for one pass at the end of the event-loop
tick. The pass asks the controller for decisions, and sends the chosen tasks
off (`management`). A periodic check, while tasks are parked, catches what Dask
has no callback for.

Nothing that goes wrong here may stop Dask: an exception is counted, logged and
shown in `status()`, and the picture is built anew from the scheduler's own
state. If that happens too often, the plugin gives all tasks back and goes off.
"""

from __future__ import annotations

import asyncio
import copyreg
import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from dask.typing import Key
from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps
from tornado.ioloop import PeriodicCallback

from dask_mlsched.config import Config, check_overrides
from dask_mlsched.extension import (
    dask_versions,
    explaining,
    exposition,
    parking,
    remote,
    status,
)
from dask_mlsched.extension.by_value import made_there
from dask_mlsched.extension.dashboard.pages import Pages
from dask_mlsched.extension.dispatcher import Dispatcher
from dask_mlsched.extension.management import Management
from dask_mlsched.extension.observation import Observation
from dask_mlsched.extension.plugin_events import PluginEvents
from dask_mlsched.extension.policy_source import load_policy, prepare
from dask_mlsched.extension.recording import Recording
from dask_mlsched.extension.reports import TOPIC
from dask_mlsched.extension.served_networks import ServedNetworks
from dask_mlsched.extension.versions import PROTOCOL, VERSION
from dask_mlsched.extension.worker_plugin import MLWorkerPlugin

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskState


class MLSchedulerPlugin(Management, SchedulerPlugin):
    """Memory-aware scheduling for clusters whose workers have a fast and a slow tier.

    Parameters
    ----------
    **overrides
        Settings that take the place of those under `mlsched:` in the scheduler's configuration,
        by the names of `dask_mlsched.config.Config`: `mode`, `policy`, `scope`, `lookahead`, ...

    Raises
    ------
    ConfigError
        If a setting is unknown or cannot be used.

    Examples
    --------
    >>> client.register_plugin(MLSchedulerPlugin(policy="greedy"))  # doctest: +SKIP
    """

    name = "mlsched"
    idempotent = False

    #: Calls that clients may make, by name; see `remote`.
    remote_handlers: dict[str, Callable[..., Any]]

    def __init__(self, **overrides: Any) -> None:
        check_overrides(**overrides)
        super().__init__()
        self._overrides = overrides
        self.remote_handlers = {}
        #: In the dashboard; None if there are to be none.
        self.pages: Pages | None = None
        #: Runs from `start` to `stop`.
        self._check: PeriodicCallback | None = None
        #: Keeps the task of leaving alive until it is done.
        self._farewell: asyncio.Future[None] | None = None
        self._events = PluginEvents(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Only the settings travel, to schedulers that may lack the package, too."""
        if type(self) is not MLSchedulerPlugin:
            # Of a class derived from it, nobody but its author knows where it is.
            return copyreg.__newobj__, (type(self),), self.__dict__  # type: ignore[attr-defined]
        return made_there(
            "bootstrap_scheduler", settings=self._overrides, protocol=PROTOCOL, version=VERSION
        )

    # Coming and going

    async def start(self, scheduler: Scheduler) -> None:
        """Take up work on a scheduler, in the place of an earlier plugin if there is one.

        Raises
        ------
        UnsupportedDaskError
            If the scheduler's Dask is too old or too new.
        ConfigError
            If the policy cannot be made there. Either way nothing is changed.
        """
        if self._check is not None:
            return  # a scheduler that loads us as it starts calls this a second time
        dask_versions.check(scheduler)
        self.config = Config.read(**self._overrides)
        policy = load_policy(self.config.policy, self.config.seed)
        self.networks = ServedNetworks(self.config, self._give_back)
        if self.config.mode == "manage":
            # Its process loads the same code meanwhile.
            self.networks.specialise(policy)
        await prepare(policy)
        await self.networks.prepare_training()
        await self.networks.settled()
        self.scheduler = scheduler
        started = time.time()
        worker_plugin = MLWorkerPlugin(self.config.snapshot_interval)
        await scheduler.register_worker_plugin(
            None, dumps(worker_plugin), name=MLWorkerPlugin.name, idempotent=False
        )
        if scheduler.status in (Status.closing, Status.closed):
            self.networks.close()
            return
        heard = self._take_over()
        self.dispatcher = Dispatcher(
            scheduler, self.config.explain_length, load_ahead=self.config.load_ahead
        )
        self.recording = Recording(self.config)
        self.networks.begin_training(scheduler.log_event)
        if self.networks.training is not None:
            self.networks.training.catalogue_came = self.catalogue_came
        self.mode = self.config.mode
        self.policy_name = self.config.policy
        if self.config.dashboard:
            self.observation = Observation(self.config.dashboard_interval)
            self.pages = Pages(self)
            self._guarded("dashboard", self.pages.add)
        remote.add_handlers(self)
        self._check = PeriodicCallback(self._periodic_check, self.config.check_interval * 1000)
        self._check.start()
        exposition.add(self)
        # Dask adds the plugin when this returns; only then does it hear of what it brings about.
        asyncio.get_running_loop().call_soon(self._begin, math.inf if heard else started)

    def _begin(self, unheard_since: float) -> None:
        """Begin to work, with what the scheduler knows and what workers have said meanwhile."""
        if self._check is None:
            return
        self._events.begin()
        self._guarded("start", self.update_activity)
        if not self.manages:
            # What an earlier plugin had parked, nobody else would ever send off.
            self._give_back()
        for said, msg in self.scheduler.get_events(TOPIC):
            if said >= unheard_since:
                self.log_event(TOPIC, msg)

    def _take_over(self) -> bool:
        """Take what an earlier plugin has parked and knows; tell whether there was one.

        Dask does not tell a plugin that another one is registered in its place.
        """
        earlier = {
            name: plugin
            for name, plugin in self.scheduler.plugins.items()
            if isinstance(plugin, MLSchedulerPlugin) and plugin is not self
        }
        for name, plugin in earlier.items():
            plugin.stop(release=False)
            # Dask would warn that it overwrites a plugin.
            self.scheduler.remove_plugin(name)
            self.reports = plugin.reports
            self.reports.count_anew()
        return bool(earlier)

    def stop(self, *, release: bool = True) -> int:
        """Stop at once and leave nothing behind; count the tasks that were given back.

        Calling it again does nothing.
        """
        if self._check is None:
            return 0
        self._check.stop()
        self._check = None
        remote.remove_handlers(self)
        self.mode = "off"
        self.networks.specialise(None)
        released = self._deactivate(release=release, at_once=True)
        self.networks.close()
        exposition.remove(self)
        if self.pages is not None and self.observation is not None:
            self._guarded("dashboard", self.pages.remove)
            self.observation.close()
            self.observation = None
        self._events.end(released, replaced=not release)
        return released

    async def uninstall(self) -> int:
        """Stop, and take both halves of the plugin off the cluster."""
        released = self.stop()
        scheduler = self.scheduler
        for name in [name for name, plugin in scheduler.plugins.items() if plugin is self]:
            scheduler.remove_plugin(name)
        replaced = any(
            isinstance(plugin, MLSchedulerPlugin) for plugin in scheduler.plugins.values()
        )
        if not replaced and MLWorkerPlugin.name in scheduler.worker_plugins:
            await scheduler.unregister_worker_plugin(None, name=MLWorkerPlugin.name)
        return released

    async def _leave(self) -> None:
        try:
            await self.uninstall()
        except Exception as error:  # noqa: BLE001 - a worker that just left may fail the call
            self._failed("uninstall", error)

    async def before_close(self) -> None:
        """Give the tasks back before the scheduler takes itself apart."""
        self.stop()

    async def close(self) -> None:
        """Stop with the scheduler."""
        self.stop()

    # Dask's callbacks. Each one returns at once while there is nothing to do.

    def update_graph(self, scheduler: Scheduler, *, tasks: list[Key], **_: Any) -> None:
        """Take in a new graph, and park what can be managed."""
        if self.watches:
            with_states = [ts for key in tasks if (ts := scheduler.tasks.get(key)) is not None]
            self._guarded("update_graph", self._graph_arrived, with_states)

    def _graph_arrived(self, tasks: list[TaskState]) -> None:
        assert self.translator is not None
        self._choose(tasks)
        # Before the controller is told, so that parked tasks are known to be ours.
        for ts, reason in self._park_or_leave(tasks):
            if self.translator.tasks.get(ts.key) is None:
                self.dispatcher.unmanaged[reason] += 1
        self.translator.register(tasks)

    def transition(
        self,
        key: Key,
        start: str,
        finish: str,
        *_: Any,
        startstops: Iterable[dict[str, Any]] = (),
        **__: Any,
    ) -> None:
        """Follow a task to its new state."""
        if self.translator is None or start == finish or self._resync_scheduled:
            return
        ts = self.scheduler.tasks.get(key)
        if ts is None:
            return
        try:
            self.translator.follow(ts, startstops)
        except Exception as error:  # noqa: BLE001 - Dask would log it at INFO and lose it
            self._failed("transition", error)
        if not self._pass_scheduled:
            self._schedule_pass()

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Offer the new worker's slots."""
        ws = scheduler.workers.get(worker)
        if self.translator is not None and self.watches and ws is not None:
            self._guarded("add_worker", self.translator.worker, ws)
            self._schedule_pass()

    def remove_worker(self, scheduler: Scheduler, worker: str, **_: Any) -> None:
        """Take the worker's slots and arrays out of the picture."""
        self.reports.forget(worker)
        if self.translator is not None:
            if self.watches:
                self._guarded("remove_worker", self.translator.worker_left, worker)
            self._guarded("remove_worker", self.update_activity)
            if not scheduler.running:
                parking.keep_alive(scheduler)
            self._schedule_pass()

    def restart(self, scheduler: Scheduler) -> None:
        """Begin anew: Dask has forgotten all tasks, and not every one by a callback."""
        self.dispatcher.decided.clear()
        self._guarded("restart", partial(self._resync, same_run=False))

    def log_event(self, topic: str, msg: Any) -> None:
        """Read the workers' reports, and notice workers that pause or resume."""
        if self._check is None:
            return
        if topic == TOPIC:
            self._guarded("report", self._report, msg)
        elif (
            self.translator is not None
            and isinstance(msg, dict)
            and msg.get("action") == "worker-status-change"
        ):
            # Dask logs before it changes the status: look at the end of the tick.
            self._status_changed = True
            self._schedule_pass()

    def _report(self, msg: Any) -> None:
        report = self.reports.take(msg, self.scheduler.workers)
        if report is None:
            return
        if report.first or (self.controller is None and report.worker in self.reports.tiered):
            self.update_activity()
        if report.first and self.stores_differ():
            # The tasks are the same: what was chosen for them stays.
            self._begin_anew(same_run=True)
        if report.first and self.translator is not None and self.watches:
            self.translator.limit_seen(report.worker, report.limit)
        if self.translator is not None and self.watches:
            if report.moves or report.fetches:
                self.translator.moved(report.worker, report.moves, report.fetches)
            if report.resident is not None:
                self.translator.resident(report.worker, report.resident)
            self._schedule_pass()

    # Checks, and what users are told

    def _periodic_check(self) -> None:
        if self not in self.scheduler.plugins.values():
            # Unregistering does not tell the plugin; nothing may stay parked.
            self.stop()
            self._farewell = asyncio.ensure_future(self._leave())
            return
        self._look_around()

    def _look_at_self(self) -> None:
        if self._check is not None:
            self._events.look()

    def snapshot(self) -> dict[str, Any]:
        """Describe the state for `Handle.status`."""
        return status.snapshot(self)

    def explain(self, key: Key) -> dict[str, Any]:
        """Describe what became of a task, for `Handle.explain`."""
        return explaining.explain(self, key)
