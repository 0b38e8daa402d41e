"""All runs of one problem under several policies, and what they add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from dask_mlsched.benchmarks.problem import Problem
from dask_mlsched.benchmarks.runner import STOCK, Arm, Conditions, run_arm, turns

#: Called with the number of the run, its policy, and how far it is, 0 to 1.
OnStep = Callable[[int, str, float], None]

_COUNTS = ("bytes_loaded", "bytes_evicted", "loads", "evictions")


@dataclass(frozen=True)
class Summary:
    """One policy's runs of one problem."""

    policy: str
    #: Medians over the repeats.
    seconds: float
    bytes_loaded: int
    bytes_evicted: int
    loads: int
    evictions: int
    holds: int
    #: Seconds over those of stock in the same repeat; empty without stock, ones for stock itself.
    ratios: tuple[float, ...]
    #: Whether every run's result is, bit by bit, that of all other runs, and what scipy or numpy
    #: computes.
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
        """Sum the runs up by policy, in the order in which they first ran."""
        names = dict.fromkeys(arm.policy for arm in self.arms)
        return [self._summary([arm for arm in self.arms if arm.policy == name]) for name in names]

    def _same(self, arms: Sequence[Arm]) -> bool:
        return {arm.digest for arm in arms} <= {self.arms[0].digest}

    def _summary(self, arms: Sequence[Arm]) -> Summary:
        stock = {arm.repeat: arm.seconds for arm in self.arms if arm.policy == STOCK}
        totals = {name: int(median(arm.totals[name] for arm in arms)) for name in _COUNTS}
        return Summary(
            policy=arms[0].policy,
            seconds=median(arm.seconds for arm in arms),
            holds=int(median(arm.status.get("holds", 0) for arm in arms)),
            ratios=tuple(arm.seconds / stock[arm.repeat] for arm in arms if arm.repeat in stock),
            results_equal=self._same(arms) and all(arm.matches_reference for arm in arms),
            **totals,
        )


def compare(
    problem: Problem,
    conditions: Conditions,
    policies: Sequence[str],
    repeats: int,
    on_step: OnStep | None = None,
) -> Comparison:
    """Run a problem `repeats` times under each policy, the policies taking turns.

    Raises
    ------
    RunFailedError
        If a run fails or does not end.
    """
    arms = []
    for number, (repeat, position, policy) in enumerate(turns(policies, repeats)):
        on_progress = None if on_step is None else partial(on_step, number, policy)
        if on_progress is not None:
            on_progress(0.0)
        arms.append(
            run_arm(
                problem,
                policy,
                conditions,
                repeat=repeat,
                position=position,
                on_progress=on_progress,
            )
        )
    return Comparison(problem, conditions, arms)
