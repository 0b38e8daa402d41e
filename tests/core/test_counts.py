"""Counts go on when a controller is made anew, or asks another policy."""

from __future__ import annotations

from typing import Any

from core.driver import VirtualDask
from core.graphs import gemm
from core.scripted import Scripted, hold
from dask_mlsched.core.counts import RECENT, Counts
from dask_mlsched.core.policies import Greedy, Policy, Situation


def fails(situation: Situation) -> Any:
    return []


def after_a_run(policy: Policy, before: Counts | None = None, **settings: Any) -> VirtualDask:
    """Run a product on a new controller, which counts on."""
    dask = VirtualDask(policy, **settings)
    if before is not None:
        dask.controller.count_on(before)
    dask.join(0, limit=30)
    dask.submit(gemm(3))
    dask.run()
    return dask


def test_a_new_controller_has_counted_nothing():
    assert VirtualDask().controller.counts() == Counts()


def test_every_count_goes_on():
    once = after_a_run(Scripted(hold)).controller.counts()
    assert once.reasons.total() == len(once.recent_seconds) - once.holds > 0
    assert once.holds > 0
    assert once.hold_seconds > 0
    assert once.total_seconds > 0
    again = after_a_run(Scripted(hold), once).controller.counts()
    assert again.reasons == {reason: 2 * count for reason, count in once.reasons.items()}
    assert (again.holds, again.hold_seconds) == (2 * once.holds, 2 * once.hold_seconds)
    assert again.oversized == 2 * once.oversized
    assert list(again.recent_seconds)[: len(once.recent_seconds)] == list(once.recent_seconds)
    assert again.total_seconds > once.total_seconds


def test_counts_are_not_changed_by_what_comes_later():
    dask = after_a_run(Greedy())
    before = dask.controller.counts()
    sent = before.reasons.total()
    dask.submit("x y z")
    dask.run()
    assert before.reasons.total() == sent == dask.controller.counts().reasons.total() - 3


def test_failures_of_earlier_policies_and_controllers_count():
    dask = after_a_run(Scripted(fails), failures=3)
    chooser = dask.controller.chooser
    assert chooser.guard is not None
    assert chooser.guard.off
    chooser.set_policy(Greedy())
    assert not chooser.guard.off
    assert dask.controller.counts().policy_failures == 3
    chooser.set_policy(None)
    chooser.set_policy(Greedy())
    assert dask.controller.counts().policy_failures == 3
    again = after_a_run(Scripted(fails), dask.controller.counts(), failures=2)
    assert again.controller.counts().policy_failures == 5


def test_recent_durations_have_an_end():
    before = Counts(total_seconds=1.0)
    before.recent_seconds.extend([0.5] * RECENT)
    recent = after_a_run(Greedy(), before).controller.counts().recent_seconds
    assert len(recent) == RECENT
    assert recent[0] == 0.5
    assert recent[-1] < 0.5
