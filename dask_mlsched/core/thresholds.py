"""From where on models are chosen, split, merged, promoted and rolled back; all of it configured.

The defaults are those of the design of the model library. Times are shares of the time that Dask
alone takes; "clearly" means that a 95 % interval leaves out the opposite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When models come, go, and decide.

    Raises
    ------
    ValueError
        If a value is none that its threshold can have.
    """

    #: Similarity from which on two graphs are of one family; and from which on they are near.
    same_family: float = 0.9
    near_family: float = 0.6
    #: A family's model has to save so much of Dask's time beside the generalist, clearly.
    split_gain: float = 0.05
    #: A later version of it must take so much less time than the one before.
    update_gain: float = 0.005
    #: A merged model may take so much longer than the models that it stands for.
    merge_loss: float = 0.02
    #: So many families with models of their own bring about an attempt to merge them.
    merge_after: int = 3
    #: A challenger may take so much longer for a family, simulated; and in real runs.
    promote_loss: float = 0.02
    promote_live_loss: float = 0.03
    #: So many pairs of real runs are compared before it is promoted.
    promote_pairs: int = 5
    #: A champion goes back if the closed gap of a family falls by so much on its frozen suite.
    rollback_gap: float = 0.05
    #: Share of the gap between Dask alone and the best known that counts as covered.
    covered_gap: float = 0.25
    #: One run that takes so many times as long as Dask alone sends its family back to it.
    bad_run: float = 1.5
    #: So do the last runs, so many of them, if their median is slower by so much, with this p;
    slow_runs: int = 5
    slower: float = 0.05
    significance: float = 0.05
    #: or if together they lost so much of one run's time;
    loss_budget: float = 0.1
    #: or a share of the workers' time that was held, without a byte saved.
    held_share: float = 0.2
    #: Runs for which a family stays with Dask alone: the first time; then twice as many each time.
    sent_back_runs: int = 2

    def __post_init__(self) -> None:
        """Refuse what no threshold can be."""
        for name, value in asdict(self).items():
            kinds: tuple[type, ...] = (int,) if name in _LEAST else (int, float)
            least = _LEAST.get(name, 0)
            is_number = isinstance(value, kinds) and not isinstance(value, bool)
            if not is_number or not least <= value < math.inf:
                kind = "a whole number" if name in _LEAST else "a number"
                msg = f"threshold {name!r} is {value!r}; expected {kind}, {least} or more"
                raise ValueError(msg)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Take some values, and the defaults for the rest.

        Raises
        ------
        ValueError
            If a name is unknown, or a value cannot be.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            msg = f"unknown threshold {unknown[0]!r}; expected one of {', '.join(sorted(known))}"
            raise ValueError(msg)
        return replace(cls(), **values)


#: What is counted, and the least that makes sense.
_LEAST = {"merge_after": 2, "promote_pairs": 1, "slow_runs": 1, "sent_back_runs": 1}
