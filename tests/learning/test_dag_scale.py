"""How large a DAG is for a machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from core.dags import a_task, acyclic, build
from dask_mlsched.benchmarks import working_set as benchmarks
from dask_mlsched.benchmarks.dask_order import dask_order
from dask_mlsched.benchmarks.families.products import gemm
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.learning.dag_scale import Scale, scale, working_set


def chain() -> Dag:
    return build(
        a_task("a", nbytes=100, seconds=0.0, given=True),
        a_task("b", "a", nbytes=40, seconds=1.0),
        a_task("c", "b", "a", nbytes=10, seconds=1.0),
    )


def test_memory_is_the_logarithm_of_the_working_set_over_the_limit():
    assert working_set(chain()) == 140
    assert scale(chain(), limit=70).memory == 1
    assert scale(chain(), limit=280).memory == -1


def test_transfer_is_all_that_is_read_over_computing():
    assert scale(chain(), bandwidth=120.0).transfer == (100 + 40 + 100) / 120 / 2


def test_what_is_not_given_or_nothing_is_not_known():
    assert scale(chain()) == Scale(None, None)
    assert scale(build(), limit=1, bandwidth=1.0) == Scale(None, None)
    assert scale(build(a_task("a", nbytes=0, seconds=0.0)), limit=1, bandwidth=1.0) == Scale(
        None, None
    )


@pytest.mark.parametrize("is_given", [True, False])
def test_in_dasks_order_the_working_set_is_that_of_the_benchmarks(is_given: bool):
    dag = gemm(tiles=5, size=8, given=is_given)
    order = np.argsort(dask_order(dag))
    assert working_set(dag, order) == benchmarks.working_set(dag)


@given(acyclic())
def test_the_working_set_is_that_of_the_benchmarks(tasks: list[DagTask]):
    dag = build(*(DagTask(**{**_fields(task), "nbytes": task.nbytes >> 8}) for task in tasks))
    order = np.argsort(dask_order(dag))
    assert working_set(dag, order) == benchmarks.working_set(dag)


def _fields(task: DagTask) -> dict[str, object]:
    return {name: getattr(task, name) for name in task.__slots__}
