"""What a learned policy decides by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dask_mlsched.core.network import Network


@dataclass(frozen=True, eq=False, slots=True)
class Served:
    """A network, and how it is asked."""

    network: Network
    #: Whether it may choose HOLD.
    may_hold: bool = True
    #: Numbers of tasks -> their places in the order that the network is shown, from 0 on and no
    #: two the same; None for Dask's order. Tasks that are not in it stand where Dask has them.
    guide: Mapping[int, int] | None = None
