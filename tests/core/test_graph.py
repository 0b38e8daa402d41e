"""The DAG's own bookkeeping."""

from __future__ import annotations

import pytest

from core.consistency import check_graph
from dask_mlsched.core.events import TaskSpec
from dask_mlsched.core.graph import PrefixStatistics, TaskGraph, TaskState


def graph_of(*dependencies: tuple[int, ...], prefix: int = 0) -> TaskGraph:
    """Build a graph in which task i depends on the i-th tuple."""
    graph = TaskGraph()
    for task, deps in enumerate(dependencies):
        graph.add(TaskSpec(task, deps, (0, 0, task), prefix))
    return graph


def test_edges_run_both_ways():
    graph = graph_of((), (), (0, 1))
    assert graph.dependencies[2] == (0, 1)
    assert graph.dependents[0] == graph.dependents[1] == {2}
    check_graph(graph)


def test_unfinished_counts_dependencies_without_an_array():
    graph = graph_of((), (), (0, 1))
    assert graph.unfinished == [0, 0, 2]
    graph.array_made(0, 5)
    assert graph.unfinished[2] == 1
    graph.array_made(1, 5)
    assert graph.unfinished[2] == 0
    graph.array_released(0)
    assert graph.unfinished[2] == 1
    check_graph(graph)


def test_a_task_added_to_arrays_that_exist_counts_only_the_others():
    graph = graph_of((), ())
    graph.array_made(0, 5)
    graph.add(TaskSpec(2, (0, 1), (0, 0, 2)))
    assert graph.unfinished[2] == 1


def test_known_is_false_for_numbers_that_never_were():
    graph = graph_of(())
    assert graph.known(0)
    assert not graph.known(1)
    assert not graph.known(-1)


def test_rows_between_known_numbers_are_unknown():
    graph = TaskGraph()
    graph.add(TaskSpec(3, (), (0, 0, 0)))
    assert [graph.known(task) for task in range(4)] == [False, False, False, True]
    assert len(graph) == 4


def test_adding_a_known_task_is_our_own_error():
    graph = graph_of(())
    with pytest.raises(AssertionError):
        graph.add(TaskSpec(0, (), (0, 0, 0)))


def test_a_forgotten_task_takes_its_edges_along():
    graph = graph_of((), (0,), (0, 1))
    graph.forget(1)
    assert not graph.known(1)
    assert graph.dependencies[2] == (0,)
    assert graph.dependents[0] == {2}
    assert graph.unfinished[2] == 1
    check_graph(graph)


def test_a_forgotten_row_is_used_again():
    graph = graph_of((), (0,), prefix=1)
    graph.array_made(0, 5)
    graph.array_made(1, 7)
    graph.array_released(1)
    graph.forget(1)
    graph.add(TaskSpec(1, (), (0, 0, 9), 2))
    assert len(graph) == 2
    assert graph.state[1] == TaskState.WAITING
    assert graph.dependencies[1] == ()
    assert graph.dependents[0] == set()
    assert graph.priority[1] == (0, 0, 9)
    check_graph(graph)


def test_dependencies_that_are_there_already_are_not_added_twice():
    graph = graph_of((), (), (0,))
    graph.add_dependencies(2, (0, 1), (0, 1, 2))
    assert graph.dependencies[2] == (0, 1)
    assert graph.unfinished[2] == 2
    assert graph.priority[2] == (0, 1, 2)
    check_graph(graph)


def test_ready_tasks_of_one_priority_stand_roots_in_order_after_the_last_that_reads_something():
    graph = graph_of((), (), (), (0,), (1,))
    for task in (2, 0, 4, 1, 3):
        graph.priority[task] = (0, 0, 0)
        graph.take_turn(task)
    assert sorted(range(5), key=graph.order) == [3, 4, 2, 0, 1]


def test_priority_comes_before_the_turn():
    graph = graph_of((), (0,))
    graph.take_turn(0)
    graph.take_turn(1)
    assert graph.order(0) == (0, 0, 0, 1)
    assert graph.order(1) == (0, 0, 1, -2)


def test_repeated_dependencies_count_once():
    graph = graph_of((), (0, 0))
    graph.add_dependencies(1, (0, 0), (0, 0, 1))
    assert graph.dependencies[1] == (0,)
    assert graph.unfinished[1] == 1
    check_graph(graph)


def test_computed_bytes_is_the_sum_over_arrays_that_exist():
    graph = graph_of((), ())
    graph.array_made(0, 5)
    graph.array_made(1, 7)
    graph.array_released(0)
    assert graph.computed_bytes == 7


def test_a_task_whose_array_is_gone_reads_nothing_until_it_is_parked_anew():
    graph = graph_of((), (0,))
    assert [graph.will_read(task) for task in (0, 1)] == [True, True]
    graph.array_made(0, 5)
    graph.array_made(1, 7)
    assert not graph.will_read(1)
    graph.array_released(1)
    assert not graph.will_read(1)
    graph.parked(1)
    assert graph.will_read(1)
    graph.unparked(1)
    assert graph.will_read(1)


def test_a_row_that_is_used_again_has_no_past():
    graph = graph_of((), (0,))
    graph.array_made(0, 5)
    graph.array_made(1, 7)
    graph.array_released(1)
    graph.forget(1)
    graph.add(TaskSpec(1, (0,), (0, 0, 9)))
    assert graph.will_read(1)


def test_released_arrays_have_no_holders():
    graph = graph_of(())
    graph.array_made(0, 5)
    graph.holders[0].add(1)
    graph.array_released(0)
    assert not graph.holders[0]


def test_means_are_ordinary_while_there_are_few():
    statistics = PrefixStatistics()
    for nbytes, seconds in ((10, 1.0), (20, 2.0), (30, 6.0)):
        statistics.add(nbytes, seconds)
    assert statistics.finished == 3
    assert statistics.nbytes == pytest.approx(20)
    assert statistics.seconds == pytest.approx(3)


def test_means_forget_what_was_long_ago():
    statistics = PrefixStatistics()
    for _ in range(1000):
        statistics.add(10, 1.0)
    for _ in range(200):
        statistics.add(1000, 9.0)
    # 1 - 0.98 ** 200 of the way from the old value to the new one.
    assert statistics.nbytes == pytest.approx(1000 - 990 * 0.98**200)


def test_expected_bytes_are_those_of_the_prefix_until_the_array_is_there():
    graph = graph_of((), (), prefix=4)
    assert graph.expected_nbytes(1) == 0
    graph.prefixes[4].add(12, 3.0)
    assert graph.expected_nbytes(1) == 12
    assert graph.expected_seconds(1) == 3.0
    graph.array_made(1, 50)
    assert graph.expected_nbytes(1) == 50


def test_expected_total_is_unknown_before_anything_has_finished():
    assert graph_of(()).expected_total_bytes() is None


def test_expected_total_counts_prefixes_without_a_finished_task_as_the_largest():
    graph = TaskGraph()
    for task, prefix in enumerate((0, 0, 1, 2)):
        graph.add(TaskSpec(task, (), (0, 0, task), prefix))
    for task, nbytes in ((0, 10), (2, 40)):
        graph.prefixes[graph.prefix[task]].add(nbytes, 1.0)
        graph.array_made(task, nbytes)
    # Made: 10 + 40. To come: one of prefix 0, and one of prefix 2, of which nothing is known.
    assert graph.expected_total_bytes() == 10 + 40 + 10 + 40
