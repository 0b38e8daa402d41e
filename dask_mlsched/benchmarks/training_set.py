"""What the default model is trained and judged on: DAGs by family, size, seed and memory ratio.

Three splits that share no DAG. *train* is searched and learnt from. *test* has the same families
at other sizes and seeds: larger ones, smaller ones, other densities. *unseen* has families of
which training knows nothing at all.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.problem import Parameter
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.machine import needed_bytes
from dask_mlsched.learning.instance import Instance

Split: TypeAlias = Literal["train", "test", "unseen"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)

#: Called with the name of what is made next and the share that is done.
OnCase: TypeAlias = Callable[[str, float], None]


@dataclass(frozen=True)
class Case:
    """One DAG on one machine, before it is made."""

    workload: str
    memory_ratio: float
    workers: int = 1
    seed: int = 0
    #: Where it differs from the workload's own.
    parameters: Mapping[str, Parameter] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Tell cases apart in a table."""
        parameters = "".join(f", {name} {value}" for name, value in self.parameters.items())
        workers = f", {self.workers} workers" if self.workers > 1 else ""
        return f"{self.workload} / {self.memory_ratio:g}{parameters}{workers}, seed {self.seed}"

    def instance(self, folder: Path) -> Instance:
        """Make the DAG, and measure what Dask alone comes to.

        Parameters
        ----------
        folder
            Where a workload may keep files while its DAG is made; see `folder_for_files`.

        Raises
        ------
        dask_mlsched.benchmarks.optional.MissingDependencyError
            If the workload takes its matrices from a package that is not installed.
        dask_mlsched.learning.instance.InstanceError
            If there is nothing to win: everything fits.
        """
        dag = find(self.workload).dag(folder, self.seed, "full", **self.parameters)
        return instance_of(
            dag,
            name=self.name,
            family=self.workload,
            memory_ratio=self.memory_ratio,
            workers=self.workers,
        )


@contextmanager
def folder_for_files() -> Iterator[Path]:
    """Yield a folder in which workloads keep files while their DAGs are made.

    Dask names tasks by what they read, and where a choice is left their order follows their names:
    the folder's own name, which is another one each time, must not be in them.
    """
    with tempfile.TemporaryDirectory(prefix="mlsched-") as folder, chdir(folder):
        yield Path()


def instance_of(
    dag: Dag, *, name: str, family: str, memory_ratio: float, workers: int = 1
) -> Instance:
    """Put a DAG on workers whose memory is so many times too small.

    Raises
    ------
    dask_mlsched.learning.instance.InstanceError
        If there is nothing to win: everything fits.
    """
    # A worker must have room for the largest task, however small the instance is.
    most = int(needed_bytes(dag).max())
    limit = max(most, round(working_set(dag) / memory_ratio / workers))
    return Instance.measured(name, family, dag, dask_order(dag), limit=limit, workers=workers)


def at_ratios(dag: Dag, name: str, ratios: Iterable[float], workers: int = 1) -> list[Instance]:
    """Put a DAG on workers with several sizes of memory; a family of its own.

    Raises
    ------
    dask_mlsched.learning.instance.InstanceError
        If there is nothing to win.
    """
    return [
        instance_of(
            dag, name=f"{name} / {ratio:g}", family=name, memory_ratio=ratio, workers=workers
        )
        for ratio in ratios
    ]


_Sizes: TypeAlias = tuple[Mapping[str, Parameter], ...]


def _each(name: str, *values: Parameter) -> _Sizes:
    return tuple({name: value} for value in values)


def _block_sparse(*sizes: tuple[int, float, int, int]) -> _Sizes:
    return tuple(
        {"tiles": tiles, "density": density, "smallest": smallest, "largest": largest}
        for tiles, density, smallest, largest in sizes
    )


def _pairs(*sizes: tuple[int, float]) -> _Sizes:
    return tuple({"n": n, "density": density} for n, density in sizes)


def _grids(*sizes: tuple[int, int, int, Parameter]) -> _Sizes:
    return tuple(
        {"rows": rows, "columns": columns, "steps": steps, "points": points}
        for rows, columns, steps, points in sizes
    )


def _matvec(*sizes: tuple[int, int, float]) -> _Sizes:
    return tuple(
        {"tiles": tiles, "iterations": iterations, "density": density}
        for tiles, iterations, density in sizes
    )


def _trees(*sizes: tuple[int, int, int]) -> _Sizes:
    return tuple(
        {"leaves": leaves, "width": width, "trees": trees} for leaves, width, trees in sizes
    )


def _chains(*sizes: tuple[int, int]) -> _Sizes:
    return tuple({"length": length, "tiles": tiles} for length, tiles in sizes)


def _galerkin(*sizes: tuple[int, int, int]) -> _Sizes:
    return tuple(
        {"grid": grid, "tiles": tiles, "coarse_tiles": coarse} for grid, tiles, coarse in sizes
    )


def _arrays(*sizes: int) -> _Sizes:
    # Small chunks: sizes of arrays are measured by running the program once.
    return tuple({"tiles": tiles, "size": 64} for tiles in sizes)


def _gallery(*sizes: tuple[str, int]) -> _Sizes:
    return tuple({"matrix": matrix, "tiles": tiles} for matrix, tiles in sizes)


