"""All runs of one problem by several contenders, and what they add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from dask_mlsched.benchmarks.clusters import Conditions
from dask_mlsched.benchmarks.contender import STOCK, Contender
from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.runner import Arm, run_arm, turns

#: Called with the number of the run, its contender, and how far it is, 0 to 1.
OnStep = Callable[[int, Contender, float], None]

_COUNTS = ("bytes_loaded", "bytes_evicted", "loads", "evictions")


@dataclass(frozen=True)
class Summary:
    """One contender's runs of one problem."""

    contender: Contender
    #: Medians over the repeats.
    seconds: float
    bytes_loaded: int
    bytes_evicted: int
    loads: int
    evictions: int
    holds: int
    #: Seconds over those of stock in the same repeat; empty without stock, ones for stock itself.
    #: Where stock ran on several stores, the first that was named counts.
    ratios: tuple[float, ...]
    #: Whether every run's result is what scipy or numpy computes, and bit by bit that of all other
    #: runs, but for those on devices, whose libraries may round as they like.
    results_equal: bool

    @property
    def ratio(self) -> float | None:
        """The median ratio to stock; below one is faster."""
        return median(self.ratios) if self.ratios else None


@dataclass(frozen=True)
class Comparison:
    """All runs of one problem."""

    problem: Problem
    conditions: Conditions
    arms: Sequence[Arm]

    @property
    def results_equal(self) -> bool:
        """Whether all runs have the same, right result."""
        return all(arm.matches_reference for arm in self.arms) and self._same(self.arms)

    def summaries(self) -> list[Summary]:
        """Sum the runs up by contender, in the order in which they first ran."""
        contenders = dict.fromkeys(arm.contender for arm in self.arms)
        return [
            self._summary([arm for arm in self.arms if arm.contender == each])
            for each in contenders
        ]

    def _same(self, arms: Sequence[Arm]) -> bool:
        first = next((arm.digest for arm in self.arms if arm.digest is not None), None)
        return {arm.digest for arm in arms} <= {first, None}

    def _summary(self, arms: Sequence[Arm]) -> Summary:
        baseline = next((a.contender for a in self.arms if a.contender.policy == STOCK), None)
        stock = {arm.repeat: arm.seconds for arm in self.arms if arm.contender == baseline}
        totals = {name: int(median(arm.totals[name] for arm in arms)) for name in _COUNTS}
        return Summary(
            contender=arms[0].contender,
            seconds=median(arm.seconds for arm in arms),
            holds=int(median(arm.status.get("holds", 0) for arm in arms)),
            ratios=tuple(arm.seconds / stock[arm.repeat] for arm in arms if arm.repeat in stock),
            results_equal=self._same(arms) and all(arm.matches_reference for arm in arms),
            **totals,
        )


def compare(
    problem: Problem,
    conditions: Conditions,
    contenders: Sequence[Contender],
    repeats: int,
    on_step: OnStep | None = None,
) -> Comparison:
    """Run a problem `repeats` times with each contender; they take turns.

    Raises
    ------
    RunFailedError
        If a run fails or does not end.
    """
    arms = []
    for number, (repeat, position, contender) in enumerate(turns(contenders, repeats)):
        on_progress = None if on_step is None else partial(on_step, number, contender)
        if on_progress is not None:
            on_progress(0.0)
        arms.append(
            run_arm(
                problem,
                contender,
                conditions,
                repeat=repeat,
                position=position,
                on_progress=on_progress,
            )
        )
    return Comparison(problem, conditions, arms)
