"""The status in words: what decides, the workers, and what a user should look at."""

from __future__ import annotations

from typing import Any

from dask_mlsched.extension.status_text import Status

WORKER = {
    "kind": "emulated-device",
    "limit": 20_000_000,
    "resident_bytes": 5_000_000,
    "loads": 1,
    "evictions": 2,
    "bytes_loaded": 1_000,
    "bytes_evicted": 0,
    "load_seconds": 0.5,
    "evict_seconds": 0.25,
    "in_flight": 2,
}
QUIET: dict[str, Any] = {
    "mode": "manage",
    "policy": "learned",
    "managing": True,
    "workers": {"tcp://h:1": WORKER},
    "parked": 1234,
    "unmanaged": {},
    "errors": 0,
    "last_error": None,
    "reports": {"lost": 0, "malformed": 0, "worker_errors": 0, "last_problem": None},
    "trace": {"problems": 0, "last_problem": None},
    "specialising": None,
    "dashboard": None,
    "training": None,
    "decisions": 0,
    "reasons": {},
    "holds": 0,
    "hold_seconds": 0.0,
    "oversized": 0,
    "decision_seconds": {"p50": None, "p99": None, "total": 0.0},
    "policy_failures": 0,
    "last_policy_failure": None,
    "policy_off": False,
}


def said(**fields: Any) -> str:
    return str(Status({**QUIET, **fields}))


def test_what_decides_and_the_workers():
    text = said()
    assert text.startswith("mlsched: mode manage, policy learned; managing, 1,234 tasks parked.")
    assert "Nothing was decided so far." in text
    row = next(line for line in text.splitlines() if line.startswith("tcp://h:1"))
    for cell in ("emulated-device", "20.0 MB", "5.0 MB", "1.0 kB", "750 ms", "2"):
        assert cell in row


def test_decisions_and_their_times():
    text = said(
        decisions=5,
        reasons={"policy": 4, "fits": 1},
        decision_seconds={"p50": 0.0002, "p99": 0.01, "total": 1.0},
        holds=2,
        hold_seconds=0.5,
    )
    assert "Decisions: 5 (4 policy, 1 fits). Half of them took less than 200 µs" in text
    assert "99 of 100 less than 10 ms" in text
    assert "Holds: 2, 500 ms in all." in text


def test_nothing_is_said_of_problems_where_there_are_none():
    assert not any(word in said() for word in ("rror", "ailure", "roblem", "Left", "Larger"))


def test_all_that_a_user_should_look_at_is_there():
    text = said(
        managing=False,
        unmanaged={"actor": 2},
        oversized=3,
        errors=1,
        last_error="decide: ValueError: x",
        policy_failures=10,
        policy_off=True,
        last_policy_failure="it took 2 s",
        reports={"lost": 4, "malformed": 0, "worker_errors": 0, "last_problem": "p"},
        trace={"problems": 1, "last_problem": "disk full"},
        dashboard={"problems": 2, "last_problem": "d"},
    )
    for words in (
        "not managing",
        "Left to Dask: 2 actor.",
        "3 tasks; they run",
        "Errors of the plugin: 1. The last: decide: ValueError: x.",
        "Failures of the policy: 10; it is switched off. The last: it took 2 s.",
        "4 lost",
        "Problems of trace: 1. The last: disk full.",
        "Problems of dashboard: 2. The last: d.",
    ):
        assert words in text


def test_what_is_learned():
    training = {
        "mode": "background",
        "runs": {"collected": 3, "rejected": 1},
        "decisions": 1500,
        "choice": {"model": "generalist/v0001", "why": "it is believed to be best"},
    }
    text = said(training=training)
    assert "Training (background): 3 runs collected, 1 rejected, 1,500 decisions." in text
    assert "The model at hand: generalist/v0001: it is believed to be best." in text
    assert "The model at hand" not in said(training={**training, "choice": None})


def test_a_worker_of_which_nothing_is_known():
    text = said(workers={"tcp://h:1": {**WORKER, "kind": None, "limit": None}})
    row = next(line for line in text.splitlines() if line.startswith("tcp://h:1"))
    assert "unknown" in row
    assert "none" in row
