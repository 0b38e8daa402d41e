"""The plugin on the scheduler: Dask's callbacks in, transitions out. It takes no decisions.

Theory of operation. `update_graph` marks each managed task with a restriction
that parks it (`parking`). Every callback is translated into events for the
controller (`translator`) and asks for one pass at the end of the event-loop
tick. The pass asks the controller for decisions, and sends the chosen tasks
off. A periodic check, while tasks are parked, catches what Dask has no
callback for.

Nothing that goes wrong here may stop Dask: an exception is counted, logged and
shown in `status()`, and the picture is built anew from the scheduler's own
state. If that happens too often, the plugin gives all tasks back and goes off.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from dask.typing import Key
from distributed.core import Status
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps
from tornado.ioloop import PeriodicCallback

from dask_mlsched.config import Config, Mode, check_overrides
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.policies import LEARNED
from dask_mlsched.extension import dask_versions, parking, remote, status
from dask_mlsched.extension.dispatcher import Dispatcher, stimulus
from dask_mlsched.extension.episodes import MOST_LEFT
from dask_mlsched.extension.policy_source import load_policy, prepare
from dask_mlsched.extension.recording import Recording
from dask_mlsched.extension.reports import TOPIC, Reports
from dask_mlsched.extension.translator import Translator
from dask_mlsched.extension.worker_plugin import MLWorkerPlugin

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskState

    from dask_mlsched.core.policies import Policy
    from dask_mlsched.extension.online_training import OnlineTraining
    from dask_mlsched.extension.specialising import Specialising

logger = logging.getLogger("dask_mlsched")

#: So long does the start wait, at most, for the specialist's process.
_SETTLED_SECONDS = 15.0

#: So many errors of our own switch the plugin off.
_ERRORS_ALLOWED = 20


class MLSchedulerPlugin(SchedulerPlugin):
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

    #: Set by `start`.
    scheduler: Scheduler
    config: Config
    dispatcher: Dispatcher
    recording: Recording
    #: What watches the scheduler and decides; None while the plugin is off or has nothing to do.
    controller: Controller | None
    translator: Translator | None
    #: Asks for specialists, while a policy is asked that specialises.
    specialising: Specialising | None
    #: Has runs learned from, unless that is off.
    training: OnlineTraining | None

    def __init__(self, **overrides: Any) -> None:
        check_overrides(**overrides)
        self._overrides = overrides
        self.controller = None
        self.translator = None
        self.specialising = None
        self.training = None
        self.mode: Mode = "off"
        self.policy_name = ""
        self.reports = Reports()
        #: Errors of our own, by where they happened, and the last one's text.
        self.errors: Counter[str] = Counter()
        self.last_error: str | None = None
        self._pass_scheduled = False
        self._resync_scheduled = False
        #: Whether a worker may have paused or resumed since the last pass.
        self._status_changed = False
        self._check: PeriodicCallback | None = None
        self._kept_alive = 0.0
        self._had_running = False
        #: Keeps the task of leaving alive until it is done.
        self._farewell: asyncio.Future[None] | None = None
        #: Calls that clients may make, by name; see `remote`.
        self.remote_handlers: dict[str, Callable[..., Any]] = {}

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
        if self.config.mode == "manage":
            # Its process loads the same code meanwhile.
            self._specialise(policy)
        await prepare(policy)
        if self.specialising is not None:
            # So that the first graph has a specialist from its first moments on.
            await self.specialising.settled(_SETTLED_SECONDS)
        self.scheduler = scheduler
        started = time.time()
        worker_plugin = MLWorkerPlugin(snapshot_interval=self.config.snapshot_interval)
        await scheduler.register_worker_plugin(
            None, dumps(worker_plugin), name=MLWorkerPlugin.name, idempotent=False
        )
        if scheduler.status in (Status.closing, Status.closed):
            self._specialise(None)
            return
        heard = self._take_over()
        self.dispatcher = Dispatcher(scheduler, self.config.explain_length)
        self.recording = Recording(self.config)
        if self.config.training != "off":
            # Only here, for those who want it.
            from dask_mlsched.extension.online_training import OnlineTraining

            self.training = OnlineTraining(self.config)
        self.mode = self.config.mode
        self.policy_name = self.config.policy
        remote.add_handlers(self)
        self._check = PeriodicCallback(self._periodic_check, self.config.check_interval * 1000)
        self._check.start()
        # Dask adds the plugin when this returns; only then does it hear of what it brings about.
        asyncio.get_running_loop().call_soon(self._begin, math.inf if heard else started)

    def _begin(self, unheard_since: float) -> None:
        """Begin to work, with what the scheduler knows and what workers have said meanwhile."""
        if self._check is None:
            return
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
        self._specialise(None)
        released = self._deactivate(release=release)
        if self.training is not None:
            self.training.close()
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

    # Activity

    @property
    def manages(self) -> bool:
        """Whether tasks are being parked and decided upon."""
        return self.controller is not None and self.mode == "manage" and self.policy_name != "stock"

    @property
    def watches(self) -> bool:
        """Whether there is a picture to keep in step; a wrong one is about to be built anew."""
        return self.translator is not None and not self._resync_scheduled

    def update_activity(self) -> None:
        """Begin or end watching, as the mode and the workers have it."""
        if self.mode == "off":
            wanted = False
        elif self.config.scope == "all":
            wanted = True
        else:
            tiered = any(address in self.reports.tiered for address in self.scheduler.workers)
            # With no worker at all, keep what is parked: the next worker may well be tiered.
            wanted = tiered or (self.controller is not None and not self.scheduler.workers)
        if wanted and self.controller is None:
            self.dispatcher.unmanaged.update(reason for _, reason in self._activate())
        elif not wanted and self.controller is not None:
            self._deactivate(release=True)

    def _activate(self) -> list[tuple[TaskState, str]]:
        """Begin to watch, and to park if that is the mode; list what cannot be parked, and why."""
        config = self.config
        settings = Settings(
            lookahead=config.lookahead,
            shortlist=config.shortlist,
            bandwidth=config.bandwidth,
            network_bandwidth=float(self.scheduler.bandwidth),
            round_trip=config.round_trip,
            hold_limit=config.hold_limit,
            time_budget=config.time_budget,
            failures=config.failures,
            eviction=config.eviction,
            seed=config.seed,
        )
        policy = load_policy(self.policy_name, config.seed)
        self._serve(policy, self.policy_name)
        self.controller = self.recording.begin(
            policy, settings, policy_name=self.policy_name, mode=self.mode
        )
        self.translator = Translator(self.scheduler, self.controller)
        self.recording.name_by(self.translator)
        for ws in self.scheduler.workers.values():
            self.translator.worker(ws)
            self.translator.limit_seen(ws.address, self.reports.limits.get(ws.address))
        self.translator.register(self.scheduler.tasks.values())
        for address, resident in self.reports.resident.items():
            self.translator.resident(address, resident)
        left = self._park(list(self.scheduler.tasks.values())) if self.manages else []
        parking.retry_others(self.scheduler, stimulus())
        self._schedule_pass()
        return left

    def _deactivate(self, *, release: bool, learn: bool = True) -> int:
        """End to watch; what ran until now is learned from, if that is wanted and `learn`."""
        self.controller = None
        self.translator = None
        ended = self.recording.end()
        if learn and ended is not None and self.training is not None:
            self.training.take(ended, at_once=self._check is None)
        return parking.release_all(self.scheduler, stimulus()) if release else 0

    def set_mode(self, mode: Mode) -> None:
        """Switch between off, observe and manage."""
        if mode == self.mode:
            return
        if self.manages:
            self._give_back()
        self.mode = mode
        if mode != "off" and self.training is not None and self.controller is not None:
            # A run is learned from as it began: watched, or managed.
            self._begin_anew()
        self.update_activity()
        if self.manages:
            self._park(list(self.scheduler.tasks.values()))
            self._schedule_pass()

    def set_policy(self, name: str) -> None:
        """Ask another policy from now on.

        Raises
        ------
        ConfigError
            If it cannot be made; the policy stays what it was.
        """
        policy = load_policy(name, self.config.seed)
        managed = self.manages
        self.policy_name = name
        if self.controller is not None:
            self._serve(policy, name)
            self.controller.chooser.set_policy(policy)
            self.recording.policy_switched(name)
        if managed and not self.manages:
            self._give_back()
        elif self.manages and not managed:
            self._park(list(self.scheduler.tasks.values()))
        self._schedule_pass()

    def _serve(self, policy: Policy | None, name: str) -> None:
        """Give a policy that is to be asked what was learned here, and a specialist's answer."""
        if self.training is not None:
            # A user's own class brings its own network.
            self.training.serve(policy if name in LEARNED else None)  # type: ignore[arg-type]
        self._specialise(policy)

    def _specialise(self, policy: Policy | None) -> None:
        """Have a policy specialised from now on, if it is one of that kind; else end that."""
        if not (getattr(policy, "specialises", False) and self.config.specialise):
            if self.specialising is not None:
                self.specialising.close()
                self.specialising = None
            return
        # Only here: what it needs takes a second to import.
        from dask_mlsched.extension.specialising import Budget, Specialising

        if self.specialising is None:
            self.specialising = Specialising(Budget.of(self.config), self._give_back)
        self.specialising.serve(policy)  # type: ignore[arg-type]  # it says what it is

    def _give_back(self) -> None:
        parking.release_all(self.scheduler, stimulus())

    def _park(self, tasks: Iterable[TaskState]) -> list[tuple[TaskState, str]]:
        """Park what can be managed; list what cannot, and why."""
        queued: list[TaskState] = []
        left: list[tuple[TaskState, str]] = []
        for ts in tasks:
            if parking.is_ours(ts):
                continue
            reason = parking.reason_to_leave(ts)
            if reason is None:
                parking.park(ts)
            elif ts.state == "queued":
                queued.append(ts)
            elif reason != "no run spec":
                left.append((ts, reason))
        if queued:
            parking.adopt(self.scheduler, queued, stimulus())
        return left

    # Dask's callbacks. Each one returns at once while there is nothing to do.

    def update_graph(self, scheduler: Scheduler, *, tasks: list[Key], **_: Any) -> None:
        """Take in a new graph, and park what can be managed."""
        if self.watches:
            with_states = [ts for key in tasks if (ts := scheduler.tasks.get(key)) is not None]
            self._guarded("update_graph", self._graph_arrived, with_states)

    def _graph_arrived(self, tasks: list[TaskState]) -> None:
        assert self.translator is not None
        if self.specialising is not None:
            self.specialising.graph_arrived(len(tasks))
        if self.manages:
            # Before the controller is told, so that parked tasks are known to be ours.
            for ts, reason in self._park(tasks):
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
        self._guarded("restart", self._resync)

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
        if report.first and self.translator is not None and self.watches:
            self.translator.limit_seen(report.worker, report.limit)
        if self.translator is not None and self.watches:
            if report.moves or report.fetches:
                self.translator.moved(report.worker, report.moves, report.fetches)
            if report.resident is not None:
                self.translator.resident(report.worker, report.resident)
            self._schedule_pass()

    # Deciding

    def _schedule_pass(self) -> None:
        if not self._pass_scheduled and self.controller is not None:
            self._pass_scheduled = True
            asyncio.get_running_loop().call_soon(self._pass)

    def _pass(self) -> None:
        self._pass_scheduled = False
        if self._resync_scheduled:
            self._guarded("resync", self._resync)
        if self._status_changed and self.translator is not None and self.watches:
            # Before anything is parked, too: a task's home is a worker that takes tasks.
            self._guarded("status", self._follow_status, self.translator)
        if self.watches and self.manages:
            self._guarded("decide", self._decide)

    def _decide(self) -> None:
        controller, translator = self.controller, self.translator
        if controller is None or translator is None or not controller.parked:
            return
        for hold in self.dispatcher.decide(controller, translator):
            delay = max(0.0, hold.until - time.monotonic())
            asyncio.get_running_loop().call_later(delay, self._schedule_pass)

    def _follow_status(self, translator: Translator) -> None:
        self._status_changed = False
        for ws in self.scheduler.workers.values():
            translator.follow_status(ws)

    # Checks and errors

    def _periodic_check(self) -> None:
        if self not in self.scheduler.plugins.values():
            # Unregistering does not tell the plugin; nothing may stay parked.
            self.stop()
            self._farewell = asyncio.ensure_future(self._leave())
            return
        running = bool(self.scheduler.running)
        if self._had_running and not running:
            # The timeout runs from now on, not from when the tasks were parked.
            parking.keep_alive(self.scheduler)
        self._had_running = running
        if self.specialising is not None and self.watches and self.manages:
            self._guarded("specialise", self._look, self.specialising)
        if self.training is not None and self.watches:
            self._guarded("training", self._look_for_rest, self.training)
        if self.controller is None or not self.controller.parked or not self.watches:
            return
        assert self.translator is not None
        self._guarded("check", self.translator.follow_seceded)
        self._status_changed = True
        self._keep_alive()
        self._schedule_pass()

    def _look(self, specialising: Specialising) -> None:
        assert self.controller is not None
        assert self.translator is not None
        specialising.look(self.scheduler, self.controller, self.translator, time.monotonic())

    def _look_for_rest(self, training: OnlineTraining) -> None:
        """Between two runs, end the trace of the one, and let a new network have the next."""
        assert self.controller is not None
        begun = self.recording.begun
        if not training.episodes.over(self.scheduler, begun, time.monotonic()):
            return
        guard = self.controller.chooser.guard
        # A policy that was switched off stays so: it would be asked again by a new controller.
        if begun and len(self.scheduler.tasks) <= MOST_LEFT and not (guard and guard.off):
            self._begin_anew()
        elif training.has_news:
            training.serve_newest()
            if self.specialising is not None and guard is not None:
                self.specialising.serve(guard.policy)  # type: ignore[arg-type]  # it specialises

    def _begin_anew(self) -> None:
        """End what is recorded, and go on with a new controller; what was counted still counts."""
        earlier = self.controller
        assert earlier is not None
        self._deactivate(release=False)
        self._activate()
        assert self.controller is not None
        self.controller.count_on(earlier)

    def _keep_alive(self) -> None:
        timeout = self.scheduler.no_workers_timeout
        now = time.monotonic()
        # Without a running worker the timeout is in earnest, for parked tasks as for all others.
        if timeout is not None and self.scheduler.running and now - self._kept_alive > timeout / 4:
            self._kept_alive = now
            parking.keep_alive(self.scheduler)

    def _guarded(self, where: str, function: Callable[..., object], *args: object) -> None:
        try:
            function(*args)
        except Exception as error:  # noqa: BLE001 - counted, logged and shown; Dask would hide it
            self._failed(where, error)

    def _failed(self, where: str, error: Exception) -> None:
        self.errors[where] += 1
        self.last_error = f"{where}: {type(error).__name__}: {error}"
        if self.errors.total() == 1:
            logger.error("mlsched: error in %s; the picture is built anew", where, exc_info=error)
        if self.errors.total() >= _ERRORS_ALLOWED:
            logger.error(
                "mlsched: %d errors, the last one %s; switching off, Dask schedules alone",
                self.errors.total(),
                self.last_error,
            )
            self.mode = "off"
            self._deactivate(release=True, learn=False)
        else:
            self._resync_scheduled = True
            self._schedule_pass()

    def _resync(self) -> None:
        """Build the picture anew from the scheduler's own state."""
        self._resync_scheduled = False
        if self.controller is not None:
            # Of what came to this nobody knows how much is true.
            self._deactivate(release=False, learn=False)
            self._activate()

    def snapshot(self) -> dict[str, Any]:
        """Describe the state for `Handle.status`."""
        return status.snapshot(self)

    def explain(self, key: Key) -> dict[str, Any]:
        """Describe what became of a task, for `Handle.explain`."""
        return status.explain(self, key)
