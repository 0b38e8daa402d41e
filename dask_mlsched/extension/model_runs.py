"""Who decides a run on the scheduler: the model that was chosen for it, or Dask alone.

Choices are made as graphs arrive (`model_serving`); here they are obeyed. What is left to Dask is
not parked, no policy is asked, and the trace says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from dask_mlsched.core.controller import Controller
from dask_mlsched.extension import parking
from dask_mlsched.extension.dispatcher import Dispatcher, stimulus
from dask_mlsched.extension.parking import Unmanaged
from dask_mlsched.extension.recording import Recording
from dask_mlsched.extension.served_networks import ServedNetworks

if TYPE_CHECKING:
    from distributed.scheduler import Scheduler, TaskState

    from dask_mlsched.core.policies import Policy


class ModelRuns:
    """Parks tasks or leaves them to Dask, as it was chosen; `Management` derives from it."""

    scheduler: Scheduler
    dispatcher: Dispatcher
    recording: Recording
    networks: ServedNetworks
    controller: Controller | None
    policy_name: str

    @property
    def manages(self) -> bool:
        """Whether tasks are being parked and decided upon."""
        raise NotImplementedError

    def _schedule_pass(self) -> None:
        raise NotImplementedError

    def _guarded(self, where: str, function: Callable[..., object], *args: object) -> None:
        raise NotImplementedError

    # Parking

    def _give_back(self) -> int:
        return parking.release_all(self.scheduler, stimulus())

    def _park(self, tasks: Iterable[TaskState]) -> list[tuple[TaskState, Unmanaged]]:
        """Park what can be managed; list what cannot, and why."""
        return parking.park_all(self.scheduler, tasks, stimulus())

    def _park_or_leave(self, tasks: Sequence[TaskState]) -> list[tuple[TaskState, Unmanaged]]:
        """Park what can be managed, if that is wanted; list what is left to Dask, and why."""
        if self.manages:
            return self._park(tasks)
        return parking.leave_all(tasks) if self.networks.left_to_dask else []

    # Models

    def _begin_run(self) -> None:
        """Have a model chosen for the tasks at hand, and for what comes, where that is done."""
        self.networks.begin_run()
        if self.networks.training is not None:
            under_way = ("waiting", "processing", "queued", "no-worker")
            tasks = [ts for ts in self.scheduler.tasks.values() if ts.state in under_way]
            self.networks.graph_arrived(tasks, begun=False)

    def _ask(self, policy: Policy | None) -> None:
        """Have the policy asked from now on; none, as the trace says, where Dask alone decides."""
        assert self.controller is not None
        left = self.networks.left_to_dask
        self.controller.chooser.set_policy(None if left else policy)
        self.recording.policy_switched("stock" if left else self.policy_name)

    def _choose(self, tasks: Sequence[TaskState]) -> None:
        """Have a model chosen for tasks that arrive, where there is a reason to."""
        assert self.controller is not None
        guard, models = self.controller.chooser.guard, self.networks.models
        if guard is not None and guard.off and models is not None and models.choice is not None:
            return  # nobody would ask the model that is chosen before the next run
        managed = self.manages
        if self.networks.graph_arrived(tasks, begun=self.recording.begun > 0):
            if guard is not None and guard.failures and self.manages and models is not None:
                self._ask(models.policy)  # what another model failed in is not its fault
            self._obey(managed=managed)

    def catalogue_came(self) -> None:
        """Have a model chosen for what came before there was anything to choose from."""
        models = self.networks.models
        if self.controller is not None and models is not None and models.choice is None:
            self._guarded("choose", self._choose, ())

    def _obey(self, *, managed: bool) -> None:
        """Have those decide who were chosen, if it was not so before."""
        models = self.networks.models
        if models is not None and managed != self.manages:
            self._ask(models.policy)
            # Not from within Dask's own taking in of a graph: it knows which tasks move next.
            asyncio.get_running_loop().call_soon(self._guarded, "choose", self._settle)

    def _settle(self) -> None:
        """Give back, or take over, what was there before the choice."""
        if self.networks.left_to_dask:
            given_back = self._give_back()
            if given_back:
                self.dispatcher.unmanaged["baseline"] += given_back
        elif self.manages:
            self._park(list(self.scheduler.tasks.values()))
            self._schedule_pass()

    def _note_failures(self, controller: Controller) -> bool:
        """Never ask the model again whose policy was switched off; tell whether there was one."""
        guard = controller.chooser.guard
        models = self.networks.models
        if guard is None or not guard.off or models is None:
            return False
        return models.switched_off(guard.last_failure or "it failed")