#: Family -> its sizes in training, and in the test. 200 to 2,500 tasks each.
_SEEN: Final[Mapping[str, tuple[_Sizes, _Sizes]]] = {
    "gemm": (_each("tiles", 6, 7, 9, 10), _each("tiles", 8, 12)),
    "gemm-tree": (_each("tiles", 6, 7, 9, 10), _each("tiles", 8, 11)),
    "block-sparse": (
        _block_sparse(
            (12, 0.4, 96, 256), (16, 0.3, 64, 256), (20, 0.3, 96, 256), (14, 0.5, 128, 128)
        ),
        _block_sparse((18, 0.35, 96, 256), (24, 0.25, 64, 192)),
    ),
    "block-sparse-tree": (
        _block_sparse(
            (12, 0.4, 96, 256), (16, 0.3, 64, 256), (18, 0.3, 96, 256), (14, 0.5, 128, 128)
        ),
        _block_sparse((17, 0.35, 96, 256), (20, 0.25, 64, 192)),
    ),
    "2d": (_pairs((16, 1.0), (24, 1.0), (34, 1.0)), _pairs((20, 1.0), (40, 1.0))),
    "2d-shuffled": (_pairs((16, 1.0), (28, 1.0)), _pairs((22, 1.0), (36, 1.0))),
    "2d-sparse": (
        _pairs((100, 0.04), (150, 0.03), (200, 0.02), (80, 0.1)),
        _pairs((120, 0.05), (240, 0.02)),
    ),
    "cholesky": (_each("tiles", 10, 13, 16, 18), _each("tiles", 12, 20)),
    "lu": (_each("tiles", 8, 10, 13), _each("tiles", 9, 15)),
    "stencil": (
        _grids((8, 8, 8, 5), (10, 10, 10, 5), (6, 12, 12, 9)),
        _grids((9, 9, 12, 5), (12, 12, 10, 9)),
    ),
    "reduction": (
        _trees((128, 4, 2), (256, 4, 2), (200, 3, 3)),
        _trees((160, 4, 3), (400, 5, 2)),
    ),
    "matvec": (
        _matvec((8, 10, 0.4), (12, 10, 0.3), (10, 12, 0.5)),
        _matvec((9, 12, 0.4), (14, 10, 0.3)),
    ),
    "tensordot": (_chains((2, 5), (3, 6), (4, 5)), _chains((5, 4), (2, 7))),
    "helmholtz": (
        _each("tiles", 8, 12),
        ({"tiles": 10, "power": 3},),
    ),
    "galerkin": (_galerkin((80, 10, 5), (160, 12, 6)), _galerkin((120, 14, 7))),
    "gallery": (
        _gallery(("helmholtz_2D", 9), ("bar", 10), ("unit_square", 8)),
        _gallery(("helmholtz_2D", 13), ("airfoil", 16)),
    ),
    "array-cholesky": (_arrays(9, 11), _arrays(10)),
    "array-matmul": (_arrays(6, 8), _arrays(7)),
    "array-overlap": (
        ({"tiles": 6, "steps": 3}, {"tiles": 8, "steps": 2}),
        ({"tiles": 7, "steps": 3},),
    ),
    "array-reduction": (_each("tiles", 60, 100), _each("tiles", 80)),
}

_UNSEEN: Final[Mapping[str, _Sizes]] = {
    "qr": (
        {"rows": 8, "columns": 8},
        {"rows": 10, "columns": 10},
        {"rows": 14, "columns": 7},
    ),
    "gallery-matvec": (
        {"matrix": "helmholtz_2D", "tiles": 12, "iterations": 12},
        {"matrix": "bar", "tiles": 10, "iterations": 12},
        {"matrix": "airfoil", "tiles": 8, "iterations": 16},
    ),
}

_RATIOS: Final = (2.0, 3.0, 1.5, 4.0, 2.5)
#: Where less would leave Dask alone next to nothing to move: a ratio to that says nothing.
_LEAST_RATIOS: Final[Mapping[str, float]] = {"array-cholesky": 3.0, "array-overlap": 2.0}
#: One case in so many has two workers.
_TWO_WORKERS: Final = 7


def cases(split: Split) -> tuple[Case, ...]:
    """Return the cases of a split; always the same ones, in the same order.

    In training every DAG comes twice, with different memory.
    """
    if split == "unseen":
        sizes, first, times = _UNSEEN, 2_000, 1
    elif split == "train":
        sizes, first, times = {family: both[0] for family, both in _SEEN.items()}, 0, 2
    else:
        sizes, first, times = {family: both[1] for family, both in _SEEN.items()}, 1_000, 1
    ratios = itertools.cycle(_RATIOS)
    every = [
        (family, parameters, next(ratios))
        for family, each in sizes.items()
        for _ in range(times)
        for parameters in each
    ]
    return tuple(
        Case(
            workload=family,
            memory_ratio=max(ratio, _LEAST_RATIOS.get(family, 0.0)),
            workers=2 if place % _TWO_WORKERS == _TWO_WORKERS - 1 else 1,
            seed=first + place,
            parameters=parameters,
        )
        for place, (family, parameters, ratio) in enumerate(every)
    )


def make(chosen: Iterable[Case], on_case: OnCase | None = None) -> tuple[Instance, ...]:
    """Make the instances of cases, one after the other.

    Raises
    ------
    dask_mlsched.benchmarks.optional.MissingDependencyError
        If pyamg is not installed.
    """
    every = tuple(chosen)
    made = []
    with folder_for_files() as folder:
        for number, case in enumerate(every):
            if on_case is not None:
                on_case(case.name, number / len(every))
            made.append(case.instance(folder))
    return tuple(made)
