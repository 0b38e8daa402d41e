from __future__ import annotations

import pytest

from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.families.factorizations import cholesky, qr
from dask_mlsched.benchmarks.families.matvec import matvec
from dask_mlsched.benchmarks.families.pairs import pairs
from dask_mlsched.benchmarks.families.products import block_sparse, gemm
from dask_mlsched.benchmarks.families.reductions import tree_reduction
from dask_mlsched.benchmarks.families.stencils import stencil
from dask_mlsched.benchmarks.working_set import working_set
from dask_mlsched.core.dag import Dag, DagTask


def dag_of_sizes(*tasks: tuple[str, str, int], wanted: str = "") -> Dag:
    """Build a DAG from (key, keys of the inputs, bytes); `wanted` are the keys that are kept."""
    return Dag.build(
        "sizes",
        [
            DagTask(key, tuple(inputs), nbytes, 0.0, "p", wanted=key in wanted)
            for key, inputs, nbytes in tasks
        ],
    )


def test_a_chain_needs_room_for_its_largest_array():
    chain = dag_of_sizes(("a", "", 3), ("b", "a", 7), ("c", "b", 5))
    assert working_set(chain) == 7


def test_wanted_arrays_stay():
    chain = dag_of_sizes(("a", "", 3), ("b", "a", 7), ("c", "b", 5), wanted="abc")
    assert working_set(chain) == 15


def test_data_is_there_from_the_beginning():
    both = dag_of_sizes(("a", "", 10), ("b", "", 20), ("c", "a", 1), ("d", "b", 1))
    assert working_set(both) == 30


def test_an_array_lives_until_its_last_reader():
    # a is read by b and, when c has made its 8 bytes of b, by d.
    dag = dag_of_sizes(("a", "", 4), ("b", "a", 1), ("c", "b", 8), ("d", "ca", 1))
    assert working_set(dag) == 4 + 8


def test_intermediates_count_as_far_as_dasks_order_keeps_them():
    # Two arms of 10 bytes that end in one each: Dask finishes one before the other begins.
    arms = [("r", "", 0)]
    arms += [(k, "r", 10) for k in "ab"] + [("A", "a", 1), ("B", "b", 1), ("z", "AB", 1)]
    assert working_set(dag_of_sizes(*arms)) == 1 + 10


def test_a_factorization_in_place_needs_the_matrix():
    dag = cholesky(tiles=6, size=8)
    assert working_set(dag) == 6 * 7 // 2 * 8 * 64


def test_products_need_their_operands_as_they_become_results():
    # A row of A goes when the row of C is there.
    assert working_set(gemm(tiles=5, size=8)) == pytest.approx(2 * 25 * 512, rel=0.2)
    assert working_set(pairs(n=20, tile_nbytes=7)) == 40 * 7


def test_steps_of_a_stencil_do_not_add_up():
    few, many = (stencil(rows=6, columns=6, steps=steps, size=8) for steps in (4, 40))
    assert working_set(many) < 2.5 * 36 * 512
    assert working_set(few) >= 36 * 512


def naive(dag: Dag) -> int:
    """Count the bytes alive after each task anew: made or data, and wanted or still to be read."""
    place = dask_order(dag).tolist()
    tasks = range(len(dag))
    return max(
        sum(
            int(dag.nbytes[task])
            for task in tasks
            if (place[task] <= now or not len(dag.dependencies(task)))
            and (
                dag.wanted[task]
                or not len(dag.dependents(task))
                or any(place[reader] > now for reader in dag.dependents(task).tolist())
            )
        )
        for now in range(-1, len(dag))
    )


@pytest.mark.parametrize(
    "dag",
    [
        block_sparse(2, tiles=4, smallest=3, largest=9, density=0.5),
        block_sparse(2, tiles=4, smallest=3, largest=9, density=0.5, accumulation="tree", width=2),
        qr(rows=4, columns=3, size=8, inner=2, given=False),
        matvec(1, tiles=4, size=9, density=0.5, fill=0.2, iterations=3),
        tree_reduction(leaves=13, width=3, tile_nbytes=50, partial_nbytes=70),
    ],
    ids=["chain", "tree", "qr", "matvec", "reduction"],
)
def test_it_is_what_counting_anew_after_each_task_finds(dag):
    assert working_set(dag) == naive(dag)


def test_no_tasks_need_nothing():
    assert working_set(Dag.build("empty", [])) == 0
