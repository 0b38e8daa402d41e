from __future__ import annotations

import pytest

from dask_mlsched.benchmarks import training_set
from dask_mlsched.benchmarks.families.products import gemm
from dask_mlsched.benchmarks.training_set import Case, at_ratios, cases, make
from dask_mlsched.benchmarks.working_set import working_set


def families(split: training_set.Split) -> set[str]:
    return {case.workload for case in cases(split)}


def key(case: Case) -> tuple[object, ...]:
    return case.workload, case.seed, tuple(case.parameters.items())


def test_splits_share_no_dag_and_unseen_ones_no_family():
    every = [key(case) for split in training_set.SPLITS for case in cases(split)]
    assert len(set(every)) == len(every)
    sizes = [
        {case_key[::2] for case_key in map(key, cases(split))} for split in training_set.SPLITS
    ]
    assert sum(map(len, sizes)) == len(set.union(*sizes))
    assert families("test") == families("train")
    assert families("unseen").isdisjoint(families("train"))
    assert len(families("unseen")) == 2


def test_there_are_all_ratios_and_some_cases_with_two_workers():
    for split in ("train", "test"):
        assert {case.memory_ratio for case in cases(split)} == {1.5, 2.0, 2.5, 3.0, 4.0}
        two = sum(case.workers == 2 for case in cases(split))
        assert 0.1 < two / len(cases(split)) < 0.2


def test_names_tell_cases_apart():
    names = [case.name for split in training_set.SPLITS for case in cases(split)]
    assert len(set(names)) == len(names)


def test_a_case_becomes_an_instance_with_so_much_memory():
    case = Case("cholesky", 2.5, workers=2, parameters={"tiles": 6})
    told = []
    (instance,) = make([case], lambda name, share: told.append((name, share)))
    assert instance.machine.limit == round(working_set(instance.dag) / 2.5 / 2)
    assert (instance.machine.workers, instance.family) == (2, "cholesky")
    assert told == [(case.name, 0.0)]


def test_a_dag_is_tried_at_several_ratios():
    made = at_ratios(gemm(tiles=4, size=8), "mine", (2.0, 4.0))
    assert [instance.name for instance in made] == ["mine / 2", "mine / 4"]
    assert {instance.family for instance in made} == {"mine"}
    assert made[0].machine.limit == 2 * made[1].machine.limit


def test_a_case_is_the_same_dag_every_time():
    pytest.importorskip("pyamg")
    case = Case("helmholtz", 2.0, parameters={"tiles": 4, "power": 4})
    first, second = (make([case])[0] for _ in range(2))
    assert first.dag.keys == second.dag.keys
    assert first.dag.nbytes.tolist() == second.dag.nbytes.tolist()
    assert first.order.tolist() == second.order.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("split", training_set.SPLITS)
def test_all_cases_can_be_made_and_are_of_a_size_to_learn_from(
    split: training_set.Split,
):
    pytest.importorskip("pyamg")
    sizes = {each.name: len(each.dag) for each in make(cases(split))}
    assert {name: size for name, size in sizes.items() if not 190 <= size <= 2500} == {}
