"""Simulated runs: times and bytes worked out by hand, and what holds for every run."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import schedules
from dask_mlsched.core import policies, simulator
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import CopyCost, Costs
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.machine import Machine, SimulationError
from dask_mlsched.core.simulator import SimulatedRun, simulate

#: 10 bytes take a second.
SLOW = CopyCost(bandwidth=10.0)
COSTS = Costs(load=SLOW, evict=SLOW, send=SLOW)


def dag(text: str, nbytes: int = 10, seconds: float = 1.0, given: Iterable[str] = ()) -> Dag:
    """Build a DAG from lines such as `a b -> c`."""
    reads: dict[str, list[str]] = {}
    for line in text.splitlines():
        left, _, right = (part.strip() for part in line.partition("->"))
        for key in left.split():
            reads.setdefault(key, [])
        for key in right.split():
            reads.setdefault(key, []).extend(left.split())
    tasks = [
        DagTask(key, inputs, nbytes, 0.0 if key in given else seconds, key[0], given=key in given)
        for key, inputs in reads.items()
    ]
    return Dag.build("drawn", tasks)


def run(
    graph: Dag,
    limit: int | None,
    policy: str | None = None,
    *,
    lookahead: int = 0,
    **machine: object,
) -> SimulatedRun:
    """Simulate and check."""
    on = Machine(limit=limit, **{"costs": COSTS, **machine})  # type: ignore[arg-type]
    chosen = None if policy in (None, "stock") else policies.make(policy, random.Random(0))
    result = simulate(
        graph,
        on,
        chosen,
        order=np.arange(len(graph)),
        settings=Settings(lookahead=lookahead, bandwidth=10.0, network_bandwidth=10.0),
        stock=policy == "stock",
    )
    schedules.check(graph, on, result)
    return result


def keys(graph: Dag, result: SimulatedRun) -> str:
    return " ".join(graph.keys[record.task] for record in result.schedule)


# By hand


def test_without_limit_nothing_moves_and_only_computing_takes_time():
    result = run(dag("a b -> c"), None)
    assert (result.makespan, result.bytes_loaded, result.bytes_evicted) == (3.0, 0, 0)


def test_what_does_not_fit_is_evicted_and_loaded_again():
    # Room for two: making c pushes a out (1 s), making d then b (1 s); e reads both again.
    graph = dag("a\nb\nc\na b -> e")
    result = run(graph, 30)
    # a b c fill the device. e reads a and b, and its output pushes c out.
    assert (result.makespan, result.bytes_loaded, result.bytes_evicted) == (5.0, 0, 10)
    tight = dag("a\nb\nc\nd\na -> e\nb -> f")
    result = run(tight, 20)
    # c pushes a out, d pushes b out (2 s). e loads a, which pushes c out, and its output pushes d
    # out; a goes. f loads b (there is room for it now), and its output pushes e out.
    assert (result.bytes_loaded, result.bytes_evicted) == (20, 50)
    assert result.makespan == pytest.approx(6 + 7)


def test_an_array_that_nobody_reads_any_more_leaves_free():
    result = run(dag("a -> b\nb -> c\nc -> d"), 20)
    assert (result.makespan, result.bytes_loaded, result.bytes_evicted) == (4.0, 0, 0)


def test_given_arrays_are_loaded_when_they_are_first_read():
    graph = dag("a b -> c", given=("a", "b"))
    result = run(graph, 30)
    assert (result.makespan, result.bytes_loaded, result.bytes_evicted) == (3.0, 20, 0)


def test_clean_arrays_leave_free_where_they_keep_their_copy():
    graph = dag("a -> x\nb -> y\na -> z", given=("a", "b"))
    with_copy = run(graph, 20, keep_clean=True)
    without = run(graph, 20)
    assert with_copy.bytes_loaded == without.bytes_loaded
    assert with_copy.bytes_evicted < without.bytes_evicted


def test_with_overlap_the_next_inputs_come_in_while_a_task_computes():
    graph = dag("a -> x\nb -> y\nc -> z", given=("a", "b", "c"))
    blocking = run(graph, 60, lookahead=1)
    overlapping = run(graph, 60, lookahead=1, overlap=True)
    # Blocking: three loads and three tasks, one after the other. Overlapping: only the first
    # load is waited for.
    assert (blocking.makespan, overlapping.makespan) == (6.0, 4.0)
    assert overlapping.bytes_loaded == blocking.bytes_loaded


def test_loading_ahead_waits_where_there_is_no_room_beside_what_computes():
    graph = dag("a b -> x\nc d -> y", given=("a", "b", "c", "d"))
    assert run(graph, 40, lookahead=1, overlap=True).makespan == 2 + 2 + 1
    # c and d have no room beside a and b, so they are loaded after x.
    assert run(graph, 39, lookahead=1, overlap=True).makespan == 3 + 3


def test_loads_for_the_task_after_the_next_follow_without_a_gap():
    graph = dag("a -> x\nb -> y\nc -> z", given=("a", "b", "c"))
    graph = replace(graph, seconds=graph.seconds * np.array([0, 1.5, 0, 0.5, 0, 1]))
    # x computes from 1 to 2.5, y to 3; b is there at 2 and c at 3, if it was asked for at 1.
    assert graph.keys == ("a", "x", "b", "y", "c", "z")
    assert run(graph, 60, lookahead=2, overlap=True).makespan == 4.0
    # With one task ahead, c is asked for when y begins, at 2.5.
    assert run(graph, 60, lookahead=1, overlap=True).makespan == 4.5


def test_with_overlap_the_message_that_a_task_ended_does_not_wait_for_loads_of_later_ones():
    # b is loaded for y from 0.25 to 10.25, while x, v and w compute: the message that x has ended
    # leaves when v has begun, at 1.25, and so w is here at 1.75, before v ends.
    costs = Costs(SLOW, SLOW, SLOW, message=0.25)
    graph = dag("x -> w\nv\nb -> y", given=("b",))
    graph = replace(graph, nbytes=np.where(np.array(graph.keys) == "b", 100, graph.nbytes))
    result = run(graph, 200, lookahead=2, overlap=True, costs=costs)
    assert keys(graph, result) == "x v w y"
    starts = [record.start for record in result.schedule]
    assert starts == [0.25, 1.25, 2.25, 3.25]
    assert result.makespan == 0.25 + 10 + 1


def test_with_overlap_what_an_output_pushes_out_delays_later_loads_alone():
    # Two fit. c pushes a out, from 3 to 4, while d computes. For e, which is there at 3, a comes in
    # again from 4 to 5, and b goes out for it until 6; what d pushes out goes after that.
    result = run(dag("a\nb\nc\nd\na -> e"), 20, lookahead=1, overlap=True)
    assert [record.end for record in result.schedule] == [1.0, 2.0, 3.0, 4.0, 7.0]
    assert (result.bytes_loaded, result.bytes_evicted) == (10, 40)


def test_messages_and_decisions_take_time_unless_the_next_task_is_there_already():
    graph = dag("a\nb\nc")
    slow = Costs(load=SLOW, evict=SLOW, send=SLOW, message=1.0, decision=0.5)
    # Each task: half a second to decide, one there, one to compute, one back.
    assert run(graph, None, costs=slow).makespan == pytest.approx(3 * 3.5 - 1.0)
    # With one more task on the worker, only the first waits.
    assert run(graph, None, lookahead=2, costs=slow).makespan == pytest.approx(0.5 + 1 + 3)


def test_an_event_loop_takes_time_for_each_task_and_sends_no_message_meanwhile():
    # a is there at 0.5 s, computes from 0.75 and ends at 1.25. b begins at once, so the message
    # leaves at 1.5; c is sent at 2 and there at 2.5, half a second after the end of b.
    costs = Costs(message=0.5, task=0.25)
    graph = dag("a\nb\na -> c", seconds=0.5)
    result = run(graph, None, lookahead=1, costs=costs)
    assert [record.start for record in result.schedule] == [0.5, 1.25, 2.5]
    assert result.makespan == 3.25


def test_what_is_dead_is_there_until_a_message_says_so():
    # d begins when b ends, and is done before the worker hears that a is dead. Without messages
    # there is room for b, c and d.
    graph = dag("a -> b\nc\nd")
    assert run(graph, 30, lookahead=1).bytes_evicted == 0
    result = simulate(
        graph,
        Machine(limit=30, costs=Costs(SLOW, SLOW, SLOW, message=0.6)),
        None,
        order=np.arange(4),
        settings=Settings(lookahead=1),
    )
    assert keys(graph, result) == "a c b d"
    assert [[graph.keys[each] for each in record.evicted] for record in result.schedule] == [
        *([], [], [], ["c"]),
    ]


def test_an_input_on_another_worker_is_sent():
    graph = dag("a\nb\na b -> c")
    result = run(graph, None, workers=2)
    assert result.bytes_sent == 10
    assert result.makespan == 1 + 1 + 1


def test_workers_compute_side_by_side():
    assert run(dag("a\nb\nc\nd"), None, workers=2).makespan == 2.0
    assert run(dag("a\nb\nc\nd"), None, threads=4).makespan == 1.0


def test_loads_of_two_threads_do_not_overlap():
    graph = dag("a -> x\nb -> y", given=("a", "b"))
    # The event loop loads one after the other; the second task begins a second later.
    assert run(graph, None, threads=2).makespan == 3.0


def test_noise_depends_on_the_seed_alone():
    graph = dag("a\nb\nc")
    noisy = Machine(limit=None, costs=Costs(noise=0.5))

    def makespan(seed: int) -> float:
        return simulate(
            graph, noisy, None, order=np.arange(3), rng=np.random.default_rng(seed)
        ).makespan

    assert makespan(1) == makespan(1) != makespan(2)


def test_lognormal_noise_leaves_the_median_alone():
    graph = dag("\n".join(f"a{i}" for i in range(2_001)))
    noisy = Machine(limit=None, costs=Costs(noise=0.5))
    rng = np.random.default_rng(0)
    result = simulate(graph, noisy, None, order=np.arange(len(graph)), rng=rng)
    seconds = [record.end - record.start for record in result.schedule]
    assert np.median(seconds) == pytest.approx(1.0, rel=0.05)
    assert np.std(np.log(seconds)) == pytest.approx(0.5, rel=0.05)


# What cannot be


def test_a_task_larger_than_the_device_is_named():
    with pytest.raises(SimulationError) as error:
        run(dag("a b -> c"), 29)
    assert str(error.value) == (
        "task 'c' needs 30 bytes for its inputs and output, and the device memory is 29 bytes; "
        "give at least 30 bytes"
    )


def test_a_slow_tier_that_overflows_is_an_error():
    graph = dag("a\nb\nc\nd\na b c d -> e", nbytes=10)
    run(graph, 50, slow_limit=1)
    with pytest.raises(SimulationError, match=r"worker 0 holds 20 bytes in its slow tier at"):
        run(dag("a\nb\nc\nd"), 20, slow_limit=10)


@pytest.mark.parametrize("part", ["limit", "slow_limit", "workers", "threads"])
def test_a_machine_of_nothing_is_an_error(part: str):
    with pytest.raises(SimulationError, match=f"{part} is 0; expected at least 1"):
        Machine(**{"limit": 1, part: 0})  # type: ignore[arg-type]


# Every run


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    count = draw(st.integers(1, 25))
    tasks = []
    for i in range(count):
        inputs = draw(st.lists(st.integers(1, 6), max_size=3, unique=True))
        sources = [f"t{i - back}" for back in inputs if back <= i]
        given_ = not sources and draw(st.booleans())
        tasks.append(
            DagTask(
                f"t{i}",
                sources,
                draw(st.integers(0, 10)),
                0.0 if given_ else draw(st.integers(0, 3)) / 2,
                f"p{i % 3}",
                wanted=draw(st.sampled_from([None, None, True])),
                given=given_,
            )
        )
    return Dag.build("random", tasks)


@given(
    graph=dags(),
    name=st.sampled_from(["stock", *policies.NAMES]),
    eviction=st.sampled_from(["lru"]),
    room=st.integers(0, 40),
    lookahead=st.integers(0, 2),
    workers=st.integers(1, 3),
    threads=st.integers(1, 2),
    keep_clean=st.booleans(),
    overlap=st.booleans(),
    times=st.sampled_from([(0.0, 0.0), (0.25, 0.125)]),
    seed=st.integers(0, 3),
)
@settings(deadline=None, max_examples=150)
def test_every_schedule_is_one_that_a_cluster_could_have_run(
    graph: Dag,
    name: str,
    eviction: str,
    room: int,
    lookahead: int,
    workers: int,
    threads: int,
    keep_clean: bool,
    overlap: bool,
    times: tuple[float, float],
    seed: int,
):
    # Room for any task and a little more.
    limit = 40 + room
    machine = Machine(
        limit=limit,
        workers=workers,
        threads=threads,
        costs=Costs(SLOW, SLOW, SLOW, *times, noise=0.1),
        keep_clean=keep_clean,
        overlap=overlap,
    )

    def once() -> SimulatedRun:
        return simulate(
            graph,
            machine,
            None if name == "stock" else policies.make(name, random.Random(seed)),
            order=np.arange(len(graph)),
            settings=Settings(lookahead=lookahead, bandwidth=10.0),
            stock=name == "stock",
            rng=np.random.default_rng(seed),
        )

    with patch.object(simulator, "SimulatedWorker", schedules.CheckedWorker):
        result = once()
    if not times[0]:
        schedules.check(graph, machine, result)
    else:
        # Until the message to let go of it arrives, a worker keeps what nobody needs any more.
        schedules.check_order(graph, machine, result.schedule)
    assert once() == result
