"""A run is over when nothing has been under way for a while, and not before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dask_mlsched.extension.episodes import QUIET, Episodes


def scheduler(**changes: Any) -> Any:
    worker = {name: changes.pop(name, set()) for name in ("processing", "long_running")}
    usual: dict[str, Any] = {"queued": set(), "unrunnable": {}}
    return SimpleNamespace(workers={"a": SimpleNamespace(**worker)}, **{**usual, **changes})


def test_it_is_over_after_a_quiet_while() -> None:
    episodes = Episodes()
    assert not episodes.over(scheduler(), 5, now=10.0)
    assert not episodes.over(scheduler(), 5, now=10.1)
    assert not episodes.over(scheduler(), 5, now=10.1 + 0.9 * QUIET)
    assert episodes.over(scheduler(), 5, now=10.1 + QUIET)
    assert episodes.over(scheduler(), 5, now=99.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"processing": {"x"}},
        {"long_running": {"x"}},
        {"queued": {"x"}},
        {"unrunnable": {"x": 0.0}},
    ],
)
def test_whatever_could_still_run_begins_the_while_anew(changes: dict[str, Any]) -> None:
    episodes = Episodes()
    for now in (0.0, 0.1):
        episodes.over(scheduler(), 0, now)
    assert not episodes.over(scheduler(**changes), 0, now=1.0)
    assert not episodes.over(scheduler(), 0, now=1.1)
    assert not episodes.over(scheduler(), 0, now=1.0 + QUIET)
    assert episodes.over(scheduler(), 0, now=1.1 + QUIET)


def test_what_ran_between_two_looks_begins_it_anew_as_well() -> None:
    episodes = Episodes()
    for now in (0.0, 0.1):
        episodes.over(scheduler(), 5, now)
    assert not episodes.over(scheduler(), 6, now=1.0)
    assert not episodes.over(scheduler(), 6, now=1.1)
    assert episodes.over(scheduler(), 6, now=1.1 + QUIET)
