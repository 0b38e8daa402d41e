"""What is sent of models to choose from: read as it was written, or refused with a clear error."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.networks import random_network
from dask_mlsched.core import features
from dask_mlsched.core.message_frame import Frame, FrameError
from dask_mlsched.core.model_choice import BASELINE, Belief, Catalogue, KnownFamily

DASK = Belief(BASELINE, 0.0, 0.0, 3)


def a_catalogue() -> Catalogue:
    rng = np.random.default_rng(0)
    return Catalogue(
        7,
        "generalist/v0001",
        (DASK, Belief("generalist/v0001", 0.1, 0.2)),
        (
            KnownFamily("f", {"version": 1}, (DASK, Belief("f/v0002", -0.1, 0.0, 5))),
            KnownFamily("g", {}, (DASK,), "f/v0001: slow"),
        ),
        {
            "generalist/v0001": random_network(rng, features.COUNT, (0, 0)),
            "f/v0002": random_network(rng, features.COUNT, (3, 2)),
        },
        trial="f/v0002",
        same_family=0.8,
    )


def test_what_is_written_is_what_is_read() -> None:
    made = a_catalogue()
    got = Catalogue.from_frame(made.frame())
    for name in ("number", "champion", "unknown", "families", "trial", "same_family"):
        assert getattr(got, name) == getattr(made, name)
    assert list(got.networks) == list(made.networks)
    for ref, network in made.networks.items():
        for name, array in network._asdict().items():
            np.testing.assert_array_equal(getattr(got.networks[ref], name), array)
    assert got.network(BASELINE) is None
    assert got.network("f/v0002") is got.networks["f/v0002"]
    assert got.choices == [made.unknown, *(each.arms for each in made.families)]


def test_dasks_order_alone_needs_no_networks() -> None:
    made = Catalogue(1, BASELINE, (DASK,))
    got = Catalogue.from_frame(made.frame())
    assert (got.champion, dict(got.networks), got.trial) == (BASELINE, {}, None)


def belief(**changes: Any) -> list[dict[str, Any]]:
    return [{"model": BASELINE, "mean": 0.0, "deviation": 0.0, "runs": 0, **changes}]


@pytest.mark.parametrize(
    "change",
    [
        {"networks": None},
        {"networks": ["generalist/v0001"]},
        {"networks": ["generalist/v0001", "other/v0001"]},
        {"unknown": [{}]},
        {"unknown": 5},
        *({"unknown": belief(mean=value)} for value in (math.nan, math.inf, -1e9, "fast", None)),
        *({"unknown": belief(deviation=value)} for value in (math.nan, -0.1, 1e9)),
        {"unknown": belief(runs=-1)},
        {"unknown": belief(model="missing/v0001")},
        {"champion": "missing/v0001"},
        {"champion": 5},
        {"families": [{}]},
        {"families": [{"name": "f", "fingerprint": [], "arms": [], "sent_back": None}]},
        {"families": [{"name": "f", "fingerprint": {}, "arms": [], "sent_back": 3}]},
        {"trial": 3},
        {"number": "many"},
        {"same_family": None},
    ],
)
def test_what_is_none_is_one_clear_error(change: dict[str, Any]) -> None:
    frame = a_catalogue().frame()
    with pytest.raises(FrameError) as caught:
        Catalogue.from_frame(Frame(frame.kind, {**frame.fields, **change}, frame.arrays))
    assert "\n" not in str(caught.value)


def test_so_is_one_with_a_network_that_is_none() -> None:
    made = a_catalogue()
    broken = made.networks["f/v0002"]
    broken.skip[0] = np.nan
    with pytest.raises(FrameError):
        Catalogue.from_frame(made.frame())
    frame = replace(made, networks={}).frame()
    with pytest.raises(FrameError, match="is of no model"):
        Catalogue.from_frame(Frame(frame.kind, frame.fields, {"5 skip": broken.skip}))
    with pytest.raises(FrameError):
        Catalogue.from_frame(Frame(frame.kind, {}, {}))
