"""What planners have in common that plan everything at once, and anew when something changes."""

from __future__ import annotations

from dask_mlsched.core.planners.picture import Picture
from dask_mlsched.core.planners.planner import BasePlanner


class Replanner(BasePlanner):
    """Knows the workers and the parked tasks, and whether the plan still fits them."""

    def attach(self, picture: Picture, level: float) -> None:
        """Begin, for the tasks of one user priority."""
        super().attach(picture, level)
        #: Whether to plan before the next proposal.
        self._stale = True
        #: In ascending order.
        self._workers: list[int] = []
        self._parked: set[int] = set()

    def task_withdrawn(self, task: int) -> None:
        """Take the task out."""
        self._parked.discard(task)

    def worker_joined(self, worker: int) -> None:
        """Plan anew."""
        if worker not in self._workers:
            self._workers = sorted((*self._workers, worker))
            self._stale = True

    def worker_left(self, worker: int) -> None:
        """Plan anew."""
        if worker in self._workers:
            self._workers = [each for each in self._workers if each != worker]
            self._stale = True
