"""What can be asked of a trace."""

from __future__ import annotations

import numpy as np
import pytest

from core.networks import random_network
from dask_mlsched.core import events as ev
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.policies import Candidate, Situation
from dask_mlsched.core.served import Served
from dask_mlsched.core.trace import (
    Copy,
    Decision,
    Fetch,
    Header,
    Names,
    NetworkServed,
    PolicySwitched,
    Step,
    Trace,
    TraceError,
)

HEADER = Header("1.2.3", 0.0, "greedy", "manage", Settings())
SITUATION = Situation(1.0, 0, None, 0, (Candidate(1, (0,), 0, 0, 0, root=True),), None)
DECISIONS = tuple(Decision(SITUATION, i, 1.0, 1e-5) for i in range(3))
RUN = ev.Run(1.0, 1, 0, "policy", 0, 1, 0, 0.0)
HOLD = ev.Hold(2.0, 0, 3.0, 1.0)
MOVED = ev.ArraysMoved(
    *(3.0, 7, ((1, True),), 30, 0.3),
    copies=((1, True, 10, 0.1), (-1, False, 20, 0.2)),
    fetches=((8, 0.5, ((2, 40), (-1, 2))), (-1, 0.25, ((3, 7),))),
)
TRACE = Trace(
    HEADER,
    (
        Names(workers=((0, "tcp://x"),)),
        Step(ev.Decide(1.0), (RUN,), DECISIONS[:2], (1, 2)),
        PolicySwitched("fifo"),
        Step(ev.Decide(2.0), (HOLD,), DECISIONS[2:], (3, 4)),
        Step(MOVED),
    ),
)


def test_events_instructions_and_decisions_come_in_order():
    assert list(TRACE.events()) == [ev.Decide(1.0), ev.Decide(2.0), MOVED]
    assert TRACE.instructions() == [RUN, HOLD]
    assert list(TRACE.decisions()) == list(DECISIONS)
    assert [step.readings for step in TRACE.steps()] == [(1, 2), (3, 4), ()]


def test_single_copies_have_their_worker_and_time():
    assert list(TRACE.copies()) == [
        Copy(3.0, 7, 1, True, 10, 0.1),
        Copy(3.0, 7, -1, False, 20, 0.2),
    ]


def test_fetches_have_their_worker_time_and_arrays():
    assert list(TRACE.fetches()) == [
        Fetch(3.0, 7, 8, ((2, 40), (-1, 2)), 0.5),
        Fetch(3.0, 7, -1, ((3, 7),), 0.25),
    ]
    assert [fetch.nbytes for fetch in TRACE.fetches()] == [42, 7]


def test_a_trace_is_complete_if_it_was_neither_truncated_nor_cut():
    assert Trace(HEADER, ()).complete
    assert not Trace(HEADER, (), truncated="full").complete
    assert not Trace(HEADER, (), problem="cut").complete


def test_the_graph_is_put_together_from_names_and_events():
    spec = ev.TaskSpec(4, (), (0, 0, 0), 2)
    entries = (
        Names(tasks=((4, "x"),), prefixes=((2, "load"),)),
        Step(ev.GraphArrived(0.0, (spec,))),
        Step(ev.WorkerJoined(0.0, 0, 1, None)),
        Step(ev.TaskStarted(1.0, 4, 0)),
        Step(ev.TaskFinished(2.0, 4, 80, 0.5)),
    )
    dag = Trace(HEADER, entries).dag()
    assert (dag.name, dag.keys, dag.prefixes) == ("trace", ("x",), ("load",))
    assert (dag.nbytes.tolist(), dag.seconds.tolist()) == ([80], [0.5])
    assert Trace(HEADER, entries).dag("mine").name == "mine"


@pytest.mark.parametrize("hidden", [(0, 0), (3, 2)])
def test_a_network_comes_back_bit_for_bit(hidden: tuple[int, int]):
    network = random_network(np.random.default_rng(0), 5, hidden)
    again = NetworkServed.of(Served(network, may_hold=True)).served
    assert (again.may_hold, again.guide) == (True, None)
    for before, after in zip(network, again.network, strict=True):
        assert before.dtype == after.dtype == np.float32
        np.testing.assert_array_equal(before, after)


def test_the_order_that_a_network_is_shown_comes_back():
    served = Served(random_network(np.random.default_rng(0), 5), False, {7: 1, 3: 0, 9: 2})
    told = NetworkServed.of(served)
    assert told.guide == (3, 7, 9)
    assert (told.served.may_hold, told.served.guide) == (False, {3: 0, 7: 1, 9: 2})


@pytest.mark.parametrize(
    "arrays",
    [
        (),
        (((1,), "AAAA"),) * 9,
        (((1,), "?"),) * 9,
        (((2,), "AACAPw=="),) * 9,
        tuple((a.shape, "AACAfw==" * a.size) for a in random_network(np.random.default_rng(0), 1)),
    ],
)
def test_what_is_no_network_is_one_clear_error(arrays: tuple[tuple[tuple[int, ...], str], ...]):
    with pytest.raises(TraceError, match="a network of the trace cannot be used") as caught:
        _ = NetworkServed(arrays, True, ()).served
    assert "\n" not in str(caught.value)
