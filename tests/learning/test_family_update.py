"""A family's new model: taken where it is better on what no search has seen, else refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dask_mlsched.core.network import Network
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning import family_update
from dask_mlsched.learning.challengers import Challenger
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.family_update import FamilyAttempt, Kind, _figures, _objection, attempt
from dask_mlsched.learning.outcome import Effort
from dask_mlsched.learning.variants import Variants, variants
from learning.instances import NEAREST, product, scored_by
from learning.lives import run_of

BAD = scored_by(missing=1.0)
DEFAULT = Thresholds()


def some(judged: int = 3) -> Variants:
    return variants([run_of("gemm", 4)], judged=judged)


def tried(
    serving: Network,
    *others: Network,
    kind: Kind = "split",
    networks: int = 0,
    on: Variants | None = None,
    thresholds: Thresholds = DEFAULT,
) -> FamilyAttempt:
    effort = Effort.counted(networks)
    return attempt(
        serving,
        others,
        on or some(),
        None,
        thresholds,
        kind=kind,
        seed=0,
        elapsed=effort.elapsed,
        seconds=effort.most,
    )


def test_beside_a_bad_one_the_gain_is_clear_even_without_a_search() -> None:
    found = tried(BAD)
    assert found.objection is None
    assert found.network is not None
    assert found.figures["saved"] > 0.3
    assert 0 < found.figures["saved_low"] < found.figures["saved"] < found.figures["saved_high"]
    assert found.figures["variants"] == 3
    assert (found.kind, found.made_by) == ("split", "search")


def test_figures_are_those_of_runs_that_no_search_has_seen() -> None:
    on = some()
    found = tried(BAD, NEAREST, on=on)
    assert found.network is NEAREST
    before, after = ([each.run(n).makespan for each in on.judged] for n in (BAD, NEAREST))
    assert found.figures["makespan"] == pytest.approx(np.exp(np.mean(np.log(after))))
    assert found.figures["before"] == pytest.approx(np.exp(np.mean(np.log(before))))
    assert found.figures["saved"] == pytest.approx(np.mean(np.subtract(before, after)))


def test_if_nothing_is_better_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family_update, "best_start", lambda _, known, like: known[0])
    found = tried(NEAREST)
    assert (found.network, found.made_by, found.figures) == (None, None, {})
    assert found.objection == "nothing better was found on what was searched with"


@pytest.mark.parametrize("kind", ["split", "update"])
def test_one_that_is_equal_is_refused_with_its_figures(
    monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    same = NEAREST._replace(skip=NEAREST.skip * 2)
    monkeypatch.setattr(
        family_update, "challenger", lambda *_, **__: Challenger(same, "search", -0.1)
    )
    found = tried(NEAREST, kind=kind)
    assert found.network is same
    assert found.figures["saved"] == 0
    assert found.objection is not None
    assert "expected" in found.objection
    assert found.figures["makespan"] == found.figures["before"]


def objection(kind: Kind, before: list[float], after: list[float], **changes: Any) -> str | None:
    return _objection(kind, _figures(before, after), Thresholds(**changes))


def test_a_split_has_to_save_enough_and_for_certain() -> None:
    before = [0.9, 0.9, 0.9, 0.9]
    assert objection("split", before, [0.84, 0.85, 0.83, 0.84]) is None
    assert objection("split", before, [0.86, 0.86, 0.86, 0.86]) == (
        "saves 0.0400 of Dask's time, 0.0400 for certain; expected 0.05, "
        "and more than 0 for certain"
    )
    # Enough on the whole, but by a single one of four.
    assert objection("split", before, [0.5, 0.9, 0.92, 0.91]) is not None
    assert objection("split", before, [0.86] * 4, split_gain=0.03) is None
    # Of one variant nobody knows how much is luck.
    assert "-1.0000 for certain" in (objection("split", [0.9], [0.4]) or "")


def test_an_update_has_to_be_better_by_half_a_hundredth() -> None:
    assert objection("update", [0.8], [0.8 * 0.995]) is None
    assert objection("update", [0.8], [0.8 * 0.9951]) == (
        "0.9951 of the makespan of the version before; expected 0.995 at most"
    )
    assert objection("update", [0.8], [0.9]) is not None


def test_a_search_finds_what_is_better_than_all_that_is_known() -> None:
    found = tried(scored_by(rank=-1.0), networks=150, on=variants([run_of("gemm", 5)]))
    assert found.objection is None
    assert found.figures["makespan"] < 0.8
    again = tried(scored_by(rank=-1.0), networks=150, on=variants([run_of("gemm", 5)]))
    assert again.network is not None
    assert found.network is not None
    np.testing.assert_array_equal(again.network.skip, found.network.skip)


def test_the_model_of_a_near_family_is_a_start() -> None:
    found = tried(BAD, default_network(), on=variants([product(6)]))
    assert found.network is not None
    assert found.figures["makespan"] < 0.6
