from __future__ import annotations

from typing import Any

import pytest

from dask_mlsched.core.model_choice import BASELINE
from dask_mlsched.extension.figures import FIGURES

BY_NAME = {figure.name: figure for figure in FIGURES}

TRAINING: dict[str, Any] = {
    "runs": {"spooled": 3, "collected": 2, "rejected": 1, "dropped": 0},
    "decisions": 400,
    "problems": 1,
    "catalogue": {"number": 2, "champion": "b", "families": [], "models": ["a", "b"]},
    "choices": {"a": 2, BASELINE: 1, "retired": 5},
    "events": {"admitted": 2},
}


def read(name: str, status: dict[str, Any]) -> dict[tuple[str, ...], float]:
    return dict(BY_NAME[name].read(status))


def test_names_are_unique_and_written_as_prometheus_has_them():
    assert len(BY_NAME) == len(FIGURES)
    for figure in FIGURES:
        # `_total` is added to counters and to nothing else; the unit stands before it.
        assert not figure.name.endswith(("_total", "_count", "_sum", "_bucket"))
        for unit in ("bytes", "seconds"):
            assert unit not in figure.name or figure.name.endswith(f"_{unit}"), figure.name
        assert figure.name == figure.name.lower()
        assert figure.help
        assert not figure.help.endswith(".")


def test_labels_that_may_take_any_value_are_few():
    assert {label for figure in FIGURES for label in figure.labels} == {
        "version",
        "mode",
        "policy",
        "reason",
        "quantile",
        "outcome",
        "worker",
        "direction",
        "model",
        "event",
    }


def test_with_training_on_what_is_learned_is_shown():
    status = {"training": TRAINING}
    assert read("training_runs", status)["rejected",] == 1
    assert read("training_decisions", status) == {(): 400}
    assert read("training_problems", status) == {(): 1}
    assert read("model_events", status) == {("admitted",): 2}


def test_models_that_can_no_longer_be_chosen_are_not_shown():
    assert read("models_chosen", {"training": TRAINING}) == {("a",): 2, (BASELINE,): 1}
    before = {**TRAINING, "catalogue": None}
    assert read("models_chosen", {"training": before}) == {(BASELINE,): 1}


@pytest.mark.parametrize("name", [name for name in BY_NAME if name.startswith(("training", "mod"))])
def test_with_training_off_nothing_is_shown_of_it(name):
    assert read(name, {"training": None}) == {}


def test_a_worker_without_tiers_has_no_moves_and_no_limit():
    plain = {"limit": None, "resident_bytes": 0, "loads": 0, "evictions": 0, "unserved": "why"}
    status = {"workers": {"tcp://a:1": plain}}
    assert read("worker_moves", status) == read("worker_limit_bytes", status) == {}
    assert read("worker_resident_bytes", status) == {("tcp://a:1",): 0}
    assert read("workers_unserved", status) == {(): 1}
