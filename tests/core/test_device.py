"""Slots, copy speed and holds of one worker."""

from __future__ import annotations

import pytest

from dask_mlsched.core.device import Device


def test_slots_are_threads_and_lookahead_less_what_is_in_flight():
    device = Device(2, 100, 1.0)
    assert device.free_slots(1) == 3
    device.in_flight[5] = 0.0
    assert device.free_slots(1) == 2
    assert device.free_slots(0) == 1


def test_a_paused_worker_has_no_slots():
    device = Device(2, 100, 1.0)
    device.paused = True
    assert device.free_slots(5) == 0


def test_overdue_is_for_how_long_no_thread_has_become_free():
    device = Device(2, 100, 1.0)
    device.in_flight[5] = 10.0
    assert device.overdue(20.0) == 0.0  # a thread is idle
    device.in_flight[6] = 14.0
    assert device.overdue(20.0) == 10.0
    device.last_end = 18.0
    assert device.overdue(20.0) == 2.0


def test_copy_speed_is_what_was_assumed_until_a_report_comes():
    device = Device(1, 100, bandwidth=50.0)
    assert device.copy_seconds(100) == 2.0
    device.copied(8192, 2.0)
    assert device.bandwidth == 4096.0
    assert device.copy_seconds(4096) == 1.0


def test_copy_speed_follows_the_later_reports():
    device = Device(1, 100, bandwidth=1.0)
    device.copied(10_000, 1.0)
    device.copied(20_000, 1.0)
    # Each older report counts nine tenths of what it did.
    assert device.bandwidth == pytest.approx((0.9 * 10_000 + 20_000) / (0.9 + 1.0))
    for _ in range(200):
        device.copied(20_000, 1.0)
    assert device.bandwidth == pytest.approx(20_000, rel=1e-6)


@pytest.mark.parametrize(
    ("nbytes", "seconds"),
    [(4095, 1.0), (8192, 0.0), (8192, -1.0), (8192, float("nan")), (8192, float("inf")), (-1, 1.0)],
)
def test_reports_that_say_nothing_about_speed_are_left_out(nbytes: int, seconds: float):
    device = Device(1, 100, bandwidth=50.0)
    device.copied(nbytes, seconds)
    assert device.bandwidth == 50.0
    device.copied(8192, 1.0)
    assert device.bandwidth == 8192.0


def test_releasing_a_hold_tells_how_long_it_lasted_and_ends_it():
    device = Device(1, 100, 1.0)
    assert device.release_hold(3.0) == 0.0
    device.held_since, device.hold_until = 3.0, 9.0
    assert device.release_hold(5.0) == 2.0
    assert device.held_since is None
    assert device.hold_until is None
