"""Which network a policy decides by: one that was learned here, and a specialist's for its graph.

Each comes from a process of its own, for those policies that take it. The code for either is only
loaded where it is wanted: what it needs takes a second to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from dask_mlsched.core.policies import LEARNED

if TYPE_CHECKING:
    from dask_mlsched.config import Config
    from dask_mlsched.core.planners.learned import Learned
    from dask_mlsched.core.policies import Policy
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

    def __init__(self, config: Config, give_back: Callable[[], None]) -> None:
        self._config = config
        self._give_back = give_back
        self.specialising = None
        self.training = None

    def serve(self, policy: Policy | None, name: str) -> None:
        """Give a policy that is to be asked what was learned here, and a specialist's answer."""
        if self.training is not None:
            # A user's own class brings its own network.
            self.training.serve(cast("Learned", policy) if name in LEARNED else None)
        self.specialise(policy)

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

    def graph_arrived(self, tasks: int) -> None:
        """Count tasks that have arrived."""
        if self.specialising is not None:
            self.specialising.graph_arrived(tasks)

    # Training

    def begin_training(self) -> None:
        """Have runs learned from, unless that is off."""
        if self._config.training == "off":
            return
        from dask_mlsched.extension.online_training import OnlineTraining

        self.training = OnlineTraining(self._config)

    def learn_from(self, ended: Ended | None, *, at_once: bool) -> None:
        """Have a run learned from, if there was one; see `OnlineTraining.take`."""
        if ended is not None and self.training is not None:
            self.training.take(ended, at_once=at_once)

    def serve_newest(self, policy: Policy | None) -> None:
        """Have the policy that is asked decide by what was learned last, if that is new."""
        if self.training is None or not self.training.has_news:
            return
        self.training.serve_newest()
        if policy is not None and self.specialising is not None:
            # Its specialists are to begin there.
            self.specialising.serve(cast("Learned", policy))

    def close(self) -> None:
        """End both processes; calling it again does nothing."""
        self.specialise(None)
        if self.training is not None:
            self.training.close()
