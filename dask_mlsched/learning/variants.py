"""A run's DAG a little otherwise: other times, more or less memory.

Of a single DAG, networks that are nearly the same differ by several per cent, by luck. What a model
is worth for a family shows on several variants of its runs; some are searched on, others judged on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Final

import numpy as np

from dask_mlsched.core.dag import Dag
from dask_mlsched.core.dask_alone import dask_alone
from dask_mlsched.core.machine import Machine, SimulationError, needed_bytes
from dask_mlsched.learning.instance import Instance

#: Scatter of the times of tasks: the deviation of their logarithms.
TIMES: Final = 0.1

#: Shares of the memory, one after the other.
MEMORY: Final = (1.0, 0.9, 1.1, 0.95, 1.05)


@dataclass(frozen=True, eq=False)
class Variants:
    """Those to search on, and those to judge on, which no search has seen."""

    searched: Sequence[Instance]
    judged: Sequence[Instance]


def variants(instances: Sequence[Instance], *, searched: int = 2, judged: int = 3) -> Variants:
    """Make variants of some instances; always the same ones.

    Parameters
    ----------
    searched, judged
        How many of each instance.
    """
    both: tuple[list[Instance], list[Instance]] = ([], [])
    for instance in instances:
        made = _varied(instance)
        for some, count in zip(both, (searched, judged), strict=True):
            some.extend(each for _, each in zip(range(count), made, strict=False))
    return Variants(*both)


def _varied(instance: Instance) -> Iterator[Instance]:
    """Yield variants, the first one of which has all of the memory; none that cannot be run."""
    least = int(needed_bytes(instance.dag).max(initial=0))
    limit = instance.machine.limit
    for number, share in enumerate(cycle(MEMORY)):
        rng = np.random.default_rng(number)
        times = np.exp(rng.normal(0, TIMES, len(instance.dag)))
        dag = replace(instance.dag, seconds=instance.dag.seconds * times)
        less = None if limit is None else max(least, round(limit * share))
        yield _alone(instance, dag, replace(instance.machine, limit=less), number)


def _alone(instance: Instance, dag: Dag, machine: Machine, number: int) -> Instance:
    stock = dask_alone(dag, instance.order, machine, instance.settings)
    moved = stock.bytes_loaded + stock.bytes_evicted
    if not stock.makespan > 0:
        msg = f"a variant of {instance.name} takes no time; expected tasks that take some"
        raise SimulationError(msg)
    return replace(
        instance,
        name=f"{instance.name} #{number}",
        dag=dag,
        machine=machine,
        stock_makespan=stock.makespan,
        # It may be none where there is more memory: a ratio to that must not be infinite.
        stock_bytes=max(1, moved),
    )
