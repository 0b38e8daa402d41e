"""Programs are told apart, and runs of one program are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.recorded_simulations import block_product
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.learning.dag_digest import dag_digest


def chain(*, nbytes: int = 100, prefix: str = "p", given: bool = False, key: str = "k") -> Dag:
    return Dag.build(
        "chain",
        [
            DagTask(f"{key}-0", (), nbytes, 0.0 if given else 0.1, prefix, given=given),
            DagTask(f"{key}-1", (f"{key}-0",), 100, 0.1, prefix),
            DagTask(f"{key}-2", (f"{key}-1",), 100, 0.1, prefix),
        ],
    )


def test_keys_times_and_small_differences_of_size_do_not_count() -> None:
    usual = dag_digest(chain())
    assert dag_digest(chain(key="other")) == usual
    assert dag_digest(chain(nbytes=110)) == usual
    slow = chain()
    assert dag_digest(replace(slow, seconds=slow.seconds * 7)) == usual
    assert 0 <= usual < 2**63


def test_prefixes_sizes_edges_and_what_is_given_count() -> None:
    fork = Dag.build(
        "fork",
        [
            DagTask("k-0", (), 100, 0.1, "p"),
            DagTask("k-1", ("k-0",), 100, 0.1, "p"),
            DagTask("k-2", ("k-0",), 100, 0.1, "p"),
        ],
    )
    every = [chain(), chain(prefix="q"), chain(nbytes=400), chain(given=True), fork]
    assert len({dag_digest(dag) for dag in every}) == len(every)


def test_the_order_of_tasks_does_not_count() -> None:
    """It follows from keys, in which there are tokens that differ from run to run."""
    tasks = list(block_product(3).tasks())
    rng = np.random.default_rng(0)
    shuffled = [tasks[i] for i in rng.permutation(len(tasks))]
    assert dag_digest(Dag.build("x", shuffled)) == dag_digest(Dag.build("y", tasks))
    assert dag_digest(block_product(3)) != dag_digest(block_product(4))
