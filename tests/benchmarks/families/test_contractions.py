from __future__ import annotations

import pytest

from dask_mlsched.benchmarks.families.contractions import tensordot_chain


def inputs(dag, key: str) -> set[str]:
    return {dag.keys[dep] for dep in dag.dependencies(dag.keys.index(key)).tolist()}


@pytest.mark.parametrize(("length", "tiles"), [(1, 2), (3, 3)])
def test_each_contraction_has_a_product_for_each_i_j_k_and_a_sum_for_each_tile(length, tiles):
    dag = tensordot_chain(length=length, tiles=tiles, size=4)
    assert int(dag.given.sum()) == (length + 1) * tiles**2
    assert int((~dag.given).sum()) == length * (tiles**3 + tiles**2)
    assert int(dag.wanted.sum()) == tiles**2


def test_a_contraction_reads_the_result_before_it_and_its_own_tensor():
    dag = tensordot_chain(length=2, tiles=3, size=4)
    assert inputs(dag, "dot1-0-1-2") == {"T0-0-2", "T1-2-1"}
    assert inputs(dag, "dot2-0-1-2") == {"sum1-0-2-0-0", "T2-2-1"}
    assert inputs(dag, "sum2-0-1-0-0") == {f"dot2-0-1-{k}" for k in range(3)}


def test_every_tile_of_a_result_between_is_read_once_for_each_column():
    dag = tensordot_chain(length=2, tiles=3, size=4)
    between = [task for task, key in enumerate(dag.keys) if key.startswith("sum1-")]
    assert [len(dag.dependents(task)) for task in between] == [3] * 9


def test_without_a_sum_the_product_itself_is_the_result():
    dag = tensordot_chain(length=2, tiles=1, size=4)
    assert inputs(dag, "dot2-0-0-0") == {"dot1-0-0-0", "T2-0-0"}


def test_bytes_and_seconds_are_those_of_dense_tiles():
    dag = tensordot_chain(length=2, tiles=3, size=10, width=2, flop_rate=100.0)
    assert set(dag.nbytes.tolist()) == {800}
    products, additions = 2 * 27 * 2 * 1000, 2 * 9 * 2 * 100
    assert dag.seconds.sum() == pytest.approx((products + additions) / 100)


def test_a_chain_without_contractions_is_refused():
    with pytest.raises(ValueError, match="length is 0"):
        tensordot_chain(length=0, tiles=2, size=2)
