"""A workload: one family of instances, to run on a cluster and to simulate."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from dask.local import get_sync
from dask.typing import Key

from dask_mlsched.benchmarks.array_programs import Program
from dask_mlsched.benchmarks.collections_dag import dag_of
from dask_mlsched.benchmarks.live_dag import dag_problem
from dask_mlsched.benchmarks.problem import Parameter, Problem
from dask_mlsched.benchmarks.tiles import Matrix, close
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.core.dag import Dag

#: ``full`` is what the demo measures; ``quick`` shows that everything works, in seconds.
Scale: TypeAlias = Literal["full", "quick"]

#: Bytes per second at which tasks whose arithmetic is not known read and write, in a DAG.
_RATE = 2e9


@dataclass(frozen=True)
class Workload:
    """How to build the instances of one family: as a program, and as the DAG of that program."""

    name: str
    #: For people, a few words.
    description: str
    #: Called with a directory for files, a seed and the parameters.
    builder: Callable[..., Problem]
    #: The same, and the parameters `simulated` as well.
    dag_builder: Callable[..., Dag]
    full: Mapping[str, Parameter]
    #: Where it differs from `full`.
    quick: Mapping[str, Parameter] = field(default_factory=dict)
    #: Parameters that only the DAG has, of what the program brings along: its speed, for one.
    simulated: Mapping[str, Parameter] = field(default_factory=dict)

    def build(
        self, directory: Path, seed: int = 0, scale: Scale = "full", **parameters: Parameter
    ) -> Problem:
        """Build an instance that can run; `parameters` take the place of those of the scale.

        Building is not part of any measurement.

        Raises
        ------
        ValueError
            If a parameter is unknown.
        MissingDependencyError
            If the package that brings the matrices is not installed.
        """
        return self.builder(directory, seed, **self._chosen(scale, parameters, {}))

    def dag(
        self,
        directory: Path | None = None,
        seed: int = 0,
        scale: Scale = "full",
        **parameters: Parameter,
    ) -> Dag:
        """Build the DAG of the instance that `build` builds from the same arguments.

        It has the same tasks, by the same keys, whose arrays have the same bytes. Parameters
        may also be some of `simulated`. Programs without a model of their sizes are run once.
        Files are needed only meanwhile: without a directory, they go into a temporary one. Keys
        of arrays that are read from files follow from their directory.

        Raises
        ------
        ValueError
            If a parameter is unknown.
        MissingDependencyError
            If the package that brings the matrices is not installed.
        """
        chosen = self._chosen(scale, parameters, self.simulated)
        with _folder(directory) as folder:
            return replace(self.dag_builder(folder, seed, **chosen), name=self.name)

    def working_set(
        self,
        directory: Path | None = None,
        seed: int = 0,
        scale: Scale = "full",
        **parameters: Parameter,
    ) -> int:
        """Return the bytes of device memory that have memory ratio 1, simulated as live.

        Takes what `dag` takes.

        Raises
        ------
        ValueError
            If a parameter is unknown.
        MissingDependencyError
            If the package that brings the matrices is not installed.
        """
        chosen = self._chosen(scale, parameters, self.simulated)
        live = {name: value for name, value in chosen.items() if name in self.full}
        with _folder(directory) as folder:
            return self.builder(folder, seed, **live).working_set

    def _chosen(
        self, scale: Scale, parameters: Mapping[str, Parameter], more: Mapping[str, Parameter]
    ) -> dict[str, Parameter]:
        known = {**self.full, **more}
        unknown = sorted(set(parameters) - set(known))
        if unknown:
            expected = ", ".join(known)
            msg = f"unknown parameter {unknown[0]!r} of workload {self.name!r}; give: {expected}"
            raise ValueError(msg)
        return {**known, **(self.quick if scale == "quick" else {}), **parameters}


@contextmanager
def _folder(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        yield directory
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def of_family(
    name: str,
    description: str,
    family: Callable[..., Dag],
    full: Mapping[str, Parameter],
    quick: Mapping[str, Parameter],
) -> Workload:
    """Make a workload of a family of DAGs; live, tasks read, write and compute as the DAG says."""

    def build(_directory: Path, seed: int, **parameters: Any) -> Problem:
        dag = replace(family(seed, **parameters), name=name)
        return dag_problem(dag, workload=name, parameters=parameters, seed=seed)

    def dag(_directory: Path, seed: int, **parameters: Any) -> Dag:
        return family(seed, **parameters)

    return Workload(name, description, build, dag, full, quick)


def of_program(
    name: str,
    description: str,
    program: Callable[..., Program],
    full: Mapping[str, Parameter],
    quick: Mapping[str, Parameter],
) -> Workload:
    """Make a workload of a program of dask arrays; its DAG is Dask's own graph, measured.

    Results are compared with those that Dask computes without a cluster.
    """

    def build(_directory: Path, seed: int, **parameters: Any) -> Problem:
        collections = program(seed, **parameters)
        return Problem(
            workload=name,
            parameters=parameters,
            seed=seed,
            collections=collections,
            working_set=working_set(dag_of(collections, rate=_RATE)),
            memory_ratio=3.0,
            bandwidth=100e6,
            check=_against_dask(collections),
        )

    return Workload(name, description, build, measured(build), full, quick, {"rate": _RATE})


def measured(build: Callable[..., Problem]) -> Callable[..., Dag]:
    """Make the builder of a DAG from that of a program: run it once, measure every array."""

    def dag(directory: Path, seed: int, *, rate: float, **parameters: Any) -> Dag:
        return dag_of(build(directory, seed, **parameters).collections, rate=rate)

    return dag


def _against_dask(collections: Program) -> Callable[[Mapping[Key, Matrix]], bool]:
    def check(results: Mapping[Key, Matrix]) -> bool:
        graph = {key: task for each in collections for key, task in each.__dask_graph__().items()}
        keys = list(results)
        return all(
            close(results[key], reference)
            for key, reference in zip(keys, get_sync(graph, keys), strict=True)
        )

    return check
