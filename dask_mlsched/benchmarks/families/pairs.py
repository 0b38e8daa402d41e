"""The 2D family: independent tasks that each read one row and one column of operands."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dask_mlsched.benchmarks.families.tile import check_positive, check_share, operand, task
from dask_mlsched.core.dag import Dag, DagTask


def pairs(
    seed: int = 0,
    *,
    n: int,
    density: float = 1.0,
    shuffled: bool = False,
    tile_nbytes: int = 1_000_000,
    result_nbytes: int = 0,
    seconds: float = 1e-4,
    given: bool = True,
) -> Dag:
    """Build the DAG of A_i·B_j for all i and j: the 2D instances of StarPU's studies.

    Every task ``pair-i-j`` reads ``A-i`` and ``B-j``. With all pairs there are ``n**2`` tasks
    and ``2 * n`` operands, each of which has to be loaded once at least.

    Parameters
    ----------
    seed
        Of the pairs that are kept and of their order.
    n
        Rows of A, and columns of B.
    density
        Probability with which each pair is kept. Operands of no pair are left out.
    shuffled
        Whether the tasks stand in a random order, not row by row.
    tile_nbytes, result_nbytes
        Bytes of one operand, and of one task's array. Published counts of loads ignore the
        results: 0 bytes.
    seconds
        That each task computes.
    given
        Whether the operands are in the slow tier from the beginning, or tasks make them.

    References
    ----------
    M. Gonthier, L. Marchal, S. Thibault: Memory-aware scheduling of tasks sharing data on
    multiple GPUs with dynamic runtime systems. IPDPS 2022.

    Examples
    --------
    >>> dag = pairs(n=75)
    >>> int((~dag.given).sum()), int(dag.given.sum())
    (5625, 150)
    """
    check_positive(n=n)
    check_share(density=density)
    rng = np.random.default_rng(seed)
    kept = np.argwhere(rng.random((n, n)) < density)
    if shuffled:
        rng.shuffle(kept)

    def tasks() -> Iterator[DagTask]:
        for label, column in (("A", 0), ("B", 1)):
            for i in np.unique(kept[:, column]).tolist():
                yield operand(f"{label}-{i}", tile_nbytes, given=given)
        for i, j in kept.tolist():
            yield task(f"pair-{i}-{j}", (f"A-{i}", f"B-{j}"), result_nbytes, seconds)

    return Dag.build("2d", tasks())
