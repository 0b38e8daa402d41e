"""A record that is no fingerprint is refused in one line."""

from __future__ import annotations

import math
from typing import Any

import pytest

from core.dags import a_task, build
from dask_mlsched.learning.fingerprint import Fingerprint, FingerprintError, fingerprint

FOUND = fingerprint(build(a_task("a", prefix="x"), a_task("b", "a", prefix="y")))


def damaged(**fields: object) -> dict[str, Any]:
    return {**FOUND.to_json(), **fields}


def rounds(round_0: object) -> list[object]:
    return [round_0, *FOUND.to_json()["rounds"][1:]]


LABEL = "0" * 15 + "a"


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ([], "a record is []; expected a dictionary"),
        ({}, "of version None; expected 1; take"),
        (damaged(version=2), "of version 2; expected 1; take"),
        (damaged(version=True), "of version True; expected 1"),
        (damaged(family="xyz"), "family is 'xyz'; expected 16 hexadecimal digits"),
        (damaged(family=7), "family is 7; expected 16"),
        (damaged(tasks=-1), "tasks is -1; expected a whole number, 0 or more"),
        (damaged(edges=True), "edges is True; expected a whole"),
        (damaged(depth=None), "depth is None; expected a whole"),
        (damaged(width=1.5), "width is 1.5; expected a whole"),
        (damaged(rounds=[{}]), "rounds is [{}]; expected a list of 4 rounds"),
        (damaged(structure=None), "structure is None; expected a list"),
        (damaged(rounds=rounds([])), "rounds[0] is []; expected a dictionary of 256"),
        (damaged(rounds=rounds({"a": 1.0})), "a label in rounds[0] is 'a'; expected 16"),
        (damaged(rounds=rounds({LABEL.upper(): 1.0})), "'000000000000000A'; expected 16"),
        (damaged(rounds=rounds({LABEL: "1"})), "a weight in rounds[0] is '1'; expected a num"),
        (damaged(rounds=rounds({LABEL: 0.0})), "a weight in rounds[0] is 0.0; expected"),
        (damaged(rounds=rounds({LABEL: math.nan})), "a weight in rounds[0] is nan; expected"),
        (damaged(rounds=rounds({LABEL: True})), "a weight in rounds[0] is True; expected"),
        (damaged(rounds=rounds({LABEL: 0.5})), "the sum of squares in rounds[0] is 0.25"),
        (
            damaged(rounds=rounds({f"{i:016x}": 1 / math.sqrt(257) for i in range(257)})),
            "expected a dictionary of 256 labels or fewer",
        ),
    ],
)
def test_what_is_no_fingerprint_is_refused_in_one_line(record: object, line: str):
    with pytest.raises(FingerprintError) as caught:
        Fingerprint.from_json(record)
    message = str(caught.value)
    assert line in message
    assert message.endswith("take the fingerprint of the DAG again")
    assert "\n" not in message


def test_whole_it_is_taken_back():
    assert Fingerprint.from_json(damaged()) == FOUND
