"""Traces as bytes: exact, readable as far as they go, and never silently wrong."""

from __future__ import annotations

import json
import math
import struct
import zlib
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.golden_traces import DIRECTORY
from core.graphs import gemm
from core.recorded import RecordedDask
from dask_mlsched.core import events as ev
from dask_mlsched.core import recorder, trace_rows
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.policies import Candidate, GreedyHold, Situation
from dask_mlsched.core.replay import verify
from dask_mlsched.core.trace import (
    Decision,
    Entry,
    Header,
    Names,
    PolicySwitched,
    Step,
    Trace,
    TraceError,
)
from dask_mlsched.core.trace_codec import MAGIC, decode, encode, encode_frame
from dask_mlsched.core.trace_rows import End

HEADER = Header("1.2.3", 1.75e9, "greedy", "manage", Settings(seed=7, bandwidth=0.1))
READY = Step(ev.TaskReady(0.5, 3))


def a_trace(*entries: Any) -> Trace:
    return Trace(HEADER, entries)


def framed(rows: Any) -> bytes:
    """Frame any rows, as another writer might."""
    payload = zlib.compress(json.dumps(rows).encode())
    length = struct.pack(">I", len(payload))
    return length + struct.pack(">I", zlib.crc32(length + payload)) + payload


@pytest.fixture(scope="module")
def recorded() -> bytes:
    """Record a small run, in many frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "_BATCH", 20)
        dask = RecordedDask(GreedyHold(), bandwidth=8.0, hold_limit=64.0)
        dask.join(0, threads=1, limit=30)
        dask.submit(gemm(2))
        dask.run()
        assert dask.trace().complete
    assert len(dask.parts) > 8
    return b"".join(dask.parts)


# There and back


@given(st.builds(Trace, entries=st.from_type(tuple[Entry, ...])))
@settings(max_examples=60, deadline=None)
def test_anything_that_a_trace_can_hold_comes_back_as_it_was(trace: Trace):
    trace = replace(trace, problem=None)
    # The text tells 1 from 1.0 and 0.0 from -0.0, and takes NaN for itself.
    assert repr(decode(encode(trace))) == repr(trace)


def a_value(kind: Any) -> st.SearchStrategy[Any]:
    return st.builds(Step, st.from_type(kind), st.just(()), st.just(()), st.just(()))


@pytest.mark.parametrize("kind", get_args(ev.Event), ids=lambda kind: kind.__name__)
def test_every_kind_of_event_comes_back(kind: type):
    @given(a_value(kind))
    @settings(max_examples=15, deadline=None)
    def comes_back(step: Step) -> None:
        assert repr(decode(encode(a_trace(step))).entries) == repr((step,))

    comes_back()


@given(st.floats(), st.integers(-(2**70), 2**70))
@settings(deadline=None)
def test_numbers_come_back_bit_for_bit(number: float, whole: int):
    copies = ((whole, True, whole, number),)
    step = Step(ev.ArraysMoved(number, 0, (), whole, number, copies))
    (back,) = decode(encode(a_trace(step))).events()
    assert isinstance(back, ev.ArraysMoved)
    for each in (back.time, back.copies[0][3]):
        assert math.isnan(each) if math.isnan(number) else pack(each) == pack(number)
    assert (back.nbytes, back.copies[0][0]) == (whole, whole)


def pack(number: float) -> bytes:
    return struct.pack(">d", number)


@pytest.mark.parametrize(
    "moves",
    [((1, True), (3, False)), ((3, False), (1, True)), ((1, True),), ((-1, True), (1, True))],
)
def test_moves_are_said_once_if_copies_say_the_same_and_come_back_in_any_case(moves: Any):
    copies = ((1, True, 10, 0.1), (-1, True, 10, 0.1), (3, False, 10, 0.1))
    step = Step(ev.ArraysMoved(0.5, 0, moves, 30, 0.3, copies))
    assert decode(encode(a_trace(step))).entries == (step,)


def test_keys_of_any_characters_come_back():
    names = Names(tasks=((0, "ключ\n\x00\ud800"), (1, "('x', 1)")))
    assert decode(encode(a_trace(names))).entries == (names,)


def test_numbers_that_are_not_python_s_own_become_so():
    spec = ev.TaskSpec(np.int64(3), (), (np.float32(0.5), np.int8(1)))  # type: ignore[arg-type]
    (event,) = decode(encode(a_trace(Step(ev.GraphArrived(0.0, (spec,)))))).events()
    assert event == ev.GraphArrived(0.0, (ev.TaskSpec(3, (), (0.5, 1)),))
    assert repr(event) == repr(ev.GraphArrived(0.0, (ev.TaskSpec(3, (), (0.5, 1)),)))


def test_a_real_run_comes_back(recorded: bytes):
    trace = decode(recorded)
    assert trace.complete
    assert decode(encode(trace)) == trace
    assert list(trace.decisions())
    assert [step for step in trace.steps() if step.readings]


def test_a_trace_of_version_1_is_read_and_replayed():
    """It was recorded by the version before networks were told of."""
    trace = decode((DIRECTORY / "version-1.mlsched-trace").read_bytes())
    assert trace.complete
    assert len(trace.dag()) == 16
    assert sum(isinstance(each, ev.Run) for each in trace.instructions()) == 16
    verify(trace)


def test_a_trace_that_is_cut_stays_cut():
    cut = decode(encode(a_trace(READY))[: -len(encode_frame([End()]))])
    assert cut.entries == (READY,)
    assert "its end is missing" in str(cut.problem)
    assert decode(encode(cut)) == cut


# Cut and damaged


def test_cut_at_any_byte_all_whole_frames_are_read_and_the_end_is_missed(recorded: bytes):
    whole = decode(recorded)
    lengths = set()
    for cut in range(len(recorded)):
        try:
            trace = decode(recorded[:cut])
        except TraceError as error:
            assert "nothing is left of it" in str(error)  # noqa: PT017 - both outcomes are fine
            assert not lengths, "the header could be read before"
            continue
        assert not trace.complete
        assert "its end is missing" in str(trace.problem)
        assert trace.entries == whole.entries[: len(trace.entries)]
        lengths.add(len(trace.entries))
    assert len(lengths) > 5
    assert max(lengths) == len(whole.entries)
    assert 0 in lengths


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_a_flipped_bit_is_noticed_wherever_it_is(bit: int, recorded: bytes):
    whole = decode(recorded)
    damaged = bytearray(recorded)
    for place in range(len(recorded)):
        damaged[place] ^= 1 << bit
        try:
            trace = decode(bytes(damaged))
        except TraceError:
            continue
        finally:
            damaged[place] ^= 1 << bit
        assert trace.problem is not None, place
        assert trace.entries == whole.entries[: len(trace.entries)]


def test_what_is_damaged_is_told_with_its_place():
    good = encode(a_trace(READY))
    at = len(good) - len(encode_frame([End()]))
    damaged = good[:-1] + bytes([good[-1] ^ 1])
    assert decode(damaged).problem == f"damaged at byte {at}: what follows is left out"
    assert decode(damaged).entries == (READY,)


def test_what_stands_behind_the_end_is_noticed():
    trace = decode(encode(a_trace(READY)) + b"\0" * 20)
    assert not trace.complete
    assert trace.entries == (READY,)


# What is no trace


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the trace is cut in its first line, and nothing is left of it"),
        (MAGIC[:-1], "the trace is cut in its first line, and nothing is left of it"),
        (MAGIC, "the trace is empty, and nothing is left of it"),
        (
            b"\x89PNG\r\n",
            r"this is no trace: it begins with b'\\x89PNG.*; expected b'mlsched-trace",
        ),
        (b'{"format": "mlsched-graph"}', "this is no trace"),
        (b"mlsched-trace", "the trace is cut in its first line"),
        (b"mlsched-trace x\n", "this is no trace"),
        (b"mlsched-trace 3\nwhatever", "has version 3; expected 1 or 2: read it with the version"),
        (b"mlsched-trace 10\n", "has version 10; expected 1 or 2"),
        (b"mlsched-trace 0\n", "has version 0; expected 1 or 2"),
    ],
)
def test_what_is_no_trace_or_another_version_is_one_clear_error(data: bytes, message: str):
    with pytest.raises(TraceError, match=message) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


HEAD = encode_frame([HEADER])
DECIDE = framed([["Decide", 1.0]])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (framed([["TaskReady", 0.0, 1]]), "begins with TaskReady; expected Header"),
        (HEAD + HEAD + framed([["End", None]]), "has Header where it cannot be"),
        (HEAD + framed([["End", None], ["TaskReady", 0.0, 1]]), "has End where it cannot be"),
        (HEAD + framed([["Hold", 0.0, 1, 2.0, 1.0]]), "has Hold where it cannot be"),
        (HEAD + framed([["PolicySwitched", "x"], ["Readings", [1]]]), "has Readings where"),
        (HEAD + framed([["TaskVanished", 0.0]]), r"cannot be read \(KeyError: 'TaskVanished'\)"),
        (HEAD + framed([["TaskReady", 0.0]]), r"cannot be read \(TypeError: .*later version"),
        (HEAD + framed([["TaskReady", 0.0, 1, 2, 3]]), r"cannot be read \(TypeError"),
        (HEAD + framed([[]]), r"cannot be read \(ValueError"),
        (HEAD + framed([["Readings", ["x"]]]), r"cannot be read \(TypeError"),
        (HEAD + framed([["Decision", [1]]]), r"cannot be read \(IndexError"),
        (framed([["Header", {"package": "9"}]]), r"cannot be read \(KeyError: 'settings'\)"),
        (
            framed([["Header", {"settings": {"turbo": 1}}]]),
            r"cannot be read \(TypeError: .*'turbo'.*later version",
        ),
    ],
)
def test_rows_that_cannot_be_are_one_clear_error(frames: bytes, message: str):
    with pytest.raises(TraceError, match=message) as caught:
        decode(MAGIC + frames)
    assert "\n" not in str(caught.value)


def test_a_frame_that_is_whole_but_holds_something_else_is_one_clear_error():
    for payload in (b"no zlib", zlib.compress(b"no json"), zlib.compress(b"\xff")):
        length = struct.pack(">I", len(payload))
        frame = length + struct.pack(">I", zlib.crc32(length + payload)) + payload
        with pytest.raises(TraceError, match="a frame of the trace cannot be read"):
            decode(MAGIC + HEAD + frame)


def test_fields_that_were_not_there_yet_take_their_defaults():
    """As in traces of an earlier version of the package."""
    old = framed([["ArraysMoved", 1.0, 0, [[3, True]], 10, 0.5]])
    trace = decode(MAGIC + HEAD + old)
    assert list(trace.events()) == [ev.ArraysMoved(1.0, 0, ((3, True),), 10, 0.5)]


def test_a_report_without_fetches_is_as_earlier_versions_wrote_it():
    moved = ev.ArraysMoved(1.0, 0, ((3, True),), 10, 0.5, ((3, True, 10, 0.5),))
    assert trace_rows.row(moved) == ("ArraysMoved", 1.0, 0, None, 10, 0.5, moved.copies)


@pytest.mark.parametrize("source", [1, -1])
def test_fetches_come_back_with_and_without_copies(source: int):
    fetches = ((source, 0.25, ((3, 10), (-1, 7))), (0, 1e-9, ()))
    alone = Step(ev.ArraysMoved(1.0, 0, (), 0, 0.0, (), fetches))
    beside = Step(ev.ArraysMoved(1.0, 0, ((3, True),), 10, 0.5, ((3, True, 10, 0.5),), fetches))
    trace = a_trace(alone, beside)
    assert decode(encode(trace)) == trace


def test_a_header_says_what_it_is_of_in_plain_json():
    row = json.loads(zlib.decompress(HEAD[8:]))[0]
    assert row[0] == "Header"
    assert (row[1]["format"], row[1]["version"], row[1]["package"]) == ("mlsched-trace", 2, "1.2.3")
    assert row[1]["settings"]["seed"] == 7
    assert decode(MAGIC + HEAD).header == HEADER


def test_outcomes_belong_to_the_event_before_them():
    candidates = (Candidate(1, (0.0, 1), 5, 6, 7, root=True),)
    decision = Decision(Situation(1.0, 0, None, 0, candidates, None), 0, 0.5, 1e-5)
    run = ev.Run(1.0, 1, 0, "policy", 5, 1, 0, 0.0)
    hold = ev.Hold(1.0, 0, 2.0, 1.0)
    decided = Step(ev.Decide(1.0), (run, hold), (decision, decision), (5, 10, 10, 25))
    trace = a_trace(READY, decided, Step(ev.Decide(2.0)), READY)
    assert decode(encode(trace)) == trace


def test_every_kind_has_a_row():
    kinds = {*get_args(ev.Event), *get_args(ev.Instruction), Header, Names, PolicySwitched}
    assert kinds <= set(trace_rows._CLASSES.values())
