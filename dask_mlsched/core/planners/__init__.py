"""Policies that plan: each keeps plans of its own and proposes the next task for a free slot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dask_mlsched.core.planners.active_set import ActiveSet
from dask_mlsched.core.planners.darts import Darts, DartsLuf
from dask_mlsched.core.planners.dmdar import Dmdar
from dask_mlsched.core.planners.hfp import Hfp
from dask_mlsched.core.planners.k_constraint import KConstraint
from dask_mlsched.core.planners.planner import Planner
from dask_mlsched.core.planners.stock_withhold import StockWithhold

_KINDS: Final[dict[str, Callable[[], Planner]]] = {
    kind.name: kind for kind in (Dmdar, Darts, DartsLuf, Hfp, ActiveSet, KConstraint, StockWithhold)
}


def make(name: str) -> Planner:
    """Build a planner from its name, one of `policies.PLANNERS`."""
    return _KINDS[name]()
