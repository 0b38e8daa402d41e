"""How we serve a stream of runs: fingerprint, choice, run, and what is then done to models.

All of it is the code that serves a cluster, with a library on disk; simulated are the runs alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from dask_mlsched.benchmarks.lifelong_stream import Arrival
from dask_mlsched.benchmarks.shipped_instances import ship
from dask_mlsched.core.model_choice import BASELINE, Choice
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.choosing import Chooser
from dask_mlsched.learning.dag_digest import dag_digest
from dask_mlsched.learning.ended_run import EndedRun
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.family import Family
from dask_mlsched.learning.fingerprint import fingerprint
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.lifelong import Lifelong
from dask_mlsched.learning.merging import Parent
from dask_mlsched.learning.models_in_use import GENERALIST
from dask_mlsched.learning.operations import Operations
from dask_mlsched.learning.outcome import Effort, Outcome
from dask_mlsched.learning.shipped import Shipped

#: What kind of model decided; "near" is another family's, "bad" the champion that is so on purpose.
Kind: TypeAlias = Literal["baseline", "generalist", "trial", "own", "shared", "near", "bad"]

#: Operations between two runs, at most.
STEPS: Final = 2

#: Runs of the bad champion take so many times as long as Dask alone.
BAD: Final = 1.6

BAD_REASON: Final = (
    "bad on purpose, promoted by hand past every gate: simulated it is as good as the champion "
    f"before, but its real runs take {BAD} of Dask's time"
)


@dataclass(frozen=True)
class Played:
    """What became of a run."""

    #: As the library names it, and what it was told apart as.
    family: str
    model: str
    kind: Kind
    why: str
    #: Makespan over that of Dask alone: as the run took it, and without its scatter.
    taken: float
    expected: float
    #: What happened to models before this run, and after it.
    happened: tuple[Outcome, ...] = ()


class Ours:
    """A library of models that serves a stream of runs.

    Parameters
    ----------
    root
        Where the library and the families are kept, as in the folder of a training.
    networks
        That one operation may run.
    seed
        Of the choices.
    shipped
        Makes the instances that ship.
    """

    def __init__(
        self, root: Path, networks: int, seed: int, shipped: Callable[[], Shipped] = ship
    ) -> None:
        self._clock = 0
        self._library = Library.open(root / "library", now=lambda: float(self._clock))
        self._happened: list[Outcome] = []
        self._life = Lifelong(
            self._library,
            Families(root / "families"),
            Thresholds(),
            shipped,
            self._happened.append,
        )
        self._networks = networks
        self._chooser = Chooser(seed)
        #: Models whose runs take longer than any simulation says.
        self._bad: set[str] = set()

    @property
    def operations(self) -> Operations:
        """What can be done to the models."""
        return self._life.operations

    def promote_bad_champion(self) -> None:
        """Promote a champion whose real runs are slow, as somebody might by hand."""
        champion = self.operations.champion
        network = self.operations.network(champion)
        worse = network._replace(skip=network.skip * 1.001)
        ref = self._library.add(
            GENERALIST, worse, made_by="by hand", reason=BAD_REASON, parents=[champion]
        )
        self._bad.add(ref)
        self._happened.append(self.operations.promote(ref, BAD_REASON))

    def serve(self, arrival: Arrival) -> Played:
        """Choose, run, and take the run in; then do what is most worth doing to models."""
        self._clock += 1
        choice = self._choose(arrival)
        kind = self._kind(choice)
        expected = 1.0
        if choice.model in self._bad:
            expected = BAD
        elif choice.network is not None:
            expected = arrival.instance.run(choice.network).makespan
        taken = expected * arrival.scatter
        family = self._ran(arrival, choice.model, taken)
        for _ in range(STEPS):
            if self._life.work(lambda: Effort.counted(self._networks)) is None:
                break
        happened = tuple(self._happened)
        self._happened.clear()
        name = "" if family is None else family.name
        return Played(name, choice.model, kind, choice.why, taken, expected, happened)

    def _choose(self, arrival: Arrival) -> Choice:
        self._chooser.take(self._life.catalogue(self._clock))
        self._chooser.begin_run()
        self._chooser.graph_arrived(
            [
                (task.key, task.prefix, task.dependencies, task.given)
                for task in arrival.instance.dag.tasks()
            ]
        )
        choice = self._chooser.choose()
        assert choice is not None
        return choice

    def _ran(self, arrival: Arrival, model: str, taken: float) -> Family | None:
        instance = arrival.instance
        return self._life.ran(
            EndedRun(
                fingerprint(instance.dag),
                f"{dag_digest(instance.dag):016x}",
                arrival.workload,
                float(self._clock),
                model,
                instance.stock_makespan * taken,
                instance.stock_makespan,
                instance,
            )
        )

    def _kind(self, choice: Choice) -> Kind:
        operations = self.operations
        if choice.model in self._bad:
            return "bad"
        named: dict[str | None, Kind] = {
            operations.champion: "generalist",
            operations.challenger: "trial",
            BASELINE: "baseline",
        }
        if choice.model in named:
            return named[choice.model]
        known = choice.family is not None
        if not known or choice.model != operations.own(self._life.families[str(choice.family)]):
            return "near"
        return "shared" if len(self._library.card(choice.model).families) > 1 else "own"

    def parents(self) -> list[Parent]:
        """Return the families that have runs, with the models that serve them."""
        operations = self.operations
        return [
            Parent(
                family.name,
                operations.network(operations.own(family) or operations.champion),
                operations.variants(family),
            )
            for family in self._life.families
            if operations.variants(family).judged
        ]
