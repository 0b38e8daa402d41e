"""What the parts of a model are worth: runs with each of them taken away.

Every run is of the same DAG on the same machine, and every figure is a ratio to Dask alone there,
with its LRU store, so below 1 is better. The model's own run says which arrays go out first
(`next-use`); HOLD is worth what never holding makes worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from dask_mlsched.core.compiled.rollout import Figures, Rollout
from dask_mlsched.core.network import Network
from dask_mlsched.core.scores import FEWEST_MISSING
from dask_mlsched.learning.instance import Instance

MODEL: Final = "model"
NEVER_HOLD: Final = "never hold"
RANDOM_HOLD: Final = "random hold"
NO_VICTIMS: Final = "no victims (LRU)"
LINEAR: Final = "linear score"
ORDER: Final = "Dask's order"
ARMS: Final = (MODEL, NEVER_HOLD, RANDOM_HOLD, NO_VICTIMS, LINEAR, ORDER)

#: Called with what runs next, and the share that is done.
OnArm = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Arm:
    """One run."""

    #: Ratios to Dask alone.
    makespan: float
    bytes_moved: float
    #: Decisions at which HOLD was offered, and taken; slots that were held, and their seconds over
    #: the makespan.
    offered: int
    chosen: int
    holds: int
    held_share: float

    @property
    def hold_rate(self) -> float:
        """The share of offers that were taken."""
        return self.chosen / self.offered if self.offered else 0.0


@dataclass(frozen=True)
class Ablation:
    """All runs of an instance."""

    name: str
    tasks: int
    arms: Mapping[str, Arm]

    @property
    def saved_by_holding(self) -> float:
        """Share of the makespan without HOLD that it saves; below 0: that it costs."""
        return 1.0 - self.arms[MODEL].makespan / self.arms[NEVER_HOLD].makespan

    @property
    def bytes_saved_by_holding(self) -> float:
        """The same of the bytes that move."""
        without = self.arms[NEVER_HOLD].bytes_moved
        return 1.0 - self.arms[MODEL].bytes_moved / without if without else 0.0


def ablate(
    instances: Iterable[Instance],
    network: Network,
    *,
    linear: Network = FEWEST_MISSING,
    seed: int = 0,
    on_arm: OnArm = lambda _name, _share: None,
) -> list[Ablation]:
    """Run a network, and what is left of it, on instances.

    Parameters
    ----------
    instances
        The DAGs and their machines.
    network
        The model.
    linear
        The linear score beside it.
    seed
        Of random holds.
    on_arm
        Is told what runs next; the share is of one instance.
    """
    found = []
    for instance in instances:
        arms: dict[str, Arm] = {}
        for number, name in enumerate(ARMS):
            on_arm(f"{instance.name}: {name}", number / len(ARMS))
            arms[name] = _run(instance, name, network, linear, seed)
        found.append(Ablation(instance.name, len(instance.dag), arms))
    return found


def geomeans(ablations: Sequence[Ablation]) -> dict[str, tuple[float, float]]:
    """Return the geometric means of makespan and bytes of every arm.

    Bytes of runs that move none count as one in a thousand.
    """
    return {
        name: (
            _geomean([each.arms[name].makespan for each in ablations]),
            _geomean([max(1e-3, each.arms[name].bytes_moved) for each in ablations]),
        )
        for name in ARMS
    }


def as_json(ablations: Sequence[Ablation]) -> dict[str, Any]:
    """Return all figures for machines."""
    return {
        "instances": [
            {
                "name": each.name,
                "tasks": each.tasks,
                "saved_by_holding": each.saved_by_holding,
                "bytes_saved_by_holding": each.bytes_saved_by_holding,
                "arms": {
                    name: asdict(arm) | {"hold_rate": arm.hold_rate}
                    for name, arm in each.arms.items()
                },
            }
            for each in ablations
        ],
        "geomeans": {
            name: {"makespan": makespan, "bytes_moved": moved}
            for name, (makespan, moved) in geomeans(ablations).items()
        },
    }


def _run(instance: Instance, name: str, network: Network, linear: Network, seed: int) -> Arm:
    plain = name in {NO_VICTIMS, ORDER}
    rollout = Rollout(
        instance.dag,
        instance.machine,
        replace(instance.settings, eviction="lru" if plain else "next-use"),
        instance.order,
        {LINEAR: linear, ORDER: None}.get(name, network),
        may_hold=name != NEVER_HOLD,
    )
    rng = np.random.default_rng(seed)
    offered = chosen = number = 0
    while (decision := rollout.until(number)) is not None:
        action, hold = decision.preferred, len(decision.candidates)
        if decision.may_hold and name == RANDOM_HOLD:
            # A fair coin; whatever is run is the model's choice.
            preferences = rollout.arrays["scores"][:hold, 0]
            action = hold if rng.random() < 0.5 else int(np.argmax(preferences))
        offered += decision.may_hold
        chosen += action == hold
        rollout.take(action)
        number += 1
    return _arm(rollout.figures(), instance, offered, chosen)


def _arm(figures: Figures, instance: Instance, offered: int, chosen: int) -> Arm:
    return Arm(
        makespan=figures.makespan / instance.stock_makespan,
        bytes_moved=figures.bytes_moved / instance.stock_bytes,
        offered=offered,
        chosen=chosen,
        holds=figures.holds,
        held_share=figures.hold_seconds / figures.makespan,
    )


def _geomean(ratios: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else 1.0
