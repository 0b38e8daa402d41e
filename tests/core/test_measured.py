"""The graph of a run, with what was measured."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.driver import VirtualDask
from core.graphs import random_graph
from core.recorded import RecordedDask
from dask_mlsched.core import events as ev
from dask_mlsched.core.dag import Dag
from dask_mlsched.core.measured import MeasuredGraph
from dask_mlsched.core.policies import Greedy


def recorded(graph: Any = None, **submitted: Any) -> RecordedDask:
    dask = RecordedDask(Greedy())
    dask.join(0, limit=None)
    if graph is not None:
        dask.submit(graph, **submitted)
    return dask


def figures(dag: Dag) -> dict[str, tuple[int, float]]:
    """List key -> bytes, seconds."""
    rows = zip(dag.keys, dag.nbytes.tolist(), dag.seconds.tolist(), strict=True)
    return {key: (nbytes, seconds) for key, nbytes, seconds in rows}


def inputs(dag: Dag) -> dict[str, list[str]]:
    return {
        key: [dag.keys[dep] for dep in dag.dependencies(task)] for task, key in enumerate(dag.keys)
    }


@given(seed=st.integers(0, 1000), tasks=st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_a_finished_run_gives_its_graph_back(seed: int, tasks: int):
    drawn = random_graph(random.Random(seed), tasks)
    seconds = {key: i / 8 for i, key in enumerate(drawn.dependencies)}
    dask = recorded(drawn, seconds=seconds)
    dask.run()
    dag = dask.trace().dag()
    assert figures(dag) == {key: (drawn.nbytes[key], seconds[key]) for key in drawn.dependencies}
    assert {k: set(d) for k, d in inputs(dag).items()} == {
        key: set(deps) for key, deps in drawn.dependencies.items()
    }
    assert dag.prefixes == ("r",)
    assert not dag.given.any()


def test_tasks_stand_in_dasks_order():
    dask = recorded("c\nb\na", one_by_one=False)
    dask.submit("urgent", priority=1)
    dask.run()
    assert dask.trace().dag().keys == ("urgent", "c", "b", "a")


def half_done() -> RecordedDask:
    """Finish one of two leaves; `top` waits, and so does what reads nothing measured."""
    dask = recorded("p-0:30 p-1:50 -> top -> last", seconds=0.5)
    dask.decide()
    dask.advance(0.5)
    return dask


def test_what_never_made_its_array_is_left_out():
    dag = half_done().trace().dag()
    assert figures(dag) == {"p-0": (30, 0.5)}
    assert dag.wanted.all()


def test_what_never_made_its_array_is_estimated_on_demand():
    dag = half_done().trace().dag(estimate=True)
    assert figures(dag) == dict.fromkeys(("p-0", "p-1", "top", "last"), (30, 0.5))
    assert inputs(dag)["top"] == ["p-0", "p-1"]
    assert dag.wanted.tolist() == [False, False, False, True]


def test_estimates_are_means_of_the_prefix_and_else_of_all():
    graph = MeasuredGraph()
    graph.named([(i, f"t-{i}") for i in range(5)], [(0, "p"), (1, "q"), (2, "new")])
    prefix = [0, 0, 1, 0, 2]
    specs = tuple(ev.TaskSpec(i, (), (0, 0, i), prefix[i]) for i in range(5))
    graph.handle(ev.GraphArrived(0.0, specs))
    for task, nbytes, seconds in ((0, 10, 1.0), (1, 20, 2.0), (2, 60, 6.0)):
        graph.handle(ev.TaskFinished(1.0, task, nbytes, seconds))
    estimated = figures(graph.dag("x", estimate=True))
    assert estimated["t-3"] == (15, 1.5)
    assert estimated["t-4"] == (30, 3.0)


def test_seconds_are_estimated_by_what_a_task_reads_and_makes():
    graph = MeasuredGraph()
    # Three readers of inputs of 10, 20 and 40 bytes that make 10; a tenth of a second a byte.
    specs = [ev.TaskSpec(i, (), (0, 0, i), 0) for i in range(3)]
    specs += [ev.TaskSpec(3 + i, (i,), (0, 0, 3 + i), 1) for i in range(3)]
    graph.handle(ev.GraphArrived(0.0, tuple(specs)))
    for task, nbytes in enumerate((10, 20, 40)):
        graph.handle(ev.TaskFinished(1.0, task, nbytes, 0.0))
    for task, seconds in ((3, 2.0), (4, 3.0)):
        graph.handle(ev.TaskFinished(2.0, task, 10, seconds))
    assert figures(graph.dag("x", estimate=True))["5"] == (10, 5.0)


def test_what_is_still_there_when_all_readers_have_run_is_wanted():
    dask = recorded("a -> b -> c\na -> d", wanted=["a", "c", "d"])
    dask.run()
    dag = dask.trace().dag()
    assert dict(zip(dag.keys, dag.wanted.tolist(), strict=True)) == {
        **dict.fromkeys("acd", True),
        "b": False,
    }


def test_what_waits_for_a_reader_is_not_wanted_for_that():
    dask = recorded("a -> b\na -> c", wanted=["b", "c"], seconds=1.0)
    dask.decide()
    dask.advance(1.0)
    dag = dask.trace().dag(estimate=True)
    assert not dag.wanted[dag.keys.index("a")]


def test_without_any_measurement_estimates_are_nothing():
    dask = recorded("a -> b")
    assert figures(dask.trace().dag(estimate=True)) == {"a": (0, 0.0), "b": (0, 0.0)}
    assert len(recorded("a -> b").trace().dag()) == 0


def test_what_was_computed_twice_has_its_last_figures():
    dask = recorded("a:10 -> b", wanted=["a", "b"], seconds=1.0)
    dask.run()
    dask.join(1, limit=None)
    dask.tasks["a"].nbytes, dask.tasks["a"].seconds = 12, 3.0
    dask.leave(0)
    dask.run()
    assert figures(dask.trace().dag())["a"] == (12, 3.0)


def test_scattered_data_is_given():
    dask = recorded()
    dask.scatter("data", 40, [0])
    dask.submit("data -> a")
    dask.run()
    dag = dask.trace().dag()
    assert figures(dag) == {"data": (40, 0.0), "a": (10, 1.0)}
    assert dict(zip(dag.keys, dag.given.tolist(), strict=True)) == {"data": True, "a": False}


def test_what_was_there_before_recording_takes_its_prefix_s_time():
    """As in a run that is joined late: the array is there, but what made it is known."""
    dask = recorded()
    dask.scatter("p-0", 40, [0])
    dask.submit("p-0 -> a\np-1:20 -> a", seconds=0.25)
    dask.run()
    dag = dask.trace().dag()
    assert figures(dag)["p-0"] == (40, 0.25)
    assert not dag.given.any()


def test_an_array_that_appeared_but_reads_something_is_computed():
    graph = MeasuredGraph()
    graph.handle(ev.GraphArrived(0.0, (ev.TaskSpec(0, (), (0,)), ev.TaskSpec(1, (0,), (1,), 1))))
    graph.handle(ev.ArrayAppeared(0.0, 0, 5, (0,)))
    graph.handle(ev.ArrayAppeared(0.0, 1, 6, (0,)))
    dag = graph.dag("x", estimate=False)
    # Nobody named them.
    assert dag.keys == ("0", "1")
    assert dag.given.tolist() == [True, False]


def test_as_it_was_run_what_an_earlier_run_left_behind_is_given():
    graph = MeasuredGraph()
    specs = (ev.TaskSpec(0, (), (0,)), ev.TaskSpec(1, (0,), (1,)), ev.TaskSpec(2, (1,), (2,)))
    graph.handle(ev.GraphArrived(0.0, specs))
    graph.handle(ev.ArrayAppeared(0.0, 1, 6, (0,)))
    graph.handle(ev.TaskFinished(1.0, 2, 7, 0.5))
    dag = graph.dag("x", estimate=False, as_run=True)
    # What it was made of is gone, and its own prefix takes time.
    assert figures(dag) == {"1": (6, 0.0), "2": (7, 0.5)}
    assert dag.given.tolist() == [True, False]
    assert inputs(dag) == {"1": [], "2": ["1"]}


def test_as_it_was_run_what_was_lost_and_made_again_is_computed():
    graph = MeasuredGraph()
    graph.handle(ev.GraphArrived(0.0, (ev.TaskSpec(0, (), (0,)),)))
    graph.handle(ev.ArrayAppeared(0.0, 0, 6, (0,)))
    graph.handle(ev.ArrayReleased(1.0, 0))
    graph.handle(ev.TaskFinished(2.0, 0, 6, 0.5))
    assert not graph.dag("x", estimate=False, as_run=True).given.any()


def test_a_number_that_is_used_again_is_another_task():
    dask = recorded("a:5", wanted=["a"])
    dask.run()
    number = dask.number("a")
    dask.cancel("a")
    dask.submit("b:7")
    assert dask.number("b") == number
    dask.run()
    assert figures(dask.trace().dag()) == {"a": (5, 1.0), "b": (7, 1.0)}


def test_a_key_that_comes_again_gets_a_name_of_its_own():
    dask = recorded()
    for nbytes in (5, 6, 7):
        dask.submit(f"a:{nbytes}\nz", wanted=["a"])
        dask.run()
        dask.cancel("a")
    sizes = {key: nbytes for key, (nbytes, _) in figures(dask.trace().dag()).items()}
    assert (sizes["a"], sizes["a (2)"], sizes["a (3)"]) == (5, 6, 7)


def test_a_name_that_looks_like_a_repeated_one_stays_unique():
    graph = MeasuredGraph()
    for number, key in enumerate(["a", "a (2)", "a", "a"]):
        graph.named([(number, key)], [])
        graph.handle(ev.GraphArrived(0.0, (ev.TaskSpec(number, (), (number,)),)))
        graph.handle(ev.TaskFinished(0.0, number, number, 0.0))
    assert graph.dag("x", estimate=False).keys == ("a", "a (2)", "a (3)", "a (4)")


def test_dependencies_that_came_later_count():
    dask = recorded("a b c", wanted=["a", "b", "c"])
    dask.depend("c", ["a"])
    dask.run()
    assert inputs(dask.trace().dag()) == {"a": [], "b": [], "c": ["a"]}


def test_a_dependency_without_figures_came_after_the_task_had_run():
    graph = MeasuredGraph()
    graph.handle(ev.GraphArrived(0.0, (ev.TaskSpec(0, (), (0,)), ev.TaskSpec(1, (), (1,)))))
    graph.handle(ev.TaskFinished(1.0, 1, 8, 0.5))
    graph.handle(ev.DependenciesAdded(2.0, 1, (0,), (5,)))
    assert inputs(graph.dag("x", estimate=False)) == {"1": []}
    assert inputs(graph.dag("x", estimate=True)) == {"0": [], "1": ["0"]}


def test_a_worker_s_clock_that_was_set_back_takes_no_time_away():
    dask = recorded("a", seconds=1.0)
    dask.decide()
    dask.tasks["a"].seconds = -0.5
    dask.finish("a")
    assert figures(dask.trace().dag()) == {"a": (10, 0.0)}


def test_a_plain_controller_can_be_measured_as_well():
    """The graph needs events alone, not a trace."""
    graph = MeasuredGraph()

    class Listening(VirtualDask):
        def handle(self, event: ev.Event) -> list[ev.Instruction]:
            graph.handle(event)
            return super().handle(event)

    dask = Listening(None)
    dask.join(0)
    dask.submit("a -> b")
    dask.run()
    assert len(graph.dag("x", estimate=False)) == 2
