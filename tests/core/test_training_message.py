"""What the scheduler and the process that learns tell each other: it comes over whole, or not."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from dask_mlsched.core.message_frame import Frame, FrameError, encode, read
from dask_mlsched.core.training_message import Collected, Happened, Look

LOOK = Look("a folder", True, 10, 5, 1.5, {"bad_run": 1.5})
HAPPENED = {"event": "created", "reason": "better"}


def sent(frame: Frame) -> Frame:
    received = read(io.BytesIO(encode(frame)).read)
    assert received is not None
    return received


@pytest.mark.parametrize(
    "message",
    [
        LOOK,
        replace(LOOK, update=False),
        Collected(3, None, 7),
        Collected(0, "too odd", 7),
        Happened("created", "better", "blocks/v0001", "blocks", {"overall": 0.5, "runs": 3}),
        Happened("refused", "worse", None, None, {}),
    ],
)
def test_a_message_comes_over_as_it_was(message: Any) -> None:
    assert type(message).from_frame(sent(message.frame())) == message


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Look, {}, "field 'directory' is None; expected a text"),
        (Look, {"directory": "x"}, "field 'capacity' is None; expected a number"),
        (Collected, {"added": "3"}, "field 'added' is '3'"),
        (Collected, {"added": 3, "decisions": 3, "rejected": 5}, "field 'rejected' is 5"),
        (Happened, {}, "field 'event' is None; expected a text"),
        (Happened, {"event": "created"}, "field 'reason' is None; expected a text"),
        (Happened, {**HAPPENED, "model": 3}, "field 'model' is 3; expected a text"),
        (Happened, {**HAPPENED, "family": 3}, "field 'family' is 3; expected a text"),
        (Happened, {**HAPPENED, "figures": {"a": "b"}}, "figures are {'a': 'b'}"),
        (Happened, HAPPENED, "figures are None"),
    ],
)
def test_what_is_missing_is_one_clear_error(kind: Any, fields: Any, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        kind.from_frame(Frame(0, fields))
