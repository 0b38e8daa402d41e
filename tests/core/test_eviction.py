"""Eviction rules by hand, and what the controller makes of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from core.driver import VirtualDask
from core.graphs import gemm
from core.planners.contract import RecordingPlanner
from dask_mlsched.core.eviction import RULES, Belady, Luf, NextUse, Pressure, make, next_reader
from dask_mlsched.core.policies import Greedy
from dask_mlsched.core.residency import Residency


def holding(**nbytes: int) -> VirtualDask:
    """Put arrays on worker 0, which has room for 100 bytes, in this order."""
    dask = VirtualDask(Greedy(), lookahead=0, validate=False)
    dask.join(0, limit=100)
    for key, size in nbytes.items():
        dask.scatter(key, size, [0])
    return dask


def pressure(dask: VirtualDask, *pinned: str, planner: object = None) -> Pressure:
    controller = dask.controller
    numbers = {dask.number(key) for key in pinned}
    residency = controller.devices[0].residency
    return Pressure(0, residency, controller.graph, numbers, 10, planner)


def named(dask: VirtualDask, victim: int | None) -> str | None:
    return None if victim is None else dask.key(victim)


def test_lru_leaves_all_to_the_store():
    dask = holding(a=50, b=50)
    assert make("lru").victim(pressure(dask)) is None


class Counts:
    """Has planned as many readers as a test says."""

    def __init__(self, dask: VirtualDask, **users: int) -> None:
        self._users = {dask.number(key): count for key, count in users.items()}

    def planned_users(self, worker: int, array: int) -> int:
        return self._users[array]


@pytest.mark.parametrize(
    ("users", "pinned", "expected"),
    [
        # The first that nobody reads, and not the first of all.
        ({"a": 2, "b": 0, "c": 0}, (), "b"),
        # Else the one that the fewest read, the first of equals.
        ({"a": 2, "b": 1, "c": 1}, (), "b"),
        ({"a": 2, "b": 0, "c": 3}, ("b",), "a"),
        # What tasks that were given out read is not named.
        ({"a": 0, "b": 0, "c": 0}, ("a", "b", "c"), None),
    ],
)
def test_luf_names_what_the_fewest_planned_tasks_read(
    users: dict[str, int], pinned: tuple[str, ...], expected: str | None
):
    dask = holding(a=30, b=30, c=30)
    at = pressure(dask, *pinned, planner=Counts(dask, **users))
    assert named(dask, Luf().victim(at)) == expected


def test_luf_counts_parked_tasks_where_no_planner_counts():
    dask = holding(a=30, b=30, c=30)
    dask.submit("a -> p\na -> q\nb -> r\nc -> s\nc -> t")
    assert named(dask, Luf().victim(pressure(dask))) == "b"


def test_nearness_is_1_for_what_is_ready_and_falls_with_what_is_waited_for():
    dask = holding(now=10, soon=10, later=10, never=10)
    dask.submit("w\nv\nnow -> p\nw soon -> q\nw v later -> r")
    graph = dask.controller.graph
    near = {key: next_reader(graph, dask.number(key))[0] for key in ("now", "soon", "later")}
    assert near == {"now": 1.0, "soon": 1 / 2, "later": 1 / 3}
    assert next_reader(graph, dask.number("never"))[0] == 0.0


def test_next_use_names_the_fewest_bytes_times_nearness():
    # now: 10 * 1 = 10; soon: 18 * 1/2 = 9; later: 30 * 1/3 = 10. Later is the larger and the
    # further one, but it costs more to bring back.
    dask = holding(now=10, soon=18, later=30)
    dask.submit("w\nv\nnow -> p\nw soon -> q\nw v later -> r")
    assert named(dask, NextUse().victim(pressure(dask))) == "soon"


def test_of_uses_that_are_as_near_the_later_by_dasks_order_is_named():
    # A chain reads one array after the other: each of its tasks waits for one other.
    dask = holding(a=30, b=30, c=30)
    dask.submit("x\nx a -> p\np b -> q\nq c -> r")
    assert named(dask, NextUse().victim(pressure(dask))) == "c"
    assert named(dask, NextUse().victim(pressure(dask, "c"))) == "b"


def test_of_the_readers_of_one_array_the_nearest_and_then_the_first_counts():
    dask = holding(a=30, b=30)
    dask.submit("x\nx b -> first\nx a -> second\nx b -> third")
    # Both are as near, and b's first reader comes before a's.
    assert named(dask, NextUse().victim(pressure(dask))) == "a"


def test_what_a_task_in_flight_reads_is_in_use_now():
    dask = holding(a=30, b=30)
    dask.submit("a -> p\nb -> q")
    dask.start("q", 0)
    graph = dask.controller.graph
    assert next_reader(graph, dask.number("b")) > next_reader(graph, dask.number("a"))


def test_next_use_takes_what_nobody_will_read_first():
    dask = holding(now=1, never=90)
    dask.submit("now -> p")
    assert named(dask, NextUse().victim(pressure(dask))) == "never"


@pytest.mark.parametrize(("clean_is_free", "expected"), [(False, "b"), (True, "a")])
def test_next_use_counts_the_copy_of_what_is_not_clean_where_clean_arrays_go_for_free(
    clean_is_free: bool, expected: str
):
    # Both are read by parked tasks: bringing them back costs 50 and 30 bytes. Where a store keeps
    # the copy that a has below, only b costs its bytes on the way out, too.
    dask = holding(a=50, b=30)
    dask.submit("a -> p\nb -> q")
    at = with_clean(dask, {"a": 50, "b": 30}, "a")
    assert named(dask, NextUse(clean_is_free=clean_is_free).victim(at)) == expected


def with_clean(dask: VirtualDask, nbytes: Mapping[str, int], *clean: str) -> Pressure:
    """Return a device on which there are arrays, some of them for the second time."""
    residency = Residency(1_000)
    for key, size in nbytes.items():
        residency.touch(dask.number(key), size)
        if key in clean:
            residency.evict(dask.number(key))
            residency.touch(dask.number(key), size)
    return Pressure(0, residency, dask.controller.graph, set(), 10)


@pytest.mark.parametrize(("clean_is_free", "expected"), [(False, "small"), (True, "large")])
def test_next_use_counts_by_the_byte_where_clean_arrays_go_for_free(
    clean_is_free: bool, expected: str
):
    # Both are read by parked tasks, large by the later one: two small ones would have to go.
    dask = holding(large=60, small=30)
    dask.submit("small -> p\nlarge -> q")
    at = with_clean(dask, {"small": 30, "large": 60}, "small", "large")
    assert named(dask, NextUse(clean_is_free=clean_is_free).victim(at)) == expected


def test_a_result_goes_before_a_clean_array_that_is_read_again_soon():
    # It costs a copy, but that it costs later, too; and it frees its place for good.
    dask = holding(clean=30, result=30)
    dask.submit("clean -> p")
    at = with_clean(dask, {"clean": 30, "result": 30}, "clean")
    assert named(dask, NextUse(clean_is_free=True).victim(at)) == "result"


def test_a_clean_array_goes_before_a_dirty_one_that_is_read_again_later():
    dask = holding(clean=30, dirty=30)
    dask.submit("w\nv\nclean -> p\nw v dirty -> q")
    at = with_clean(dask, {"clean": 30, "dirty": 30}, "clean")
    assert named(dask, NextUse(clean_is_free=True).victim(at)) == "clean"


def test_belady_names_the_furthest_use_and_first_what_is_never_used():
    dask = holding(a=30, b=30, c=30)
    dask.submit("a -> p\nb -> q\nc -> r\na -> s")
    place = {dask.number(key): float(i) for i, key in enumerate(["p", "q", "s", "r"])}
    assert named(dask, Belady(place).victim(pressure(dask))) == "c"
    assert named(dask, Belady(place).victim(pressure(dask, "c"))) == "b"
    del place[dask.number("p")], place[dask.number("s")]
    assert named(dask, Belady(place).victim(pressure(dask))) == "a"


def test_belady_does_not_count_uses_that_are_over():
    dask = holding(a=30, b=30)
    dask.submit("a -> p:0\nb -> q:0\na -> r:0", wanted=["p", "q", "r"])
    place = {dask.number(key): float(i) for i, key in enumerate(["p", "q", "r"])}
    dask.start("p", 0)
    assert named(dask, Belady(place).victim(pressure(dask, "p"))) == "a"


def test_belady_leaves_all_to_the_store_while_a_failed_planner_is_gone():
    dask = holding(a=50, b=50)
    assert Belady().victim(pressure(dask)) is None


def test_belady_without_an_order_is_an_error_that_names_the_cure():
    with pytest.raises(ValueError, match=r"'belady' needs the order .* 'greedy' does not know"):
        make("belady", Greedy())


def test_other_names_are_an_error_that_lists_the_right_ones():
    with pytest.raises(ValueError, match="unknown eviction rule 'mru'; expected one of lru, luf"):
        make("mru")


# The controller


def test_victims_make_just_enough_room_and_travel_with_the_run():
    # 95 of 100 bytes are resident. p needs x (30): 25 more must go. Nobody reads b and c, but b
    # alone is not enough.
    dask = VirtualDask(Greedy(), lookahead=0, eviction="luf")
    dask.join(0, limit=100)
    for key, nbytes in {"x": 30, "a": 40, "b": 15, "c": 20, "d": 20}.items():
        dask.scatter(key, nbytes, [0])
    dask.submit("x -> p:0\na -> q:0\nd -> s:0")
    dask.submit("x -> first:0", priority=1)
    dask.decide()
    (run,) = dask.runs
    assert [dask.key(array) for array in run.evict] == ["b", "c"]
    resident = [dask.key(array) for array in dask.controller.devices[0].residency]
    assert resident == ["a", "d", "x", "first"]


def test_what_tasks_in_flight_read_and_make_stays():
    dask = VirtualDask(Greedy(), lookahead=1, eviction="luf")
    dask.join(0, limit=100)
    for key in ("x", "y", "z"):
        dask.scatter(key, 40, [0])
    dask.submit("y -> p:0\nx -> q:0")
    dask.decide()
    # With p in flight, q brings in x: z goes, which nobody reads, though y is the older one.
    assert [[dask.key(a) for a in run.evict] for run in dask.runs] == [[], ["z"]]


def test_nothing_is_named_where_there_is_room_or_no_limit():
    for limit in (None, 1000):
        dask = VirtualDask(Greedy(), eviction="next-use")
        dask.join(0, limit=limit)
        dask.submit(gemm(3))
        dask.run()
        assert not any(run.evict for run in dask.runs)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "belady"])
def test_under_every_rule_the_named_are_resident_and_not_in_use(rule: str):
    rng = random.Random(0)
    dask = VirtualDask(Greedy(), eviction=rule, hold_limit=1.0)
    dask.join(0, threads=2, limit=60)
    dask.join(1, limit=60)
    dask.submit(gemm(4), seconds={f"c-{i}-{j}-0": rng.random() for i in range(4) for j in range(4)})
    original = dask.controller._make_room

    def checked(task: int, worker: int) -> tuple[int, ...]:
        device, graph = dask.controller.devices[worker], dask.controller.graph
        resident = set(device.residency)
        used = {a for t in device.in_flight for a in (t, *graph.dependencies[t])}
        evicted = original(task, worker)
        assert resident.issuperset(evicted)
        assert used.isdisjoint(evicted)
        return evicted

    dask.controller._make_room = checked  # type: ignore[method-assign]
    dask.run()
    assert any(run.evict for run in dask.runs) == (rule != "lru")


class RaisesWhenAsked(RecordingPlanner):
    name = "raises when asked"

    def planned_users(self, worker: int, array: int) -> Any:
        raise ZeroDivisionError


def test_a_planner_that_cannot_say_what_is_planned_has_failed_and_the_store_decides():
    planner = RaisesWhenAsked(lambda _: [2])
    dask = VirtualDask(planner, eviction="luf")
    dask.join(0, limit=100)
    dask.scatter("x", 60, [0])
    dask.scatter("y", 60, [0])
    dask.submit("x -> p")
    dask.decide()
    guard = dask.controller.chooser.guard
    assert guard is not None
    assert guard.failures == 1
    assert "ZeroDivisionError" in str(guard.last_failure)
    assert dask.runs[0].evict == ()


def test_what_leaves_no_room_is_not_named():
    dask = holding(nothing=0, a=50)
    assert named(dask, Luf().victim(pressure(dask))) == "a"
    assert named(dask, NextUse().victim(pressure(dask))) == "a"
