"""One update of a model: a challenger is made, and put to the gate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dask_mlsched.core.network import Network
from dask_mlsched.learning.challengers import MadeBy, challenger, nearer
from dask_mlsched.learning.decision_record import Records
from dask_mlsched.learning.decisions import Decisions
from dask_mlsched.learning.gate import Suite, compare, judged
from dask_mlsched.learning.instance import Instance


@dataclass(frozen=True)
class Shipped:
    """Instances that ship: those of the frozen suite, and others to search on."""

    judged: Sequence[Instance]
    searched: Sequence[Instance]


@dataclass(frozen=True, eq=False)
class Attempt:
    """What an update came to."""

    #: None if nothing was found to try.
    network: Network | None
    made_by: MadeBy | None
    #: Why it may not take over; None if it may.
    objection: str | None
    figures: dict[str, float]


def attempt_update(
    champion: Network,
    own: Sequence[Instance],
    shipped: Shipped,
    labelled: Records,
    *,
    elapsed: Callable[[], float],
    seconds: float,
) -> Attempt:
    """Make a challenger of what there is time for, and compare it with the champion.

    Parameters
    ----------
    own
        The part of the frozen suite that is of own runs; it is searched on, too.
    labelled
        Decisions with labels, oldest first.
    elapsed, seconds
        How long it has taken so far, asked often, and may take; the gate's runs come on top.
    """
    made = challenger(
        champion,
        Suite(own, shipped.searched),
        Decisions.from_records(labelled) if len(labelled) else None,
        # Another update of the same champion is not to try the same again.
        seed=int(labelled["sequence"].max(initial=0)),
        elapsed=elapsed,
        seconds=seconds,
    )
    suite = Suite(own, shipped.judged)
    figures: dict[str, float] = {"own_runs": len(own), "instances": len(suite.instances)}
    if made is None:
        nothing = "nothing better was found on what was searched with"
        return Attempt(None, None, nothing, figures)
    first: Attempt | None = None
    before = judged(suite, champion)
    for share, network in nearer(champion, made):
        elapsed()
        compared = compare(suite, before, network)
        told = {name: round(each, 5) for name, each in compared.figures.items()}
        attempt = Attempt(
            network, made.made_by, compared.objection, {**figures, "share": share, **told}
        )
        if attempt.objection is None:
            return attempt
        first = first or attempt
    assert first is not None
    return first
