"""Variants: always the same, never both searched and judged on, and all of them can be run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dask_mlsched.core.machine import needed_bytes
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.variants import MEMORY, TIMES, variants
from learning.instances import NEAREST, factorization, product

INSTANCES = (product(4), factorization(5))


def same(one: Instance, other: Instance) -> bool:
    return (
        np.array_equal(one.dag.seconds, other.dag.seconds)
        and one.machine == other.machine
        and (one.stock_makespan, one.stock_bytes) == (other.stock_makespan, other.stock_bytes)
    )


def test_they_are_the_same_every_time_and_whatever_stands_beside() -> None:
    first, second = variants(INSTANCES), variants(INSTANCES)
    alone = variants(INSTANCES[1:])
    for kind in ("searched", "judged"):
        one, other, last = (getattr(each, kind) for each in (first, second, alone))
        assert all(map(same, one, other))
        assert all(map(same, one[-len(last) :], last))


@pytest.mark.parametrize(("searched", "judged"), [(2, 3), (0, 1), (4, 4)])
def test_what_is_searched_on_is_not_judged_on(searched: int, judged: int) -> None:
    made = variants(INSTANCES, searched=searched, judged=judged)
    assert (len(made.searched), len(made.judged)) == (2 * searched, 2 * judged)
    every = [*made.searched, *made.judged]
    assert len({each.name for each in every}) == len(every)
    assert len({each.dag.seconds.tobytes() for each in every}) == len(every)


def test_they_differ_in_times_and_memory_alone() -> None:
    made = variants(INSTANCES[:1], searched=5, judged=5)
    (usual,) = INSTANCES[:1]
    every = [*made.searched, *made.judged]
    for number, each in enumerate(every):
        assert each.name == f"{usual.name} #{number}"
        assert each.family == usual.family
        np.testing.assert_array_equal(each.dag.nbytes, usual.dag.nbytes)
        np.testing.assert_array_equal(each.dag.sources, usual.dag.sources)
        assert usual.machine.limit is not None
        assert each.machine.limit == round(usual.machine.limit * MEMORY[number % len(MEMORY)])
        assert replace(each.machine, limit=usual.machine.limit) == usual.machine
    takes = usual.dag.seconds > 0
    logs = np.log([each.dag.seconds[takes] / usual.dag.seconds[takes] for each in every])
    assert np.std(logs) == pytest.approx(TIMES, rel=0.1)


def test_all_can_be_run_and_dask_alone_is_what_they_are_compared_with() -> None:
    made = variants(INSTANCES)
    for each in (*made.searched, *made.judged):
        assert 0.3 < each.run(NEAREST).makespan < 3
        assert each.run(None).makespan == pytest.approx(1)


def test_no_task_is_left_without_the_memory_that_it_needs() -> None:
    (usual,) = INSTANCES[:1]
    least = int(needed_bytes(usual.dag).max())
    tight = replace(usual, machine=replace(usual.machine, limit=least))
    made = variants([tight], searched=3, judged=3)
    limits = [each.machine.limit for each in (*made.searched, *made.judged)]
    assert limits == [least, least, round(1.1 * least), least, round(1.05 * least), least]
    assert all(each.run(NEAREST).makespan > 0 for each in (*made.searched, *made.judged))


def test_where_there_is_no_limit_there_is_none_and_what_moves_moves_once() -> None:
    roomy = replace(INSTANCES[0], machine=replace(INSTANCES[0].machine, limit=None))
    for each in variants([roomy]).judged:
        assert each.machine.limit is None
        assert each.stock_bytes == usual_inputs(each)
        assert each.run(NEAREST).bytes_moved == 1


def usual_inputs(instance: Instance) -> int:
    return int(instance.dag.nbytes[instance.dag.given].sum())


def test_of_nothing_there_are_none() -> None:
    made = variants([])
    assert (list(made.searched), list(made.judged)) == ([], [])
