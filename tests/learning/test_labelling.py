from __future__ import annotations

import numpy as np

from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.learning.labelling import LabelSettings, labelled, median_task_seconds
from learning.instances import NEAREST, product

SETTINGS = LabelSettings(decisions=6, by_score=1, random=1)


def test_decisions_of_a_run_get_the_costs_of_some_actions():
    made = labelled(product(), NEAREST, 7, 9, (0,), SETTINGS)
    assert len(made) == 6
    for each in made:
        tried = ~np.isnan(each.costs)
        assert each.costs.shape == (each.record.actions,)
        assert each.costs[tried].min() == 0
        assert tried[each.record.taken]
        assert tried[-1] or not each.record.has_hold
        assert 2 <= tried.sum() <= 5
        assert (each.record.run, each.record.family, each.record.source) == (7, 9, "simulated")


def test_the_same_seed_gives_the_same_labels():
    first, second, other = (
        labelled(product(), NEAREST, 0, 0, (seed,), SETTINGS) for seed in (0, 0, 1)
    )
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.costs, two.costs)
    assert [each.record.time for each in first] == [each.record.time for each in second]
    assert [each.record.time for each in first] != [each.record.time for each in other]


def test_random_choices_lead_to_other_states():
    settings = LabelSettings(decisions=10**6, by_score=0, random=0, exploration=0.0)
    strays = LabelSettings(decisions=10**6, by_score=0, random=0, exploration=0.5)
    usual = labelled(product(3), NEAREST, 0, 0, (0,), settings)
    other = labelled(product(3), NEAREST, 0, 0, (0,), strays)
    assert [each.record.time for each in usual] != [each.record.time for each in other]


def test_tasks_that_take_no_time_do_not_count():
    tasks = [DagTask(str(n), (), 8, seconds, "t") for n, seconds in enumerate((0.0, 0.0, 2.0))]
    assert median_task_seconds(Dag.build("", tasks)) == 2.0
