"""Calls a policy and survives whatever it does."""

from __future__ import annotations

import math
from collections.abc import Callable

from dask_mlsched.core.policies import Policy, Situation


class PolicyGuard:
    """Turns a policy's scores into a choice, or into a counted failure.

    A policy that raises, answers with the wrong number of scores or with NaN,
    or takes longer than its budget has failed; the caller then falls back to
    Dask's order. After `failures` failures the policy is not asked again.

    Parameters
    ----------
    policy
        What to ask.
    stopwatch
        Returns seconds; only differences are used.
    time_budget
        Seconds that one call may take.
    failures
        How many failures switch the policy off.
    """

    def __init__(
        self,
        policy: Policy,
        stopwatch: Callable[[], float],
        *,
        time_budget: float,
        failures: int,
    ) -> None:
        self.policy = policy
        self._stopwatch = stopwatch
        self._time_budget = time_budget
        self._failures_allowed = failures
        #: How long the last call took.
        self.seconds = 0.0
        #: How often the policy has failed, and what the last failure was.
        self.failures = 0
        self.last_failure: str | None = None

    @property
    def off(self) -> bool:
        """Whether the policy has failed too often to be asked again."""
        return self.failures >= self._failures_allowed

    def choose(self, situation: Situation) -> int | None:
        """Ask the policy.

        Returns
        -------
        int or None
            Index into the candidates; their number stands for HOLD; None is a failure.
        """
        started = self._stopwatch()
        try:
            scores = list(self.policy.score(situation))
            self.seconds = self._stopwatch() - started
            problem = self._problem(scores, situation, self.seconds)
            if problem is None:
                # In here as well: what is no NaN may still not compare.
                return max(range(len(scores)), key=scores.__getitem__)
        except Exception as error:  # noqa: BLE001 - a policy is foreign code and may raise anything
            self.seconds = self._stopwatch() - started
            problem = f"raised {type(error).__name__}: {error}"
        self.failures += 1
        self.last_failure = f"policy {self.policy.name!r} {problem}"
        return None

    def _problem(self, scores: list[float], situation: Situation, elapsed: float) -> str | None:
        """Say what is wrong with an answer; None if nothing is."""
        actions = len(situation.candidates) + (situation.hold is not None)
        if len(scores) != actions:
            return f"gave {len(scores)} scores for {actions} actions"
        try:
            if any(math.isnan(score) for score in scores):
                return "gave NaN as a score"
        except TypeError as error:
            return f"gave a score that is not a number: {error}"
        if elapsed > self._time_budget:
            return f"took {elapsed:.3g} s; it may take {self._time_budget:.3g} s"
        return None
