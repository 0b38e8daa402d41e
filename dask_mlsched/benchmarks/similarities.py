"""How alike the fingerprints of our workloads are: each at two sizes, and across families."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from rich import box
from rich.table import Table

from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.benchmarks.workloads import find
from dask_mlsched.learning.fingerprint import (
    FINGERPRINT_VERSION,
    Fingerprint,
    fingerprint,
    similarity,
    structural_similarity,
)

#: From here on a family is near enough for its models to be tried.
NEAR: Final = 0.6

_Parameters: TypeAlias = Mapping[str, Any]

#: A small and a large instance of each family: some hundred tasks at least, which a new cluster's
#: first program may have, and several times as many. Built within seconds.
SIZES: Final[Mapping[str, tuple[_Parameters, _Parameters]]] = {
    "helmholtz": ({"tiles": 6}, {"tiles": 12}),
    "galerkin": (
        {"grid": 40, "tiles": 6, "coarse_tiles": 4},
        {"grid": 80, "tiles": 12, "coarse_tiles": 6},
    ),
    "block-sparse": ({"tiles": 12}, {"tiles": 20}),
    "gemm": ({"tiles": 8}, {"tiles": 32}),
    "noop": ({"tasks": 1_000}, {"tasks": 10_000}),
    "2d": ({"n": 10}, {"n": 40}),
    "2d-shuffled": ({"n": 10}, {"n": 40}),
    "2d-sparse": ({"n": 40}, {"n": 200}),
    "block-sparse-tree": ({"tiles": 12}, {"tiles": 30}),
    "gemm-tree": ({"tiles": 8}, {"tiles": 20}),
    "gallery": ({"tiles": 8}, {"tiles": 16}),
    "gallery-matvec": ({"tiles": 8, "iterations": 10}, {}),
    "matvec": ({"tiles": 8}, {"tiles": 24, "iterations": 20}),
    "cholesky": ({"tiles": 20}, {"tiles": 40}),
    "lu": ({"tiles": 12}, {"tiles": 24}),
    "qr": ({"rows": 10, "columns": 10}, {"rows": 20, "columns": 15}),
    "tensordot": ({"length": 2, "tiles": 5}, {"length": 3, "tiles": 8}),
    "stencil": ({"rows": 6, "columns": 6, "steps": 6}, {"steps": 20}),
    "reduction": ({"leaves": 60}, {"leaves": 1_000}),
    "array-matmul": ({"tiles": 5, "size": 16}, {"tiles": 7, "size": 16}),
    "array-tensordot": ({"tiles": 3, "size": 8}, {"tiles": 4, "size": 8}),
    "array-cholesky": ({"tiles": 5, "size": 16}, {"tiles": 10, "size": 16}),
    "array-qr": ({"tiles": 30, "size": 32, "columns": 8}, {"size": 32, "columns": 8}),
    "array-sfqr": ({"tiles": 30, "size": 32, "rows": 8}, {"size": 32, "rows": 8}),
    "array-svd": ({"tiles": 30, "size": 32, "columns": 8}, {"size": 32, "columns": 8}),
    "array-overlap": ({"tiles": 4, "size": 16, "steps": 2}, {"tiles": 7, "size": 16}),
    "array-reduction": ({"tiles": 20, "size": 16}, {"tiles": 60, "size": 16}),
}


@dataclass(frozen=True)
class Similarities:
    """Of F families, sorted as they were named."""

    families: tuple[str, ...]
    #: [F] of the small and of the large instance.
    small: tuple[Fingerprint, ...]
    large: tuple[Fingerprint, ...]
    #: Families whose packages are not installed.
    left_out: tuple[str, ...] = ()

    def matrix(self, like: Callable[[Fingerprint, Fingerprint], float]) -> list[list[float]]:
        """Return [F, F]: small against large where a family meets itself, else the large ones."""
        return [
            [like(self.small[i] if i == j else one, other) for j, other in enumerate(self.large)]
            for i, one in enumerate(self.large)
        ]


def measure(
    families: Sequence[str] = tuple(SIZES), on_step: Callable[[str], None] | None = None
) -> Similarities:
    """Take the fingerprints of families, each at two sizes; of all some ten seconds.

    Raises
    ------
    ValueError
        If there is no family of a name.
    """
    taken: dict[str, tuple[Fingerprint, Fingerprint]] = {}
    left_out = []
    for family in families:
        workload, (small, large) = find(family), SIZES[family]
        if on_step is not None:
            on_step(family)
        try:
            taken[family] = (
                fingerprint(workload.dag(**small)),
                fingerprint(workload.dag(**large)),
            )
        except MissingDependencyError:
            left_out.append(family)
    return Similarities(
        tuple(taken),
        tuple(small for small, _ in taken.values()),
        tuple(large for _, large in taken.values()),
        tuple(left_out),
    )


def tables(found: Similarities) -> list[Table]:
    """Lay out for a terminal: what each family is like, and all against all."""
    return [_summary(found), _all_against_all(found)]


def _summary(found: Similarities) -> Table:
    table = Table(title="Fingerprints, small against large", box=box.SIMPLE_HEAD, padding=0)
    for number, name in enumerate(("", "tasks", "similarity", "structure", "key")):
        table.add_column(name, justify="right" if 0 < number < 4 else "left", no_wrap=True)
    table.add_column(f"alike, {NEAR:g} or more", overflow="fold")
    alike, structural = found.matrix(similarity), found.matrix(structural_similarity)
    for i, family in enumerate(found.families):
        small, large = found.small[i], found.large[i]
        near = sorted(
            ((value, j) for j, value in enumerate(alike[i]) if j != i and value >= NEAR),
            reverse=True,
        )
        table.add_row(
            family,
            f"{small.tasks:,} / {large.tasks:,}",
            f"{alike[i][i]:.2f}",
            f"{structural[i][i]:.2f}",
            "same" if small.family == large.family else "other",
            ", ".join(f"{found.families[j]} {value:.2f}" for value, j in near),
        )
    return table


def _all_against_all(found: Similarities) -> Table:
    table = Table(
        title="Similarity in hundredths; == is 1, blank is 0",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("", no_wrap=True)
    for number in range(1, len(found.families) + 1):
        table.add_column(f"{number}", justify="right", no_wrap=True)
    for i, row in enumerate(found.matrix(similarity)):
        cells = (_hundredths(value) for value in row[: i + 1])
        table.add_row(f"{i + 1} {found.families[i]}", *cells)
    return table


def _hundredths(value: float) -> str:
    hundredths = round(100 * value)
    return "==" if hundredths == 100 else f"{hundredths}" if hundredths else ""


def as_json(found: Similarities) -> dict[str, Any]:
    """Return all figures for machines."""
    return {
        "version": FINGERPRINT_VERSION,
        "families": [
            {
                "name": name,
                **{
                    size: {
                        "parameters": dict(parameters),
                        "key": taken.family,
                        "tasks": taken.tasks,
                        "edges": taken.edges,
                        "depth": taken.depth,
                        "width": taken.width,
                    }
                    for size, parameters, taken in zip(
                        ("small", "large"), SIZES[name], (small, large), strict=True
                    )
                },
            }
            for name, small, large in zip(found.families, found.small, found.large, strict=True)
        ],
        "similarity": found.matrix(similarity),
        "structural_similarity": found.matrix(structural_similarity),
        "left_out": list(found.left_out),
    }
