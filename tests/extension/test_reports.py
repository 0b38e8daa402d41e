from __future__ import annotations

from typing import Any

import pytest

from dask_mlsched.extension.fetches import Fetched
from dask_mlsched.extension.reports import Report, Reports
from dask_mlsched.extension.versions import PROTOCOL

A, B = "tcp://a:1", "tcp://b:1"
TOTALS = {"loads": 1, "bytes_loaded": 8, "load_seconds": 0.5}


def hello(worker: str = A, **changes: Any) -> dict[str, Any]:
    message = {"op": "tier", "worker": worker, "kind": "x", "limit": 100, "resident": [["k", 8]]}
    return {**message, **changes}


def report(seq: int, worker: str = A, **changes: Any) -> dict[str, Any]:
    message = {
        "op": "report",
        "worker": worker,
        "seq": seq,
        "moves": [["k", "load", 8, 0.5]],
        "resident_bytes": 8,
        "totals": TOTALS,
        "resident": None,
    }
    return {**message, **changes}


def take_all(reports: Reports, *messages: Any) -> list[Report | None]:
    return [reports.take(message, {A, B}) for message in messages]


def test_a_worker_introduces_itself():
    reports = Reports()
    (first,) = take_all(reports, hello())
    assert first == Report(A, True, 100, (), (("k", 8),))
    assert reports.kinds == {A: "x"}
    assert reports.limits == {A: 100}
    assert reports.resident_bytes == {A: 8}
    assert reports.tiered == {A}


def test_a_worker_without_tiers_is_not_tiered():
    reports = Reports()
    take_all(reports, hello(kind=None, limit=None, resident=[]), hello(B))
    assert reports.tiered == {B}


def test_a_report_brings_moves_and_totals():
    reports = Reports()
    _, taken = take_all(reports, hello(), report(1, resident_bytes=24))
    assert taken == Report(A, False, None, (("k", "load", 8, 0.5),), None)
    assert reports.totals == {A: TOTALS}
    assert reports.resident_bytes == {A: 24}
    assert (reports.received, reports.lost, reports.repeated) == (2, 0, 0)


def test_a_report_brings_what_was_fetched():
    reports = Reports()
    fetches = [[B, 0.5, [["x", 8], [("y", 1), 16]]], ["tcp://gone:1", 0, [["z", 0]]]]
    _, taken = take_all(reports, hello(), report(1, moves=[], fetches=fetches))
    assert taken is not None
    assert taken.fetches == (
        Fetched(B, 0.5, (("x", 8), (("y", 1), 16))),
        Fetched("tcp://gone:1", 0.0, (("z", 0),)),
    )


def test_a_worker_that_says_nothing_of_fetches_has_none():
    _, taken = take_all(Reports(), hello(), report(1))
    assert taken is not None
    assert taken.fetches == ()


def test_a_snapshot_takes_the_place_of_the_last_one():
    reports = Reports()
    take_all(reports, hello(), report(1), report(2, resident=[["j", 4], ["k", 8]]))
    assert reports.resident == {A: (("j", 4), ("k", 8))}


def test_lost_reports_are_counted_by_the_gap():
    reports = Reports()
    take_all(reports, hello(), report(1), report(4), report(6))
    assert (reports.received, reports.lost) == (4, 3)


def test_a_repeated_report_is_counted_and_not_acted_upon():
    reports = Reports()
    *_, again = take_all(reports, hello(), report(1), report(1, resident_bytes=99))
    assert again is None
    assert reports.repeated == 1
    assert reports.resident_bytes == {A: 8}


def test_a_late_report_is_not_acted_upon():
    reports = Reports()
    *_, late = take_all(reports, hello(), report(5), report(3, totals={"loads": 0}))
    assert late is None
    assert reports.totals == {A: TOTALS}


def test_workers_are_counted_apart():
    reports = Reports()
    take_all(reports, report(1), report(1, B), report(2), report(2, B))
    assert (reports.received, reports.lost, reports.repeated) == (4, 0, 0)


def test_a_worker_that_introduces_itself_again_counts_from_the_beginning():
    reports = Reports()
    *_, taken = take_all(reports, hello(), report(7), hello(), report(1))
    assert taken is not None
    assert reports.repeated == 0


def test_a_report_of_a_worker_that_is_gone_is_stale():
    reports = Reports()
    assert reports.take(report(1), {B}) is None
    assert (reports.stale, reports.received, reports.malformed) == (1, 0, 0)
    assert not reports.totals


