"""The gate: what is better gets through, and what is worse anywhere does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dask_mlsched.core.network import Network
from dask_mlsched.learning.gate import Comparison, Suite, compare, judged
from learning.instances import NEAREST, factorization, product, scored_by

GOOD = Comparison(0.9, 0.95, "lu", 1.01, 1.0, 1.0, 0.9)


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({}, None),
        ({"overall": 0.995}, None),
        ({"overall": 0.9951}, "0.9951 of the makespan over the suite; expected 0.995 at most"),
        ({"overall": float("nan")}, "nan of the makespan over the suite; expected 0.995 at most"),
        ({"own": 1.0}, None),
        ({"own": None}, None),
        ({"own": 1.0001}, "1.0001 of the makespan of own runs; expected 1 at most"),
        ({"worst": 1.05, "worst_certainly": 1.02}, None),
        (
            {"worst": 1.05, "worst_certainly": 1.03},
            "1.0500 of the makespan of family 'lu', 1.0300 for certain; expected 1.02 at most",
        ),
        (
            {"worst": 1.11, "worst_certainly": 0.9},
            "1.1100 of the makespan of family 'lu'; expected 1.1 at most",
        ),
        (
            {"worst": 1.0, "worst_certainly": float("nan")},
            "1.0000 of the makespan of family 'lu', nan for certain; expected 1.02 at most",
        ),
    ],
)
def test_what_gets_through(changes: dict[str, float], objection: str | None) -> None:
    assert replace(GOOD, **changes).objection == objection  # type: ignore[arg-type]  # floats


def compared(suite: Suite, champion: Network, challenger: Network) -> Comparison:
    return compare(suite, judged(suite, champion), challenger)


def test_a_network_against_itself_is_the_same_everywhere_and_not_enough() -> None:
    found = compared(Suite([product()], [factorization()]), NEAREST, NEAREST)
    assert (found.overall, found.own, found.worst, found.worst_certainly) == (1.0, 1.0, 1.0, 1.0)
    assert found.champion == found.challenger
    assert found.objection is not None


def test_figures_are_those_of_runs() -> None:
    own, shipped = product(5), [factorization(6), product(4)]
    bad = scored_by(missing=1.0)
    found = compared(Suite([own], shipped), NEAREST, bad)
    ratios = [each.run(bad).makespan / each.run(NEAREST).makespan for each in (own, *shipped)]
    assert found.own == pytest.approx(ratios[0])
    # The products are one family; they alone tell how far instances of a family scatter.
    families = {"gemm": (ratios[0] * ratios[2]) ** 0.5, "cholesky": ratios[1]}
    scatter = np.std(np.log([ratios[0], ratios[2]]), ddof=1)
    certainly = {
        "gemm": families["gemm"] / np.exp(scatter / 2**0.5),
        "cholesky": families["cholesky"] / np.exp(scatter),
    }
    worst = max(certainly, key=lambda family: certainly[family])
    assert found.worst_family == worst
    assert found.worst == pytest.approx(families[worst])
    assert found.worst_certainly == pytest.approx(certainly[worst])
    assert found.overall == pytest.approx((families["gemm"] * families["cholesky"]) ** 0.5)
    assert found.objection is not None
    assert compared(Suite([own], shipped), bad, NEAREST).objection is None


def test_without_own_runs_none_are_told_of() -> None:
    found = compared(Suite([], [product()]), NEAREST, scored_by(missing=1.0))
    assert found.own is None
    assert "own" not in found.figures
