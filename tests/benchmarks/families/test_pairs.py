from __future__ import annotations

import pytest

from dask_mlsched.benchmarks.families.pairs import pairs


def names(dag, prefix: str) -> list[str]:
    return [key for key in dag.keys if key.startswith(prefix + "-")]


def test_the_published_instance_has_150_tiles_to_load_and_5625_tasks():
    dag = pairs(n=75)
    assert int(dag.given.sum()) == 150
    assert len(dag) - 150 == 75**2
    assert dag.nbytes[~dag.given].sum() == 0


def test_each_task_reads_its_row_and_its_column():
    dag = pairs(n=4, tile_nbytes=10, result_nbytes=3, seconds=0.5)
    for task in range(len(dag)):
        if not dag.given[task]:
            _, i, j = dag.keys[task].split("-")
            inputs = {dag.keys[dep] for dep in dag.dependencies(task).tolist()}
            assert inputs == {f"A-{i}", f"B-{j}"}
            assert (dag.nbytes[task], dag.seconds[task], dag.wanted[task]) == (3, 0.5, True)
    assert set(dag.nbytes[dag.given].tolist()) == {10}


def test_unshuffled_tasks_stand_row_by_row():
    assert names(pairs(n=2), "pair") == ["pair-0-0", "pair-0-1", "pair-1-0", "pair-1-1"]


def test_shuffling_changes_the_order_and_nothing_else():
    plain, mixed = names(pairs(n=6), "pair"), names(pairs(n=6, shuffled=True), "pair")
    assert plain != mixed
    assert sorted(plain) == sorted(mixed)


def test_a_seed_gives_the_same_order_and_the_same_pairs():
    kept = [pairs(seed, n=30, density=0.3, shuffled=True).keys for seed in (1, 1, 2)]
    assert kept[0] == kept[1]
    assert set(kept[0]) != set(kept[2])


def test_pairs_are_kept_with_the_density_asked_for():
    kept = len(names(pairs(n=100, density=0.2), "pair"))
    # 10,000 coins: five standard deviations are 200.
    assert abs(kept - 2000) < 200


def test_operands_that_no_task_reads_are_left_out():
    dag = pairs(n=40, density=0.02)
    assert 0 < len(names(dag, "A")) < 40
    assert all(len(dag.dependents(task)) for task in range(len(dag)) if dag.given[task])


def test_operands_can_be_made_by_tasks():
    dag = pairs(n=3, given=False)
    assert not dag.given.any()
    assert len(dag) == 6 + 9


@pytest.mark.parametrize("parameters", [{"n": 0}, {"n": 3, "density": 0.0}])
def test_sizes_that_make_no_sense_are_refused(parameters):
    with pytest.raises(ValueError, match="expected a"):
        pairs(**parameters)
