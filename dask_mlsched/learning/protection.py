"""Whether what a model came to in real runs is so bad that its family goes back to Dask alone.

A model that did is never asked for that family again: it is the version that is banned, so a later
one may be. The family stays with Dask alone for some runs, and for twice as many the next time. A
generalist that did so in two families goes back to the one before.

So there is a bound. Call a run bad if it loses more to Dask alone than the budget, a tenth of its
time. A version whose runs are bad costs a family one of them, and a generalist with one before it
two families in all. One that wins first and gets bad then loses at most what it won in its last
runs, the budget, what may be luck, and one run more; of more than `bad_run` there is never a second
one. All of it is of runs that begin after the last one was taken in.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Final

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning.beliefs import NOISE
from dask_mlsched.learning.family import Family, Run
from dask_mlsched.learning.statistics import chance_above

#: So many failures in one run and the policy is worthless there.
FAILURES: Final = 10

#: A generalist that was sent back in so many families goes back itself.
STRIKES: Final = 2

#: Deviations of what several runs scatter by that a loss has to be above: one in twenty is.
LUCK: Final = 1.65

#: A family is never sent back for more runs than this at once.
MOST_RUNS: Final = 64


def objection(family: Family, run: Run, thresholds: Thresholds) -> str | None:
    """Say why the model of a run is not to decide for a family again; None if it may.

    Parameters
    ----------
    family
        With the run as its latest.
    """
    # A run of a model that is banned was under way by then: it has been paid for.
    if run.model in (None, BASELINE) or not family.may_decide(run.model):
        return None
    if run.failures >= FAILURES:
        return f"its policy failed {run.failures} times in one run"
    if run.seconds > thresholds.bad_run * run.baseline_seconds > 0:
        ratio = run.seconds / run.baseline_seconds
        return f"one run took {ratio:.2f} of Dask's time; expected {thresholds.bad_run} at most"
    if (
        run.held_share > thresholds.held_share
        and run.bytes_moved >= run.baseline_bytes > 0
        and run.gain < 0
    ):
        return f"{run.held_share:.0%} of the workers' time was held, and no byte was saved"
    runs = [each for each in family.runs_of(run.model) if each.known]
    return _slower(runs, thresholds) or _lost(runs, thresholds)


def _slower(runs: Sequence[Run], thresholds: Thresholds) -> str | None:
    losses = [-each.gain for each in runs[-2 * thresholds.slow_runs :]]
    if len(losses) < max(1, thresholds.slow_runs) or median(losses) <= math.log1p(
        thresholds.slower
    ):
        return None
    chance = chance_above(losses)
    if chance >= thresholds.significance:
        return None
    return (
        f"the median of {len(losses)} runs took {math.exp(median(losses)):.3f} of Dask's time "
        f"(p = {chance:.3f})"
    )


def _lost(runs: Sequence[Run], thresholds: Thresholds) -> str | None:
    """Tell whether the last runs of a model lost more than they may, and the latest did, too.

    No other model's runs count: what they won is no excuse, and what they lost no guilt.
    """
    latest = runs[-max(1, thresholds.slow_runs) :]
    lost = sum(_loss(each) for each in latest)
    # Runs scatter: of several together, some loss is luck that would come sooner or later.
    luck = 0.0 if len(latest) < 2 else LUCK * NOISE * math.sqrt(len(latest))
    if lost <= thresholds.loss_budget + luck or latest[-1].gain >= 0:
        return None
    return (
        f"the last {len(latest)} runs lost {lost:.3f} of one run's time to Dask alone; "
        f"expected {thresholds.loss_budget} at most"
    )


def _loss(run: Run) -> float:
    """Return the time that a run lost over what Dask alone takes; below 0 if it won some."""
    return run.seconds / run.baseline_seconds - 1 if run.baseline_seconds > 0 else 0.0


def send_back(family: Family, model: str, reason: str, thresholds: Thresholds) -> None:
    """Leave a family to Dask alone for some runs, and never ask that model for it again."""
    family.banned[model] = reason
    family.sent_back = f"{model}: {reason}"
    doubled = 2 ** min(family.strikes, MOST_RUNS)  # a number that may be held, whoever wrote it
    family.runs_left = min(MOST_RUNS, thresholds.sent_back_runs * doubled)
    family.strikes += 1


def count_down(family: Family) -> bool:
    """Count one run with Dask alone; tell whether the family may be served again."""
    if family.sent_back is None:
        return False
    family.runs_left -= 1
    if family.runs_left > 0:
        return False
    family.sent_back = None
    family.runs_left = 0
    return True


def struck_out(families: Sequence[Family], model: str) -> list[str]:
    """List the families for which a model is banned, if they are enough for it to go back."""
    found = [family.name for family in families if model in family.banned]
    return found if len(found) >= STRIKES else []