def test_nothing_is_kept_of_a_worker_that_left():
    reports = Reports()
    take_all(reports, hello(), report(3, resident=[]), hello(B))
    reports.forget(A)
    tables = (reports.kinds, reports.limits, reports.totals, reports.resident, reports._last)
    assert all(A not in table for table in tables)
    assert B in reports.kinds
    reports.forget(A)


def test_an_error_on_a_worker_is_counted_and_told():
    reports = Reports()
    message = {"op": "error", "worker": A, "where": "setup", "error": "OSError(28)"}
    assert take_all(reports, message) == [None]
    assert reports.worker_errors == 1
    assert reports.last_problem == f"worker {A}, setup: OSError(28)"
    assert reports.malformed == 0


@pytest.mark.parametrize(
    "message",
    [
        None,
        "hello",
        17,
        [],
        {},
        {"worker": A},
        {"op": "report", "worker": A},
        {"op": "dance", "worker": A},
        {"op": ["tier"], "worker": A},
        {"op": "report", "worker": []},
        hello(limit=0),
        hello(limit=-5),
        hello(limit="64MB"),
        hello(limit=1.5),
        hello(resident=None),
        hello(resident=[["k"]]),
        hello(resident=[["k", -1]]),
        hello(resident=[[["unhashable"], 1]]),
        report(-1),
        report(1.5),  # type: ignore[arg-type]
        report(1, moves=None),
        report(1, moves=[["k", "fly", 8, 0.1]]),
        report(1, moves=[["k", "load", 8, float("nan")]]),
        report(1, moves=[["k", "load", 8, -1]]),
        report(1, moves=[["k", "load", "8", 1]]),
        report(1, moves=[[{}, "load", 8, 1]]),
        report(1, fetches=None),
        report(1, fetches=[[B, 0.5]]),
        report(1, fetches=[[7, 0.5, []]]),
        report(1, fetches=[[B, -0.5, []]]),
        report(1, fetches=[[B, float("nan"), []]]),
        report(1, fetches=[[B, 0.5, [["x", -8]]]]),
        report(1, fetches=[[B, 0.5, [[{}, 8]]]]),
        report(1, resident_bytes=None),
        report(1, totals=[1, 2]),
        report(1, totals={"loads": "many"}),
        report(1, resident=5),
    ],
    ids=lambda message: repr(message)[:40],
)
def test_a_message_that_is_no_report_is_counted_and_changes_nothing(message):
    reports = Reports()
    take_all(reports, hello(), report(1))
    before = {name: value for name, value in vars(reports).items() if "last_" not in name}
    before = {n: dict(v) if isinstance(v, dict) else v for n, v in before.items()}
    assert reports.take(message, {A, B}) is None
    after = {name: value for name, value in vars(reports).items() if "last_" not in name}
    assert after.pop("malformed") == before.pop("malformed") + 1  # type: ignore[operator]
    assert after == before
    assert reports.last_problem is not None
    assert reports.last_problem.startswith("a message on topic 'mlsched' is no report (")
    assert "\n" not in reports.last_problem


def test_a_worker_without_the_plugin_says_why():
    reports = Reports()
    (absent,) = take_all(reports, {"op": "absent", "worker": A, "reason": "it is\n not there"})
    assert absent == Report(A, True, None, (), ())
    assert reports.absent == {A: "it is not there"}
    assert (reports.kinds, reports.limits) == ({A: None}, {A: None})
    assert reports.common_abilities() == (False, False)
    reports.forget(A)
    assert not reports.absent


def test_a_worker_of_another_protocol_is_one_without_the_plugin_until_it_comes_back_as_ours():
    reports = Reports()
    _, _, nothing = take_all(reports, hello(), hello(protocol=PROTOCOL + 1), report(1))
    assert nothing is None
    assert reports.absent == {
        A: f"dask_mlsched speaks protocol {PROTOCOL + 1}, on the scheduler {PROTOCOL}"
    }
    assert (reports.tiered, reports.stale) == (set(), 1)
    take_all(reports, hello(protocol=PROTOCOL), report(1))
    assert not reports.absent
    assert reports.tiered == {A}
    assert reports.totals == {A: TOTALS}


def test_a_reason_is_a_text_of_some_length():
    reports = Reports()
    take_all(reports, {"op": "absent", "worker": A, "reason": 7})
    assert (reports.malformed, reports.absent) == (1, {})
    take_all(reports, {"op": "absent", "worker": A, "reason": "x" * 10_000})
    assert len(reports.absent[A]) == 300
