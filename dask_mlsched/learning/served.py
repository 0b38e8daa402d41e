"""The learned policies by their names, as schedulers and simulations ask for them. No torch."""

from __future__ import annotations

import random
from typing import Final

from dask_mlsched.core import policies
from dask_mlsched.core.network import Network
from dask_mlsched.core.planners.learned import Learned
from dask_mlsched.core.policies import Policy
from dask_mlsched.learning.default_model import default_network


class Generalist(Learned):
    """`learned`: the model that ships with the package, unless another network is given.

    Raises
    ------
    dask_mlsched.learning.model_file.ModelFileError
        If the installation is damaged.
    """

    def __init__(
        self, network: Network | None = None, name: str = "learned", *, may_hold: bool = True
    ) -> None:
        super().__init__(default_network() if network is None else network, name, may_hold=may_hold)


class Specialised(Generalist):
    """`specialised`: the generalist, until a specialist takes over for the graph at hand.

    Whoever runs it sees to that: the plugin by a process beside the scheduler.
    """

    #: Says so to the plugin.
    specialises = True

    def __init__(
        self, network: Network | None = None, name: str = "specialised", *, may_hold: bool = True
    ) -> None:
        super().__init__(network, name, may_hold=may_hold)


_KINDS: Final = {"learned": Generalist, "specialised": Specialised}


def make(name: str, seed: int) -> Policy | None:
    """Make a policy, learned or written by hand, from its name; None for `stock`.

    Raises
    ------
    ValueError
        If there is no policy of that name.
    """
    if name == "stock":
        return None
    if name in _KINDS:
        return _KINDS[name]()
    return policies.make(name, random.Random(seed))
