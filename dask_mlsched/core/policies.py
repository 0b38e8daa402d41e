"""The Policy protocol, and the hand-written policies.

A policy proposes and the controller disposes: the policy gives every action of
a decision a score, the controller checks them and takes the highest. So a
policy cannot break a safety rule, and a learned policy and a hand-written one
look alike.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, cast, runtime_checkable

from dask_mlsched.core.events import Priority

#: Which parked tasks a policy wants to choose from, those with the fewest missing bytes,
#: those parked longest, or any. A policy whose view is "planned" is a `planners.planner.Planner`:
#: it proposes tasks itself.
View: TypeAlias = Literal["nearest", "oldest", "any", "planned"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A parked task that could run in the slot."""

    task: int
    #: Dask's priority, and then the task's turn among ready tasks that share it.
    priority: Priority
    #: Bytes of inputs that are not resident on the worker, and of those that are.
    missing_bytes: int
    resident_bytes: int
    #: Bytes that the task is expected to make.
    output_bytes: int
    #: Whether the task reads nothing.
    root: bool


@dataclass(frozen=True, slots=True)
class HoldOption:
    """What holding the slot promises."""

    #: The latest end of the hold, in seconds on the events' clock.
    until: float
    #: The successor that is waited for, and its missing bytes once it is ready.
    successor: int
    missing_bytes: int
    #: Seconds of copying that it saves over the candidate with the fewest missing bytes.
    saved_seconds: float


@dataclass(frozen=True, slots=True)
class Situation:
    """One decision: a free slot and what could be done with it."""

    time: float
    worker: int
    #: Device memory limit and what is resident, in bytes.
    limit: int | None
    resident_bytes: int
    #: In Dask's order; never empty.
    candidates: tuple[Candidate, ...]
    #: None where holding is not allowed.
    hold: HoldOption | None


@runtime_checkable
class Policy(Protocol):
    """Scores the actions of a decision."""

    #: The name that users configure and see.
    name: str
    #: Which parked tasks it wants to choose from, and at most how many.
    view: View
    shortlist: int

    def score(self, situation: Situation) -> Sequence[float]:
        """Score every candidate in order and then, if `situation.hold` is set, HOLD.

        Returns
        -------
        Sequence[float]
            [K] or [K + 1] finite scores. The highest is taken, the first of equals.
        """
        ...


class Stochastic(Protocol):
    """What a policy that chooses at random has besides `Policy`, for those that learn from it."""

    def propensity(self, situation: Situation, action: int) -> float:
        """Say how probable it was that the policy would take an action; changes nothing.

        Parameters
        ----------
        action
            Index into the candidates; their number stands for HOLD.
        """
        ...


def propensity(policy: Policy, situation: Situation, action: int) -> float:
    """Return the probability with which a policy takes an action: 1 if it does not say."""
    # Not by `isinstance`, which takes longer for a protocol than the whole decision may.
    stochastic = cast("Stochastic", policy) if hasattr(policy, "propensity") else None
    return 1.0 if stochastic is None else stochastic.propensity(situation, action)


class Random:
    """Any ready task, each with the same chance: the control that others must beat."""

    name = "random"
    view: View = "any"
    shortlist = 1

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def score(self, situation: Situation) -> Sequence[float]:
        """Score at random; HOLD never."""
        scores = [self._rng.random() for _ in situation.candidates]
        return _never_hold(scores, situation)

    def propensity(self, situation: Situation, action: int) -> float:
        """Give each candidate the same chance, and HOLD none."""
        candidates = len(situation.candidates)
        return 1.0 / candidates if action < candidates else 0.0


class Fifo:
    """The task that has been ready longest."""

    name = "fifo"
    view: View = "oldest"
    shortlist = 1

    def score(self, situation: Situation) -> Sequence[float]:
        """Take what the view brought: the oldest; HOLD never."""
        return _never_hold([0.0] * len(situation.candidates), situation)


class Greedy:
    """The task with the fewest missing bytes, then Dask's order."""

    name = "greedy"
    view: View = "nearest"
    shortlist = 4

    def score(self, situation: Situation) -> Sequence[float]:
        """Score minus the missing bytes; HOLD never."""
        return _never_hold([-_bytes_to_bring_in(c) for c in situation.candidates], situation)


class GreedyHold(Greedy):
    """`Greedy`, but it waits for a successor that will miss fewer bytes than any ready task."""

    name = "greedy-hold"

    def score(self, situation: Situation) -> Sequence[float]:
        """Score minus the missing bytes, the successor's for HOLD."""
        scores = [-_bytes_to_bring_in(c) for c in situation.candidates]
        if situation.hold is not None:
            scores.append(-float(situation.hold.missing_bytes))
        return scores


def _bytes_to_bring_in(candidate: Candidate) -> float:
    # A task without inputs misses nothing, but what it makes fills the device just as a load
    # does; counted as nothing, every root would run before the first product.
    return float(candidate.output_bytes if candidate.root else candidate.missing_bytes)


def _never_hold(scores: list[float], situation: Situation) -> list[float]:
    if situation.hold is not None:
        scores.append(float("-inf"))
    return scores


#: Names of those that plan; they are in `planners`.
PLANNERS: tuple[str, ...] = (
    "dmdar",
    "darts",
    "darts-luf",
    "hfp",
    "active-set",
    "k-constraint",
    "stock-withhold",
)

#: Names that need no dotted path. `stock` is not a policy object: it leaves every choice to Dask.
NAMES: tuple[str, ...] = ("stock", "random", "fifo", "greedy", "greedy-hold", *PLANNERS)

#: Names of those that `dask_mlsched.learning` makes.
LEARNED: tuple[str, ...] = ("learned", "specialised")


def make(name: str, rng: random.Random) -> Policy:
    """Build a hand-written policy.

    Raises
    ------
    ValueError
        If there is no hand-written policy of that name.
    """
    # Planners are policies, so they import this module.
    from dask_mlsched.core import planners

    match name:
        case "random":
            return Random(rng)
        case "fifo":
            return Fifo()
        case "greedy":
            return Greedy()
        case "greedy-hold":
            return GreedyHold()
        case _ if name in PLANNERS:
            return planners.make(name)
        case _:
            msg = f"unknown policy {name!r}; expected one of {', '.join(NAMES)}"
            raise ValueError(msg)
