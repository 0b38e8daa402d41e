"""The network's policy, live: scores for the nearest parked tasks and for HOLD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from dask_mlsched.core.compiled.rollout import LONGEST
from dask_mlsched.core.network import Network
from dask_mlsched.core.planners.mirror import Mirror
from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.planners.planner import BasePlanner
from dask_mlsched.core.policies import HoldOption
from dask_mlsched.core.served import Served


@dataclass(slots=True)
class _Serving:
    """What all planners of one policy share."""

    now: Served


class Learned(BasePlanner):
    """Runs what a network prefers, or holds the slot where it prefers that.

    Parameters
    ----------
    network
        Scores what `features` tells of.
    name
        What users see: the generalist and a specialist differ in their weights alone.
    may_hold
        Whether HOLD may be chosen.
    """

    #: More than a decision can rank.
    shortlist = LONGEST + 8

    def __init__(self, network: Network, name: str = "learned", *, may_hold: bool = True) -> None:
        self._serving = _Serving(Served(network, may_hold))
        self.name = name
        #: Set by a proposal that prefers to wait.
        self.hold: HoldOption | None = None

    def prepare(self) -> None:
        """Have everything compiled before anybody waits for a decision; may take minutes once."""
        from dask_mlsched.core.planners.warm_up import warm_up  # which makes one of these

        warm_up()

    def fresh(self) -> Self:
        """Make another with the same network, which knows nothing yet."""
        made = type(self)(self.network, self.name)
        made._serving = self._serving  # noqa: SLF001 - of its own kind
        return made

    @property
    def network(self) -> Network:
        """What it decides by now."""
        return self.serves.network

    @property
    def serves(self) -> Served:
        """What it decides by now, and how; another one each time that it changes."""
        return self._serving.now

    def serve(
        self, network: Network, *, may_hold: bool, guide: Mapping[int, int] | None = None
    ) -> None:
        """Decide by another network from the next decision on, as do all made by `fresh`.

        Parameters
        ----------
        network, may_hold, guide
            See `Served`.
        """
        self._serving.now = Served(network, may_hold, guide)

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        super().attach(picture, level)
        #: None: to be made, at the next proposal, from all there is.
        self._mirror: Mirror | None = None
        #: What the tables were made with.
        self._guided_by: Mapping[int, int] | None = None

    def propose(self, worker: int, now: float) -> Sequence[int]:
        """Rank the nearest tasks, the best first; `hold` says whether waiting is better."""
        served = self.serves
        guide = served.guide
        if self._mirror is None or guide is not self._guided_by:
            shortlist = min(LONGEST, self.picture.shortlist)
            self._mirror = Mirror(self.picture, self.level, shortlist, guide)
            self._guided_by = guide
        mirror = self._mirror
        tasks = mirror.decide(served.network, worker, now)
        self.hold = None
        if served.may_hold and mirror.prefers_hold:
            promise = mirror.hold
            self.hold = HoldOption(
                until=float(promise["hold_until"]),
                successor=int(promise["hold_successor"]),
                missing_bytes=int(promise["hold_missing"]),
                saved_seconds=float(promise["hold_saved"]),
            )
        return tasks

    def graph_changed(self, tasks: Sequence[int]) -> None:
        """Follow."""
        if self._mirror is not None:
            self._mirror.graph_changed(tasks)

    def task_forgotten(self, task: int) -> None:
        """Follow."""
        if self._mirror is not None:
            self._mirror.forget(task)

    def array_released(self, array: int) -> None:
        """Follow."""
        if self._mirror is not None:
            self._mirror.released(array)

    def task_ready(self, task: int) -> None:
        """Follow."""
        if self._mirror is not None:
            self._mirror.ready(task)

    def task_withdrawn(self, task: int) -> None:
        """Follow."""
        if self._mirror is not None:
            self._mirror.withdrawn(task)

    def task_sent(self, task: int, worker: int) -> None:
        """Follow."""
        if self._mirror is not None:
            self._mirror.sent(task, worker)

    def task_ended(self, task: int, worker: int) -> None:
        """Follow."""
        if self._mirror is not None:
            self._mirror.ended(task, worker)

    def residency_changed(self, worker: int, came: Sequence[int], gone: Sequence[int]) -> None:
        """Follow."""
        if self._mirror is not None:
            self._mirror.moved(worker, came, gone)

    def worker_joined(self, worker: int) -> None:
        """Begin anew: it is rare, and all homes may change."""
        self._mirror = None

    def worker_left(self, worker: int) -> None:
        """Begin anew."""
        self._mirror = None

    def limit_seen(self, worker: int) -> None:
        """Begin anew."""
        self._mirror = None
