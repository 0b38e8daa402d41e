"""Which network a policy decides by: a model that was chosen, and a specialist's for its graph.

Each comes from a process of its own, for those policies that take it. The code for either is only
loaded where it is wanted: what it needs takes a second to import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, cast

from dask_mlsched.core.policies import LEARNED

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

    from dask_mlsched.config import Config
    from dask_mlsched.core.model_choice import ModelChooser
    from dask_mlsched.core.planners.learned import Learned
    from dask_mlsched.core.policies import Policy
    from dask_mlsched.extension.model_events import LogEvent
    from dask_mlsched.extension.model_serving import ModelServing
    from dask_mlsched.extension.online_training import OnlineTraining
    from dask_mlsched.extension.recording import Ended
    from dask_mlsched.extension.specialising import Specialising

#: So long does the start wait, at most, for the specialist's process.
_SETTLED_SECONDS: Final = 15.0


class ServedNetworks:
    """Owns what learns from runs and what asks for specialists; gives them back by `close`.

    Parameters
    ----------
    config
        Says which of them are wanted.
    give_back
        Called where Dask alone does best: its tasks are to go back to it.
    """

    #: Asks for specialists, while a policy is asked that specialises.
    specialising: Specialising | None
    #: Has runs learned from, unless that is off.
    training: OnlineTraining | None

    def __init__(self, config: Config, give_back: Callable[[], object]) -> None:
        self._config = config
        self._give_back = give_back
        self.specialising = None
        self.training = None
        self._chooser: ModelChooser | None = None
        #: Why there is none.
        self._no_chooser: str | None = None

    def serve(self, policy: Policy | None, name: str, *, manages: bool) -> None:
        """Give a policy that is to be asked the model that is in force, and a specialist's answer.

        Parameters
        ----------
        policy, name
            The policy, and how it is configured.
        manages
            Whether it decides; where runs are only observed, no model is chosen.
        """
        if self.models is not None:
            # A user's own class brings its own network.
            chosen_for = name in LEARNED and manages
            self.models.serve(cast("Learned", policy) if chosen_for else None)
        self.specialise(policy)

    # Models

    @property
    def models(self) -> ModelServing | None:
        """What has models chosen; None if training is off."""
        return None if self.training is None else self.training.models

    @property
    def left_to_dask(self) -> bool:
        """Whether Dask alone decides because that was chosen."""
        return self.models is not None and self.models.left_to_dask

    @property
    def model(self) -> str | None:
        """What decides, by its name in the library; None if none was chosen."""
        models = self.models
        return None if models is None or models.choice is None else models.choice.model

    def begin_run(self) -> None:
        """Forget the graphs so far: another run begins."""
        if self.models is not None:
            self.models.begin_run()
            self._forget_specialist()

    def graph_arrived(self, tasks: Sequence[TaskState], *, begun: bool) -> bool:
        """Take tasks in that have arrived; tell whether another choice is in force for them.

        Parameters
        ----------
        tasks, begun
            See `ModelServing.graph_arrived`.
        """
        if self.specialising is not None:
            self.specialising.graph_arrived(len(tasks))
        models = self.models
        if models is None or not models.graph_arrived(tasks, begun=begun):
            return False
        if models.left_to_dask:
            self._forget_specialist()
        elif self.specialising is not None and models.policy is not None:
            # Its specialists are to begin at the model that was chosen.
            self.specialising.serve(models.policy)
        return True

    def _forget_specialist(self) -> None:
        if self.specialising is not None:
            self.specialising.forget()

    # Specialists

    def specialise(self, policy: Policy | None) -> None:
        """Have a policy specialised from now on, if it is one of that kind; else end that."""
        # A policy says of itself what it is.
        if not (getattr(policy, "specialises", False) and self._config.specialise):
            if self.specialising is not None:
                self.specialising.close()
                self.specialising = None
            return
        from dask_mlsched.extension.specialising import Budget, Specialising

        if self.specialising is None:
            self.specialising = Specialising(Budget.of(self._config), self._give_back)
        self.specialising.serve(cast("Learned", policy))

    async def settled(self) -> None:
        """Wait for the specialist's process, so that the first graph has a specialist at once."""
        if self.specialising is not None:
            await self.specialising.settled(_SETTLED_SECONDS)

    # Training

    async def prepare_training(self) -> None:
        """Have what chooses models ready before any graph comes, unless training is off."""
        if self._config.training == "off":
            return
        from dask_mlsched.extension.model_serving import load_chooser

        try:
            self._chooser = await load_chooser(self._config.seed)
        except Exception as error:  # noqa: BLE001 - foreign to this layer; counted once it begins
            self._no_chooser = f"models cannot be chosen: {type(error).__name__}: {error}"

    def begin_training(self, log_event: LogEvent) -> None:
        """Have runs learned from, unless that is off.

        Parameters
        ----------
        log_event
            Takes structured events.
        """
        if self._config.training == "off":
            return
        from dask_mlsched.extension.online_training import OnlineTraining

        self.training = OnlineTraining(self._config, self._chooser, log_event)
        if self._no_chooser is not None:
            self.training.problems.add(self._no_chooser)

    def learn_from(self, ended: Ended | None, *, at_once: bool) -> None:
        """Have a run learned from, if there was one; see `OnlineTraining.take`."""
        if ended is not None and self.training is not None:
            self.training.take(ended, at_once=at_once)

    def close(self) -> None:
        """End both processes; calling it again does nothing."""
        self.specialise(None)
        if self.training is not None:
            self.training.close()
