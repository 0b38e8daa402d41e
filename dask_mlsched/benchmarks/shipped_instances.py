"""The instances that ship: what generalists are searched and judged on, besides own runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from dask_mlsched.benchmarks import training_set
from dask_mlsched.benchmarks.training_set import Case, Split
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.shipped import Shipped

#: Working set over memory of the instances that networks are judged on, of one DAG for each family.
RATIOS: Final = (1.5, 2.5, 4.0)

#: Families that are made in a second and run in some ten milliseconds, without optional packages.
FAMILIES: Final = (
    *("gemm", "block-sparse-tree", "2d", "2d-shuffled", "2d-sparse"),
    *("cholesky", "lu", "stencil", "reduction", "matvec"),
)


def ship() -> Shipped:
    """Make the instances: in the frozen suite, sizes and seeds that no training has seen."""
    return Shipped(
        judged=tuple(_at_ratios(first_of_each("test", 1))),
        searched=training_set.make(first_of_each("train", 2)),
    )


def _at_ratios(cases: Iterable[Case]) -> Iterator[Instance]:
    with training_set.folder_for_files() as folder:
        for case in cases:
            dag = find(case.workload).dag(folder, case.seed, "full", **case.parameters)
            yield from training_set.at_ratios(dag, case.workload, RATIOS)


def first_of_each(split: Split, count: int) -> list[Case]:
    """Return so many cases of each of the families."""
    cases: dict[str, list[Case]] = {family: [] for family in FAMILIES}
    for case in training_set.cases(split):
        if len(cases.get(case.workload, range(count))) < count:
            cases[case.workload].append(case)
    return list(chain.from_iterable(cases.values()))
