"""A life with models: every run is taken in, families are served, models are made and sent back.

`ran` takes in what a run came to, and protects its family at once. `work` does the one thing that
is most worth doing next: a family's model is updated or split off, models are merged, a generalist
on trial is promoted or rejected, a champion that has become worse goes back. `catalogue` says what
there is to choose from. What happens is in the library's log; what is known of families, in their
files: a process that is killed is followed by one that goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from dask_mlsched.core.model_choice import BASELINE, Catalogue
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning import promotion, protection
from dask_mlsched.learning.catalogue_maker import CatalogueMaker
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.ended_run import EndedRun
from dask_mlsched.learning.families import Families
from dask_mlsched.learning.family import Family, Run
from dask_mlsched.learning.generality import BestKnown
from dask_mlsched.learning.library import Library
from dask_mlsched.learning.operations import Operations
from dask_mlsched.learning.outcome import Effort, Outcome
from dask_mlsched.learning.shipped import Shipped

#: Events that `Operations` does not tell of.
SENT_BACK: Final = "sent back"
SERVED_AGAIN: Final = "served again"
NEW_FAMILY: Final = "new family"

#: After each of the first runs a family's model is tried to be bettered; then more and more seldom.
EAGER: Final = 3


class Lifelong:
    """Keeps a library while runs come in.

    Parameters
    ----------
    library
        Open for writing.
    families
        Whose runs there are.
    thresholds
        When models come, go, and decide.
    ship
        Makes the instances that ship; see `Operations`.
    tell
        Takes what happens, besides the library's log.
    """

    def __init__(
        self,
        library: Library,
        families: Families,
        thresholds: Thresholds,
        ship: Callable[[], Shipped],
        tell: Callable[[Outcome], None] = lambda _outcome: None,
    ) -> None:
        self.operations = Operations(library, families, thresholds, ship)
        self.families = families
        self.thresholds = thresholds
        self._catalogues = CatalogueMaker(self.operations)
        self._library = library
        self._tell = tell
        #: Families with runs since their models were last tried to be bettered.
        self._waiting: dict[str, None] = {}
        #: The models that were tried to be merged since the start, by twos.
        self._merged: set[frozenset[str]] = set()
        #: The models of families when a generalist was last made of them.
        self._generalised: frozenset[str] = frozenset()
        #: Those that were last looked at for two to merge.
        self._looked_at: frozenset[str] = frozenset()
        #: What the champion was last compared with the one before on.
        self._compared: tuple[str, str, int] | None = None
        #: The best schedules of what it was compared on: to search for them takes longest.
        self._best = BestKnown()

    # Runs

    def ran(self, ended: EndedRun) -> Family | None:
        """Take in a run, and protect its family; None where there are too many families.

        Raises
        ------
        OSError, dask_mlsched.learning.library.LibraryError
            If something cannot be written.
        """
        before = len(self.families)
        family = self.families.of(ended.fingerprint, ended.program, ended.word, self.thresholds)
        if family is None or _was_taken_in(family, ended):
            return family
        if len(self.families) > before:
            self._note(NEW_FAMILY, f"its first run: {ended.fingerprint.tasks} tasks", family)
        if ended.instance is not None:
            offered = self.families.suite(family).offer(ended.program, ended.instance)
            if offered in ("frozen", "recent"):
                family.estimates.clear()
        run = self._run(family, ended)
        family.ran(run)
        self._protect(family, run)
        self._catalogues.estimate(family)
        if self.families.suite(family).instances and family.count >= family.attempt_at:
            self._waiting[family.name] = None
        self.families.save(family)
        return family

    def _run(self, family: Family, ended: EndedRun) -> Run:
        measured = None
        if ended.model == BASELINE:
            measured = ended.seconds
        elif ended.model is not None:
            measured = family.baseline_seconds(ended.program)
        return Run(
            time=ended.time,
            model=ended.model,
            program=ended.program,
            seconds=ended.seconds,
            baseline_seconds=ended.baseline_seconds if measured is None else measured,
            measured=measured is not None,
            bytes_moved=ended.bytes_moved,
            baseline_bytes=ended.baseline_bytes,
            held_share=ended.held_share,
            failures=ended.failures,
        )

    def _protect(self, family: Family, run: Run) -> None:
        if run.model == BASELINE:
            if protection.count_down(family):
                self._note(SERVED_AGAIN, "it has been with Dask alone for long enough", family)
            return
        reason = protection.objection(family, run, self.thresholds)
        if reason is None or run.model is None:
            return
        protection.send_back(family, run.model, reason, self.thresholds)
        told = f"{reason}; Dask alone has the next {family.runs_left} runs"
        self._note(SENT_BACK, told, family, run.model)
        self.families.save(family)
        if (outcome := self._taken_back()) is not None:
            self._tell(outcome)

    def _taken_back(self) -> Outcome | None:
        """Take back a generalist that had bad runs; also if who was to do so has been killed."""
        operations, families = self.operations, list(self.families)
        champion, challenger = operations.champion, operations.challenger
        if challenger is not None:
            if not operations.is_there(challenger):
                return operations.reject("it cannot be loaded")
            for family in families:
                if challenger in family.banned:
                    return operations.reject(f"{family.name}: {family.banned[challenger]}")
        struck = protection.struck_out(families, champion)
        if not struck and operations.is_there(champion):
            return None
        reason = f"bad runs of {', '.join(struck)}" if struck else "it cannot be loaded"
        if operations.goes_back:
            return operations.roll_back(reason)
        return None if struck else operations.begin_again(reason)

    def _note(self, event: str, reason: str, family: Family, model: str | None = None) -> None:
        self._library.note(event, what=model or "", why=reason, family=family.name)
        self._tell(Outcome(event, reason, model, family.name))

    def catalogue(self, number: int) -> Catalogue:
        """Say what there is to choose from; see `CatalogueMaker.make`."""
        return self._catalogues.make(number)

    # Work

    def work(
        self,
        effort: Callable[[], Effort],
        *,
        decisions: Callable[[Family], Decisions | None] = lambda _family: None,
    ) -> Outcome | None:
        """Do what is most worth doing; None if there was nothing to do.

        Parameters
        ----------
        effort
            What one operation may take.
        decisions
            Returns the labelled decisions of a family.

        Raises
        ------
        OSError, dask_mlsched.learning.library.LibraryError
            If the library cannot be read or written.
        """
        outcome = self._taken_back() or self._settled() or self._fallen_back()
        if outcome is None and self._waiting:
            family = self.families[next(iter(self._waiting))]
            del self._waiting[family.name]
            outcome = self.operations.update(
                family, effort(), decisions=decisions(family), seed=family.count
            )
            family.attempt_at = _next_attempt(family.count)
            self.families.save(family)
        elif outcome is None:
            outcome = self._fewer(effort)
        if outcome is not None:
            self._tell(outcome)
        return outcome

    def _settled(self) -> Outcome | None:
        """Promote or reject the challenger, if its real runs say enough."""
        challenger = self.operations.challenger
        if challenger is None:
            return None
        verdict = promotion.verdict(
            list(self.families),
            challenger,
            self.operations.champion,
            self.thresholds,
            self.operations.simulated,
        )
        if verdict is None:
            return None
        if verdict.objection is None:
            return self.operations.promote(challenger, verdict.reason, verdict.figures)
        return self.operations.reject(verdict.objection, verdict.figures)

    def _fewer(self, effort: Callable[[], Effort]) -> Outcome | None:
        """Make a generalist of models that are new, or one model of the two that are nearest."""
        models = self._all_own_models()
        if (
            self.operations.challenger is None
            and len(models - self._generalised) >= self.thresholds.merge_after
        ):
            return self._generalise(effort(), None)
        if models == self._looked_at:
            return None
        self._looked_at = models
        names = self.operations.closest()
        if names is None or (pair := self.operations.own_models(names)) in self._merged:
            return None
        self._merged.add(pair)
        return self.operations.merge(names, effort(), seed=len(self._merged))

    def generalise(self, effort: Effort, decisions: Decisions | None) -> Outcome:
        """Try a generalist with what was decided in real runs.

        If it is good enough, it takes the place of one that is on trial.

        Raises
        ------
        OSError, dask_mlsched.learning.library.LibraryError
            If the library cannot be read or written, or nothing has run that could be simulated.
        """
        outcome = self._generalise(effort, decisions)
        self._tell(outcome)
        return outcome

    def _generalise(self, effort: Effort, decisions: Decisions | None) -> Outcome:
        self._generalised = self._all_own_models()
        seed = len(self._library.events())  # another one each time
        return self.operations.generalise(effort, decisions=decisions, seed=seed)

    def _all_own_models(self) -> frozenset[str]:
        return self.operations.own_models(each.name for each in self.families)

    def _fallen_back(self) -> Outcome | None:
        """Roll the champion back, if it serves families worse than the one before did."""
        champion, previous = self.operations.champion, self.operations.previous
        if previous is None or champion == BASELINE:
            return None
        if not (self.operations.is_there(champion) and self.operations.is_there(previous)):
            return None
        frozen = sum(len(self.families.suite(each).frozen) for each in self.families)
        if self._compared == (champion, previous, frozen):
            return None
        self._compared = champion, previous, frozen
        found = promotion.fallen(
            self.operations,
            list(self.families),
            champion,
            previous,
            self.thresholds,
            self._best,
        )
        return None if found is None else self.operations.roll_back(*found)


def _was_taken_in(family: Family, ended: EndedRun) -> bool:
    """Tell whether a process that was killed had come so far with a run already."""
    return any((run.time, run.program) == (ended.time, ended.program) for run in family.runs)


def _next_attempt(count: int) -> int:
    """Return the number of runs after which a family's model is tried to be bettered again."""
    return count + 1 if count < EAGER else math.ceil(count * 1.5)
