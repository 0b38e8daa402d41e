"""Explanations in words: what happened, in sentences that a user who knows Dask understands."""

from __future__ import annotations

from typing import Any

import pytest

from dask_mlsched.core.chooser import Reason
from dask_mlsched.extension.explanation import LEFT, REASONS, Explanation
from dask_mlsched.extension.parking import Unmanaged

DECISION = {
    "policy": "learned",
    "worker": "tcp://h:1",
    "reason": "policy",
    "missing_bytes": 2_000_000,
    "candidates": 12,
    "place_in_dask_order": 2,
    "held_seconds": 0.0,
}
PASSED = {
    "times": 3,
    "worker": "tcp://h:1",
    "instead": "('y', 1)",
    "missing_bytes": 3_000,
    "missing_bytes_instead": 1_000,
    "held": False,
    "held_for": None,
}
PARKED = {
    "inputs": 2,
    "home": "tcp://h:1",
    "missing_bytes": {"tcp://h:1": 0, "tcp://h:2": 20_000},
    "free_slots": {"tcp://h:1": 0, "tcp://h:2": 0},
}


def said(**fields: Any) -> str:
    return str(Explanation({"key": "x", "state": "memory", **fields}))


def test_every_reason_has_words():
    assert set(REASONS) == set(Reason.__args__)  # type: ignore[attr-defined]  # a Literal


def test_everything_that_is_left_to_dask_has_words():
    # That a model was chosen is told with the choice's own reason.
    assert set(LEFT) == set(Unmanaged.__args__) - {"baseline"}  # type: ignore[attr-defined]


def test_a_choice_of_the_policy():
    text = said(decision=DECISION)
    assert "x was sent to tcp://h:1: the policy learned chose it among 12 ready tasks." in text
    assert "In Dask's order it was the 3rd of them." in text
    assert "2.0 MB of what it reads were not on the device." in text
    assert "held" not in text


def test_where_there_was_no_choice_nothing_is_said_of_the_others():
    text = said(decision={**DECISION, "candidates": 1, "reason": "only choice"})
    assert "nothing else was ready" in text
    assert "order" not in text


def test_dasks_own_first():
    assert "Dask's order had it first, too." in said(
        decision={**DECISION, "place_in_dask_order": 0}
    )


def test_a_place_that_was_held_and_a_model():
    text = said(
        decision={**DECISION, "held_seconds": 0.02, "model": "generalist/v0001", "missing_bytes": 0}
    )
    assert "held for 20 ms before" in text
    assert "generalist/v0001" in text
    assert "All that it reads was on the device." in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "for ('y', 1)"),
        ({"times": 1}, "passed over once on tcp://h:1: ('y', 1) was taken, which missed 1.0 kB"),
        ({"instead": None}, "a task that is forgotten now was taken"),
        ({"instead": None, "held": True, "held_for": "z"}, "held for z, which was to miss 1.0 kB"),
        ({"worker": None}, "passed over 3 times of late: the last time"),
    ],
)
def test_what_was_passed_over(changes: dict[str, Any], words: str):
    text = said(passed_over={**PASSED, **changes})
    assert "while it missed 3.0 kB itself" in text
    if changes:
        assert words in text
    else:
        assert "passed over 3 times of late on tcp://h:1: the last time, ('y', 1) was taken" in text


def test_a_parked_task_and_where_its_inputs_are():
    text = said(state="no-worker", parked=PARKED)
    assert "x is ready and parked; it is at home on tcp://h:1" in text
    assert "no place is free" in text
    assert text.index("tcp://h:1  ") < text.index("tcp://h:2  ")
    assert "20.0 kB" in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"free_slots": {"tcp://h:1": 1, "tcp://h:2": 0}}, "a place is free"),
        ({"free_slots": {}, "missing_bytes": {}}, "there is no worker"),
        ({"home": None}, "take no tasks now"),
        ({"home": None, "inputs": 0}, "reads nothing"),
    ],
)
def test_why_a_parked_task_waits(changes: dict[str, Any], words: str):
    assert words in said(state="no-worker", parked={**PARKED, **changes})


def test_what_is_left_to_dask():
    assert "x is left to Dask: it is an actor." in said(managed=False, left_to_dask="actor")
    assert "x is left to Dask: baseline: so" in said(managed=False, left_to_dask="baseline: so")


def test_a_task_that_waits():
    assert "x waits for 2 of its inputs" in said(state="waiting", waits_for=2)


def test_a_task_of_which_nothing_is_to_be_said():
    assert said() == "x is memory; nothing was decided about it so far."


def test_what_is_not_known_and_what_is_like_it():
    assert said(state="unknown", similar=["xy", "xz"]) == (
        "x is not known here.\nDid you mean xy, xz?"
    )
    assert said(state="unknown", similar=[]) == "x is not known here."


def test_a_key_is_text_in_a_notebook():
    shown = Explanation({"key": "<b>", "state": "unknown"})._repr_html_()
    assert "<b>" not in shown
    assert "&lt;b&gt;" in shown
