"""What takes part in a comparison: a policy, and the store that its workers keep data in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dask_mlsched.benchmarks.clusters import HOST_FILE, find_store
from dask_mlsched.config import check_overrides

#: The policy of the runs that have no scheduler plugin.
STOCK: Final = "stock"


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy on a store.

    Examples
    --------
    >>> print(Contender("stock"), Contender("stock", "disk"))
    stock stock@disk
    """

    policy: str
    store: str = HOST_FILE

    def __str__(self) -> str:
        return self.policy if self.store == HOST_FILE else f"{self.policy}@{self.store}"


def check_policy(name: str) -> str:
    """Return the name of a policy, or the dotted path of one, if it can be run.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name != STOCK:
        check_overrides(policy=name)
    return name


def contender(text: str, default: str = HOST_FILE) -> Contender:
    """Read ``policy`` or ``policy@store``; `default` is the store of the first form.

    Raises
    ------
    ValueError
        If there is no such policy or store.

    Examples
    --------
    >>> contender("greedy@disk")
    Contender(policy='greedy', store='disk')
    """
    policy, at, store = text.partition("@")
    return Contender(check_policy(policy), find_store(store if at else default).name)
