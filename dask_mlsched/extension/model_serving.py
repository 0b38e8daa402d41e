"""Has a model chosen for the graphs of a run, and has the policy decide by it.

The chooser follows the tasks that arrive; what there is to choose from comes from the process that
keeps the library. A choice is made with the first graph of a run, and again where the run's graph
has grown so much that it may be another one. It stays in force until another one is made: between
two runs nothing changes. Before the first catalogue, the network that ships decides.
"""

from __future__ import annotations

import asyncio
import importlib
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from dask_mlsched.core import features
from dask_mlsched.core.message_frame import FrameError
from dask_mlsched.core.model_choice import (
    BASELINE,
    ArrivingTask,
    Catalogue,
    Choice,
    ModelChooser,
)

if TYPE_CHECKING:
    from distributed.scheduler import TaskState

    from dask_mlsched.core.planners.learned import Learned
    from dask_mlsched.extension.model_events import ModelEvents
    from dask_mlsched.extension.problems import Problems

#: By its name: this layer does not import that one.
CHOOSER: Final = "dask_mlsched.learning.choosing.Chooser"

#: A run's graph that has grown by this share is looked at again; and before anything has begun,
#: when another choice costs nothing.
GROWN: Final = 1.5
GROWN_EARLY: Final = 1.1

#: Of a run, no more tasks than this are followed: its family is known by then.
MOST_TASKS: Final = 100_000

#: What a chooser is tried with, so that whatever it compiles is there before a graph comes.
_SAMPLE: Final[list[ArrivingTask]] = [
    ("given", "data", (), True),
    ("made", "chunk", (), False),
    ("read", "add", ("given", "made"), False),
]


async def load_chooser(seed: int) -> ModelChooser:
    """Make the chooser, ready to choose, in a thread: it may have to compile something.

    Raises
    ------
    Exception
        Whatever its code raises.
    """
    return await asyncio.to_thread(_loaded, CHOOSER, seed)


def _loaded(name: str, seed: int) -> ModelChooser:
    module, _, attribute = name.rpartition(".")
    chooser = cast("ModelChooser", getattr(importlib.import_module(module), attribute)(seed))
    chooser.graph_arrived(_SAMPLE)
    chooser.choose()
    chooser.begin_run()
    return chooser


