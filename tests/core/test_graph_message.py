"""Requests and answers: what is asked comes over whole, and what makes no sense is refused."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dags import acyclic
from core.networks import random_network
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.graph_message import Answer, Request
from dask_mlsched.core.machine import Machine
from dask_mlsched.core.message_frame import Frame, FrameError, encode, read

COPY = CopyCost(1e8, 1e-5)
MACHINE = Machine(1000, workers=2, threads=3, costs=Costs(COPY, COPY, COPY, message=1e-3))


def request_for(dag: Dag, **fields: Any) -> Request:
    made = Request(
        3, dag, np.arange(len(dag))[::-1].copy(), MACHINE, Settings(lookahead=2), "bytes", 1.5, 7
    )
    return replace(made, **fields)


def sent(frame: Frame) -> Frame:
    received = read(io.BytesIO(encode(frame)).read)
    assert received is not None
    return received


@given(acyclic())
def test_a_request_comes_over_as_it_was(tasks: list[DagTask]) -> None:
    asked = request_for(Dag.build("a graph", tasks))
    got = Request.from_frame(sent(asked.frame()))
    for name in ("prefix", "starts", "sources", "reader_starts", "readers", "nbytes"):
        np.testing.assert_array_equal(getattr(got.dag, name), getattr(asked.dag, name))
    for name in ("seconds", "wanted", "given"):
        np.testing.assert_array_equal(getattr(got.dag, name), getattr(asked.dag, name))
    np.testing.assert_array_equal(got.order, asked.order)
    assert (got.machine, got.settings) == (asked.machine, asked.settings)
    assert (got.number, got.objective, got.seconds, got.seed) == (3, "bytes", 1.5, 7)


def test_a_network_to_begin_at_comes_over_and_none_is_none() -> None:
    network = random_network(np.random.default_rng(0), 5, (3, 2))
    asked = request_for(Dag.build("none", []), start=network)
    got = Request.from_frame(sent(asked.frame())).start
    assert got is not None
    for name, array in network._asdict().items():
        np.testing.assert_array_equal(getattr(got, name), array)
    assert Request.from_frame(sent(replace(asked, start=None).frame())).start is None


def test_a_network_to_begin_at_that_is_none_is_refused() -> None:
    network = random_network(np.random.default_rng(0), 5, (3, 2))
    frame = request_for(Dag.build("none", []), start=network).frame()
    without = {name: array for name, array in frame.arrays.items() if name != "start_w2"}
    with pytest.raises(FrameError, match="no network"):
        Request.from_frame(replace(frame, arrays=without))


def test_a_machine_without_limits_comes_over() -> None:
    asked = request_for(Dag.build("none", []), machine=Machine(None))
    assert Request.from_frame(sent(asked.frame())).machine == Machine(None)


@pytest.mark.parametrize("keep_clean", [False, True])
@pytest.mark.parametrize("overlap", [False, True])
def test_how_stores_copy_comes_over(keep_clean: bool, overlap: bool) -> None:
    machine = Machine(8, keep_clean=keep_clean, overlap=overlap)
    asked = request_for(Dag.build("none", []), machine=machine)
    assert Request.from_frame(sent(asked.frame())).machine == machine


def test_a_request_of_a_version_without_loads_ahead_is_refused() -> None:
    frame = pair()
    fields = {name: value for name, value in frame.fields.items() if name != "overlap"}
    with pytest.raises(FrameError, match="start both processes from one version"):
        Request.from_frame(Frame(frame.kind, fields, frame.arrays))


def pair() -> Frame:
    """Ask about two tasks, the second of which reads the first."""
    dag = Dag.build("two", [DagTask("a", (), 8, 0.5, "p"), DagTask("b", ("a",), 8, 0.5, "q")])
    return request_for(dag).frame()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("sources", np.array([1]), "a task reads one that does not stand before it"),
        ("sources", np.array([-1]), "a task reads one that does not stand before it"),
        ("starts", np.array([0, 2, 1]), "edges do not fit the tasks"),
        ("starts", np.array([0, 1]), "array 'starts' is of shape"),
        ("nbytes", np.array([8, -1]), "a size or a time is below 0"),
        ("nbytes", np.array([8.0, 1.0]), "array 'nbytes' is of type <f8"),
        ("seconds", np.array([0.5, np.nan]), "a size or a time is below 0"),
        ("order", np.array([1, 1]), "tasks share a place in the order"),
        ("given", np.array([True, False]), "a given array is computed"),
        ("prefix", np.array([0, 10**9]), "prefixes from 0 to 1000000000"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(
    name: str, array: np.ndarray[Any, Any], message: str
) -> None:
    frame = pair()
    with pytest.raises(FrameError, match=message):
        Request.from_frame(Frame(frame.kind, frame.fields, {**frame.arrays, name: array}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("objective", "beauty"),
        ("limit", "much"),
        ("workers", 0),
        ("settings", {}),
        ("costs", None),
        ("seconds", None),
    ],
)
def test_fields_that_cannot_be_are_refused(name: str, value: object) -> None:
    frame = pair()
    with pytest.raises(FrameError, match="start both processes from one version"):
        Request.from_frame(Frame(frame.kind, {**frame.fields, name: value}, frame.arrays))


def answer() -> Answer:
    network = random_network(np.random.default_rng(0), 5, (3, 2))
    told = {"stock": (2.0, 100), "searched": (1.0, 50)}
    return Answer(3, "searched", network, True, told, 70, 0.5, True)  # type: ignore[arg-type]


@given(st.integers(0, 9), st.booleans(), st.none() | st.permutations(range(6)))
def test_an_answer_comes_over_as_it_was(number: int, final: bool, guide: list[int] | None) -> None:
    shown = None if guide is None else np.array(guide)
    given_answer = replace(answer(), number=number, final=final, guide=shown)
    got = Answer.from_frame(sent(given_answer.frame()))
    for name, array in got.network._asdict().items():
        np.testing.assert_array_equal(array, getattr(given_answer.network, name))
    assert (got.foretold, got.arm) == (given_answer.foretold, given_answer.arm)
    assert (got.evaluations, got.seconds) == (given_answer.evaluations, given_answer.seconds)
    assert (got.number, got.may_hold, got.final) == (number, True, final)
    assert (None if got.guide is None else got.guide.tolist()) == guide


@pytest.mark.parametrize(
    ("fields", "arrays", "message"),
    [
        ({"arm": "magic"}, {}, "the arm is 'magic'"),
        ({"foretold": {"stock": ["a", 1]}}, {}, "was foretold"),
        ({"foretold": {"magic": [1.0, 1]}}, {}, "the arm is 'magic'"),
        ({}, {"skip": np.full(5, np.nan, np.float32)}, "no network"),
        ({}, {"other": np.zeros(5, np.float32)}, "no network"),
        ({}, {"guide": np.array([0, 2])}, "a guide of 2 tasks"),
        ({}, {"guide": np.array([1, 1])}, "a guide of 2 tasks"),
        ({}, {"guide": np.array([[0, 1]])}, "a guide of 2 tasks"),
        ({}, {"guide": np.array([0.0])}, "array 'guide' is of type <f8"),
    ],
)
def test_an_answer_that_nothing_should_be_decided_by_is_refused(
    fields: dict[str, Any], arrays: dict[str, Any], message: str
) -> None:
    frame = answer().frame()
    with pytest.raises(FrameError, match=message):
        Answer.from_frame(Frame(frame.kind, {**frame.fields, **fields}, {**frame.arrays, **arrays}))
