from __future__ import annotations

import pytest

from dask_mlsched.learning.instance import Outcome
from dask_mlsched.learning.verdict import Verdict


def test_figures_are_means_of_ratios_and_the_worst_of_them():
    verdict = Verdict((Outcome(0.5, 0.25, 3), Outcome(2.0, 4.0, 4)))
    assert verdict.makespan == pytest.approx(1.0)
    assert verdict.bytes_moved == pytest.approx(1.0)
    assert (verdict.worst_makespan, verdict.worst_bytes) == (2.0, 4.0)
    assert (verdict.losses, verdict.holds) == (1, 7)


def test_nothing_moved_at_all_does_not_make_the_mean_nothing():
    assert Verdict((Outcome(0.2, 0.0, 0), Outcome(1.0, 1.0, 0))).bytes_moved > 0.01
