"""What the scheduler and the process that learns tell each other: it comes over whole, or not."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.networks import random_network
from dask_mlsched.core.message_frame import Frame, FrameError, encode, read
from dask_mlsched.core.training_message import Collected, Look, Updated, Version

LOOK = Look("a folder", True, 10, 5, 1.5)


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
        Updated(True, "better", {"overall": 0.5}),
        Updated(False, "worse", {}),
    ],
)
def test_a_message_comes_over_as_it_was(message: Any) -> None:
    assert type(message).from_frame(sent(message.frame())) == message


def test_a_version_comes_over_bit_for_bit() -> None:
    network = random_network(np.random.default_rng(0), 5, (3, 2))
    got = Version.from_frame(sent(Version(3, network).frame()))
    assert got.number == 3
    for before, after in zip(network, got.network, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Look, {}, "field 'directory' is None; expected a text"),
        (Look, {"directory": "x"}, "field 'capacity' is None; expected a number"),
        (Collected, {"added": "3"}, "field 'added' is '3'"),
        (Collected, {"added": 3, "decisions": 3, "rejected": 5}, "field 'rejected' is 5"),
        (Updated, {"reason": "x", "figures": {"a": "b"}}, "figures are {'a': 'b'}"),
        (Updated, {"reason": "x"}, "figures are None"),
        (Version, {"number": 1}, "no network"),
    ],
)
def test_what_is_missing_is_one_clear_error(kind: Any, fields: Any, message: str) -> None:
    with pytest.raises(FrameError, match=message):
        kind.from_frame(Frame(0, fields))
