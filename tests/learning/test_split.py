from __future__ import annotations

import numpy as np

from dask_mlsched.learning.split import split
from learning.instances import few, product


def test_one_of_each_family_is_held_out():
    places = split(few(), 4)
    assert places.learnt == (0, 2)
    assert places.held == (1, 3)
    assert places.families == ((0,), (2,))


def test_a_single_instance_is_learnt_from_and_judged_by():
    places = split([product()], 4)
    assert places.learnt == places.held == (0,)


def test_each_family_counts_once_in_a_draw():
    places = split([product(4), product(5), product(3), *few()[2:]], 4)
    drawn = [places.one_of_each_family(np.random.default_rng(seed)) for seed in range(20)]
    assert {place for each in drawn for place in each} == {0, 2, 3}
    assert {len(each) for each in drawn} == {2}
