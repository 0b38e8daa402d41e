"""What the plugin does on its scheduler between Dask's callbacks: watch, have decided, mend.

While there is something to do, a controller and a translator are there, which keeps the one in
step with Dask. Whatever happened asks for one pass at the end of the event-loop tick; the pass
asks the controller for decisions, and sends the chosen tasks off. After anything that goes wrong
the picture is built anew from the scheduler's own state; if that happens too often, all tasks are
given back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from dask_mlsched.config import Config, Mode
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.controller import Controller
from dask_mlsched.core.counts import Counts
from dask_mlsched.extension import parking
from dask_mlsched.extension.dispatcher import stimulus
from dask_mlsched.extension.episodes import MOST_LEFT
from dask_mlsched.extension.model_runs import ModelRuns
from dask_mlsched.extension.observation import Observation
from dask_mlsched.extension.parking import Unmanaged
from dask_mlsched.extension.policy_source import load_policy
from dask_mlsched.extension.reports import Reports
from dask_mlsched.extension.translator import Translator

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

    from dask_mlsched.extension.online_training import OnlineTraining
    from dask_mlsched.extension.specialising import Specialising

logger = logging.getLogger("dask_mlsched")

#: So many errors of our own switch the plugin off.
_ERRORS_ALLOWED = 20


class Management(ModelRuns):
    """Watches one scheduler, parks its tasks and has them sent off, as far as that is wanted.

    Whoever derives from it sets what is said to be set by `start`, and calls.
    """

    #: Set by `start`; so are `scheduler`, `dispatcher`, `recording` and `networks`.
    config: Config
    #: What the dashboard reads; None if there is to be none.
    observation: Observation | None
    #: What watches the scheduler and decides; None while the plugin is off or has nothing to do.
    controller: Controller | None
    translator: Translator | None
    mode: Mode
    policy_name: str
    #: What controllers before this one have counted, since the plugin was installed.
    counted: Counts
    #: What workers have said.
    reports: Reports
    #: Errors of our own, by where they happened, and the last one's text.
    errors: Counter[str]
    last_error: str | None

    def __init__(self) -> None:
        self.observation = None
        self.controller = None
        self.translator = None
        self.mode = "off"
        self.policy_name = ""
        self.counted = Counts()
        self.reports = Reports()
        self.errors = Counter()
        self.last_error = None
        self._pass_scheduled = False
        self._resync_scheduled = False
        #: Whether a worker may have paused or resumed since the last pass.
        self._status_changed = False
        self._kept_alive = 0.0
        self._had_running = False

    def _look_at_self(self) -> None:
        """Tell of what has become of the plugin; called after what may have changed it."""
        raise NotImplementedError

    # Activity

    @property
    def gave_up(self) -> bool:
        """Whether the plugin has switched itself off, for its errors."""
        return self.errors.total() >= _ERRORS_ALLOWED

    @property
    def manages(self) -> bool:
        """Whether tasks are being parked and decided upon."""
        return (
            self.controller is not None
            and self.mode == "manage"
            and self.policy_name != "stock"
            and not self.networks.left_to_dask
        )

    @property
    def watches(self) -> bool:
        """Whether there is a picture to keep in step; a wrong one is about to be built anew."""
        return self.translator is not None and not self._resync_scheduled

    @property
    def specialising(self) -> Specialising | None:
        """What asks for specialists, while a policy is asked that specialises."""
        return self.networks.specialising

    @property
    def training(self) -> OnlineTraining | None:
        """What has runs learned from, unless that is off."""
        return self.networks.training

    def stores_differ(self) -> bool:
        """Whether the workers' stores can do something else than the controller was made for."""
        if self.controller is None:
            return False
        settings = self.controller.settings
        return self._abilities() != (settings.keep_clean, settings.overlap)

    def _abilities(self) -> tuple[bool, bool]:
        """Tell whether the stores keep clean copies, and whether copies are made beside tasks."""
        keep_clean, beside = self.reports.common_abilities()
        return keep_clean, beside and self.config.load_ahead

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
        self._look_at_self()

    def _activate(self, *, same_run: bool = False) -> list[tuple[TaskState, Unmanaged]]:
        """Begin to watch, and to park if that is the mode; list what is not parked, and why.

        Parameters
        ----------
        same_run
            Whether what decides goes on deciding; else a run begins, with the tasks at hand.
        """
        config = self.config
        keep_clean, overlap = self._abilities()
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
            keep_clean=keep_clean,
            overlap=overlap,
        )
        policy = load_policy(self.policy_name, config.seed)
        self.networks.serve(policy, self.policy_name, manages=self.mode == "manage")
        if not same_run:
            self._begin_run()
        self.controller = self.recording.begin(
            policy, settings, policy_name=self.policy_name, mode=self.mode
        )
        # For users it is all one: no count ever goes backwards.
        self.controller.count_on(self.counted)
        if self.observation is not None:
            self.observation.follow(self.controller)
        if self.networks.left_to_dask:
            self._ask(policy)
        self.translator = Translator(self.scheduler, self.controller)
        self.recording.name_by(self.translator)
        for ws in self.scheduler.workers.values():
            self.translator.worker(ws)
            self.translator.limit_seen(ws.address, self.reports.limits.get(ws.address))
        self.translator.register(self.scheduler.tasks.values())
        for address, resident in self.reports.resident.items():
            self.translator.resident(address, resident)
        left = self._park_or_leave(list(self.scheduler.tasks.values()))
        if self.networks.left_to_dask:
            self._give_back()
        parking.retry_others(self.scheduler, stimulus())
        self._schedule_pass()
        return left

    def _deactivate(self, *, release: bool, learn: bool = True, at_once: bool = False) -> int:
        """End to watch; what ran until now is learned from, if that is wanted and `learn`."""
        if self.controller is not None:
            # While it can still be asked.
            self._look_at_self()
            self._note_failures(self.controller)
            self.counted = self.controller.counts()
            if self.observation is not None and learn:
                self.observation.leave(self)
            elif self.observation is not None:
                self.observation.drop()
        self.controller = None
        self.translator = None
        ended = self.recording.end()
        if learn:
            self.networks.learn_from(ended, at_once=at_once)
        return parking.release_all(self.scheduler, stimulus()) if release else 0

    def set_mode(self, mode: Mode) -> None:
        """Switch between off, observe and manage."""
        if mode == self.mode:
            return
        self._tell_of_change()
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
        self._tell_of_change()
        self.policy_name = name
        if self.controller is not None:
            self.networks.serve(policy, name, manages=self.mode == "manage")
            self._begin_run()
            self._ask(policy)
        if managed and not self.manages:
            self._give_back()
        elif self.manages and not managed:
            self._park(list(self.scheduler.tasks.values()))
        self._look_at_self()
        self._schedule_pass()

    def _tell_of_change(self) -> None:
        if self.observation is not None:
            self.observation.about_to_change(self)

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
        model = self.networks.model
        for hold in self.dispatcher.decide(controller, translator, self.policy_name, model):
            delay = max(0.0, hold.until - time.monotonic())
            asyncio.get_running_loop().call_later(delay, self._schedule_pass)

    def _follow_status(self, translator: Translator) -> None:
        self._status_changed = False
        for ws in self.scheduler.workers.values():
            translator.follow_status(ws)

    # Checks and errors

    def _look_around(self) -> None:
        """See to what no callback tells of; called every now and then."""
        self._look_at_self()
        running = bool(self.scheduler.running)
        if self._had_running and not running:
            # The timeout runs from now on, not from when the tasks were parked.
            parking.keep_alive(self.scheduler)
        self._had_running = running
        if self.observation is not None:
            self.observation.look(self)
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
        """Between two runs, end the trace of the one, and have a model chosen for the next."""
        assert self.controller is not None
        begun = self.recording.begun
        if not training.episodes.over(self.scheduler, begun, time.monotonic()):
            return
        managed = self.manages
        if self._note_failures(self.controller):
            self._obey(managed=managed)
        guard = self.controller.chooser.guard
        # A policy that was switched off stays so: it would be asked again by a new controller.
        if begun and len(self.scheduler.tasks) <= MOST_LEFT and not (guard and guard.off):
            self._begin_anew()
        else:
            self.networks.begin_run()

    def _begin_anew(self, *, same_run: bool = False) -> None:
        """End what is recorded, and go on with a new controller."""
        self._deactivate(release=False)
        self._activate(same_run=same_run)

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
        if self.gave_up:
            logger.error(
                "mlsched: %d errors, the last one %s; switching off, Dask schedules alone",
                self.errors.total(),
                self.last_error,
            )
            self.mode = "off"
            self._deactivate(release=True, learn=False)
            self._look_at_self()
        else:
            self._resync_scheduled = True
            self._schedule_pass()

    def _resync(self, *, same_run: bool = True) -> None:
        """Build the picture anew from the scheduler's own state."""
        self._resync_scheduled = False
        if self.controller is not None:
            # Of what came to this nobody knows how much is true.
            self._deactivate(release=False, learn=False)
            self._activate(same_run=same_run)