class ModelServing:
    """Owns the chooser, the policy that is served, and the choice that is in force.

    Parameters
    ----------
    chooser
        Chooses; None if it could not be made: then nothing is ever chosen.
    problems
        Takes what goes wrong.
    events
        Takes what is chosen.
    """

    #: What there is to choose from; None before any was told.
    catalogue: Catalogue | None
    #: What is in force; None before any.
    choice: Choice | None
    #: How often which model was chosen.
    choices: Counter[str]
    #: What decides; None if it takes no network, and nothing is to be chosen.
    policy: Learned | None

    def __init__(
        self, chooser: ModelChooser | None, problems: Problems, events: ModelEvents
    ) -> None:
        self._chooser = chooser
        self._problems = problems
        self._events = events
        self.catalogue = None
        self.choice = None
        self.choices = Counter()
        self.policy = None
        #: Keys of the run that the chooser was told of.
        self._told: set[Hashable] = set()
        #: Tasks of the run so far, and when it was chosen for last; 0: not yet.
        self._arrived = self._chosen_at = 0
        #: Models that failed until they were not asked any more, each with the family.
        self._switched_off: set[tuple[str, str | None]] = set()

    def take(self, catalogue: Catalogue) -> None:
        """Choose from this one from the next choice on.

        Raises
        ------
        ValueError
            If a network or a family cannot be used; the one before stays.
        """
        for model, network in catalogue.networks.items():
            if network.mean.size != features.COUNT:
                msg = (
                    f"{model}, a network of {network.mean.size} features; expected "
                    f"{features.COUNT}; start the scheduler again if another version was "
                    "installed meanwhile"
                )
                raise FrameError(msg)
        if self._chooser is not None:
            self._chooser.take(catalogue)
        self.catalogue = catalogue

    # What serves

    @property
    def left_to_dask(self) -> bool:
        """Whether Dask alone decides, by choice."""
        return self.policy is not None and self.choice is not None and self.choice.network is None

    def serve(self, policy: Learned | None) -> None:
        """Have this policy decide by what was chosen; None: by nothing, it brings its own."""
        self.policy = policy
        if policy is None:
            self.choice = None
        elif self.choice is not None and self.choice.network is not None:
            policy.serve(self.choice.network, may_hold=True)

    def switched_off(self, reason: str) -> bool:
        """Never have the model that is in force decide again; tell whether there was one."""
        failed = self.choice
        if self.policy is None or failed is None or failed.network is None:
            return False
        self._switched_off.add((failed.model, failed.family))
        self._events.switched_off(failed.model, failed.family, reason)
        self.choice = self._allowed(failed)
        return True

    # Runs

    def begin_run(self) -> None:
        """Forget the graphs so far; the next one is chosen for."""
        self._arrived = self._chosen_at = 0
        if self._chooser is not None and self._told:
            self._told.clear()
            self._chooser.begin_run()

    def graph_arrived(self, tasks: Iterable[TaskState], *, begun: bool) -> bool:
        """Take in tasks of the run, and choose if there is a reason to.

        Parameters
        ----------
        tasks
            In any order; those that are known already are passed over.
        begun
            Whether any task of the run has begun.

        Returns
        -------
        bool
            Whether another choice is in force now.
        """
        if self._chooser is None or self.policy is None or self._arrived > MOST_TASKS:
            return False
        try:
            arriving = collect(tasks, self._told)
            self._chooser.graph_arrived(arriving)
            self._arrived += sum(not given for _, _, _, given in arriving)
            if self._arrived <= self._chosen_at * (GROWN if begun else GROWN_EARLY):
                return False
            found = self._chooser.choose()
        except Exception as error:  # noqa: BLE001 - counted and shown; what decides goes on
            self._problems.add(f"no model can be chosen: {type(error).__name__}: {error}")
            return False
        if found is None:
            return False  # there is no catalogue yet; it is chosen when one comes
        first, self._chosen_at = not self._chosen_at, self._arrived
        if not (first or _of_another_family(found, self.choice)):
            return False
        self._put_in_force(self._allowed(found))
        return True

    def _allowed(self, found: Choice) -> Choice:
        """Return the choice, or Dask alone for a model that failed too often."""
        if (found.model, found.family) not in self._switched_off:
            return found
        why = f"{found.model} failed so often that it is not asked any more; {found.why}"
        return replace(found, model=BASELINE, network=None, why=why)

    def _put_in_force(self, choice: Choice) -> None:
        self.choice = choice
        self.choices[choice.model] += 1
        if choice.network is not None and self.policy is not None:
            self.policy.serve(choice.network, may_hold=True)
        self._events.chosen(choice, self._arrived)

    def snapshot(self) -> dict[str, Any]:
        """Describe it for `status()`."""
        catalogue = self.catalogue
        return {
            "catalogue": None
            if catalogue is None
            else {
                "number": catalogue.number,
                "champion": catalogue.champion,
                "families": [family.name for family in catalogue.families],
                "models": [*catalogue.networks],
            },
            "choice": None if self.choice is None else self.choice.as_dict(),
            "choices": dict(self.choices),
            "switched_off": sorted({model for model, _ in self._switched_off}),
        }


def _of_another_family(found: Choice, before: Choice | None) -> bool:
    """Tell whether a graph turned out to be another one: only then is it drawn for again."""
    if before is None or found.family != before.family:
        return True
    return found.family is None and found.nearest != before.nearest


def collect(tasks: Iterable[TaskState], told: set[Hashable]) -> list[ArrivingTask]:
    """List tasks that were not told of yet, with the arrays that they read.

    Parameters
    ----------
    tasks
        Of a graph.
    told
        Keys of what was told of; those of the tasks are added. An array that is there but not
        among them is of an earlier run: it is given.
    """
    collected: list[ArrivingTask] = []
    new = [ts for ts in tasks if ts.key not in told]
    while new:
        told.update(ts.key for ts in new)
        read: dict[Hashable, TaskState] = {}
        for ts in new:
            if ts.state == "memory" or ts.run_spec is None:
                collected.append((ts.key, ts.prefix.name, (), True))
                continue
            keys = [dep.key for dep in ts.dependencies]
            collected.append((ts.key, ts.prefix.name, keys, False))
            if not told.issuperset(keys):
                read |= {dep.key: dep for dep in ts.dependencies if dep.key not in told}
        new = list(read.values())
    return collected
