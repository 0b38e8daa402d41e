"""Decisions are exactly those that were recorded; see `golden_traces` for how to record anew."""

from __future__ import annotations

import pytest

from core.golden_traces import CASES, DIRECTORY, play, recorded


@pytest.mark.parametrize("name", CASES)
def test_decisions_are_those_recorded(name: str):
    assert play(name) == recorded(name)


@pytest.mark.parametrize("name", CASES)
def test_the_same_case_decides_the_same_twice(name: str):
    assert play(name) == play(name)


def test_every_recording_belongs_to_a_case():
    assert {path.stem for path in DIRECTORY.glob("*.json")} == set(CASES)


def test_recordings_show_what_they_are_for():
    assert any(each[0] == "hold" for each in recorded("product-greedy-hold"))
    assert any(each[0] == "hold" for each in recorded("product-with-losses"))
    for name in CASES:
        assert {each[3] for each in recorded(name) if each[0] == "run"} == {0, 1}
