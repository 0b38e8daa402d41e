"""Merging: one model for several families stands if it is hardly slower for any of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.networks import random_network
from dask_mlsched.core import features
from dask_mlsched.core.network import Network, check
from dask_mlsched.core.thresholds import Thresholds
from dask_mlsched.learning import merging
from dask_mlsched.learning.challengers import SHARES
from dask_mlsched.learning.default_model import default_network
from dask_mlsched.learning.gate import Comparison
from dask_mlsched.learning.merging import Merge, Parent, generalise, mean_of, merge, ratio_of
from dask_mlsched.learning.outcome import Effort
from dask_mlsched.learning.shipped import Shipped
from dask_mlsched.learning.variants import variants
from learning.instances import NEAREST, scored_by
from learning.lives import run_of, tiny_ship

DEFAULT = Thresholds()
GEMM, CHOLESKY = (variants([run_of(*each)]) for each in (("gemm", 5), ("cholesky", 6)))
BAD = scored_by(missing=1.0)


def parents(one: Network, other: Network) -> list[Parent]:
    return [Parent("gemm", one, GEMM), Parent("cholesky", other, CHOLESKY)]


def merged(
    some: list[Parent], champion: Network = BAD, networks: int = 0, **changes: float
) -> Merge:
    effort = Effort.counted(networks)
    return merge(
        some,
        champion,
        Thresholds(**changes),  # type: ignore[arg-type]  # floats
        seed=0,
        elapsed=effort.elapsed,
        seconds=effort.most,
    )


def generalised(
    some: list[Parent], champion: Network, networks: int = 0, ship: Shipped | None = None
) -> Merge:
    effort = Effort.counted(networks)
    return generalise(
        some,
        champion,
        ship or tiny_ship(),
        None,
        DEFAULT,
        seed=0,
        elapsed=effort.elapsed,
        seconds=effort.most,
    )


def test_two_families_with_the_same_model_share_it() -> None:
    found = merged(parents(NEAREST, NEAREST))
    assert found.objection is None
    assert found.families == ("gemm", "cholesky")
    assert all(ratio <= 1.02 for ratio in found.ratios.values())
    assert found.figures == {f"ratio of {k}": round(r, 5) for k, r in found.ratios.items()}
    check(found.network)


def test_one_whose_model_is_the_opposite_is_refused_and_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whatever is proposed, it is the one's model, which is opposite to the other's.
    monkeypatch.setattr(merging, "_made", lambda *_: (BAD, "the model of gemm"))
    found = merged(parents(BAD, default_network()))
    assert found.ratios["gemm"] == 1
    assert found.ratios["cholesky"] > 1.1
    assert found.objection == (
        f"{found.ratios['cholesky']:.4f} of the makespan of cholesky's own model; "
        "expected 1.02 at most"
    )
    assert merged(parents(BAD, default_network()), merge_loss=9.0).objection is None


def test_ratios_are_of_runs_that_no_search_has_seen() -> None:
    parent = Parent("gemm", NEAREST, GEMM)
    logs = [np.log(e.run(BAD).makespan / e.run(NEAREST).makespan) for e in GEMM.judged]
    assert ratio_of(parent, BAD) == pytest.approx(np.exp(np.mean(logs)))
    assert ratio_of(parent, NEAREST) == 1


def test_the_mean_is_of_weights_for_features_as_they_are() -> None:
    rng = np.random.default_rng(0)
    one, other, like = (random_network(rng, features.COUNT, (0, 0)) for _ in range(3))
    made = mean_of([one, other], like)
    check(made)
    np.testing.assert_allclose(
        made.skip / made.scale, (one.skip / one.scale + other.skip / other.scale) / 2, rtol=1e-5
    )
    np.testing.assert_array_equal(made.mean, like.mean)
    # Of one alone, it is that one.
    np.testing.assert_allclose(mean_of([one], one).skip, one.skip, rtol=1e-5)


def test_what_is_proposed() -> None:
    some = parents(NEAREST, BAD)
    assert list(merging._proposals(some, BAD)) == [
        "the champion",
        "the model of gemm",
        "the model of cholesky",
        "the mean of weights",
        "distillation",
    ]
    # Hidden layers have no mean.
    deep = random_network(np.random.default_rng(0), features.COUNT, (3, 2))
    assert "the mean of weights" not in merging._proposals(parents(deep, BAD), BAD)


def test_it_begins_at_the_best_proposal() -> None:
    champion = default_network()
    found = merged(parents(BAD, champion), champion)
    # Of equals the first.
    assert found.made_by in ("the champion", "distillation")
    assert merged(parents(BAD, champion), BAD).made_by != "the champion"


def test_the_same_seed_finds_the_same() -> None:
    one, other = (merged(parents(NEAREST, BAD), networks=60) for _ in range(2))
    np.testing.assert_array_equal(one.network.skip, other.network.skip)
    assert (one.ratios, one.made_by) == (other.ratios, other.made_by)


# Generalists


def test_a_better_generalist_passes_its_gate_and_names_whom_it_stands_for() -> None:
    found = generalised(parents(default_network(), BAD), BAD)
    assert found.objection is None
    assert found.figures["overall"] < 0.9
    assert found.figures["share"] == 1
    assert "cholesky" in found.families
    for family, ratio in found.ratios.items():
        assert (family in found.families) == (ratio <= 1.02)
        assert found.figures[f"ratio of {family}"] == round(ratio, 5)


def test_the_champion_again_is_refused_with_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    good = default_network()
    monkeypatch.setattr(merging, "_made", lambda *_: (good, "the champion"))
    found = generalised(parents(good, good), good, ship=Shipped([run_of("gemm", 4)], []))
    assert found.objection == "1.0000 of the makespan over the suite; expected 0.995 at most"
    assert {"overall", "worst", "own", "share"} <= set(found.figures)


def a_comparison(overall: float) -> Comparison:
    return Comparison(overall, 0.9, "f", 1.0, 1.0, 1.0, 0.9)


def test_one_that_its_gate_refuses_is_tried_nearer_to_the_champion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    champion, other = scored_by(missing=-1.0), scored_by(missing=-1.0, root=-1.0)
    root = features.NAMES.index("root")
    monkeypatch.setattr(merging, "_made", lambda *_: (other, "the model of gemm"))
    tried: list[float] = []

    def compare(*args: Any) -> Comparison:
        tried.append(-float(args[2].skip[root]))
        return a_comparison(0.9 if tried[-1] < 0.4 else 1.1)

    monkeypatch.setattr(merging, "compare", compare)
    found = generalised(parents(champion, champion), champion)
    assert tried == pytest.approx([1.0, 0.7, 0.5, 0.35])
    assert (found.objection, found.figures["share"]) == (None, 0.35)
    assert found.network.skip[root] == pytest.approx(-0.35)


def test_if_all_are_refused_the_figures_are_those_of_the_whole_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    champion, other = scored_by(missing=-1.0), scored_by(missing=-1.0, root=-1.0)
    deep = random_network(np.random.default_rng(0), features.COUNT, (3, 2))
    for made, expected in ((other, len(SHARES)), (deep, 1)):
        monkeypatch.setattr(merging, "_made", lambda *_, made=made: (made, "search"))
        ratios = iter(np.linspace(1.1, 1.2, 10))
        seen: list[float] = []

        def compare(*_: Any, ratios: Any = ratios, seen: list[float] = seen) -> Comparison:
            seen.append(float(next(ratios)))
            return a_comparison(seen[-1])

        monkeypatch.setattr(merging, "compare", compare)
        found = generalised(parents(champion, champion), champion)
        assert len(seen) == expected
        assert found.network is made
        assert found.objection == "1.1000 of the makespan over the suite; expected 0.995 at most"
        assert (found.figures["share"], found.figures["overall"]) == (1.0, 1.1)


@pytest.mark.slow
def test_a_search_over_both_families_is_better_than_either_model() -> None:
    found = merged(parents(NEAREST, NEAREST), networks=400)
    assert max(found.ratios.values()) <= 1.0
    assert min(found.ratios.values()) < 0.97
