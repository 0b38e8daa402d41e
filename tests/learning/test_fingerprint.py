"""The same program has the same fingerprint at any size, in any order; others have another."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dags import a_task, acyclic, build
from dask_mlsched.benchmarks.families.factorizations import cholesky, lu
from dask_mlsched.benchmarks.families.pairs import pairs
from dask_mlsched.benchmarks.families.products import gemm
from dask_mlsched.benchmarks.fingerprint_speed import plain_counts
from dask_mlsched.core.dag import Dag, DagTask
from dask_mlsched.core.topology import CircleError
from dask_mlsched.learning.fingerprint import (
    FINGERPRINT_VERSION,
    LABELS_KEPT,
    ROUNDS,
    Fingerprint,
    Fingerprinter,
    NewTask,
    fingerprint,
    merged,
    similarity,
    structural_similarity,
)
from dask_mlsched.learning.fingerprint_labels import canonical, prefix_label

# Two data, of which one is given, two tasks that read them, and one that reads these.
#
#     x0  x1 (given)
#      \ /  \
#      add   neg
#        \  /
#        sum-1
TINY = build(
    a_task("a", prefix="x0"),
    a_task("b", prefix="x1", seconds=0.0, given=True),
    a_task("c", "a", "b", prefix="add"),
    a_task("d", "b", prefix="neg"),
    a_task("e", "c", "d", prefix="sum-1"),
)


def new(tasks: Iterable[DagTask]) -> list[NewTask]:
    return [(task.key, task.prefix, task.dependencies, task.given) for task in tasks]


def added(*batches: Iterable[DagTask]) -> Fingerprint:
    fingerprinter = Fingerprinter()
    for batch in batches:
        fingerprinter.add(new(batch))
    return fingerprinter.fingerprint


def product(tiles: int) -> Dag:
    return gemm(tiles=tiles, size=64)


def test_a_tiny_graph_is_counted_by_hand():
    found = fingerprint(TINY)
    assert (found.tasks, found.edges, found.depth, found.width) == (4, 5, 3, 2)
    assert found.width_over_depth == 2 / 3
    # x0, add, neg and sum-1; from round 1 on, without x0.
    assert [len(each) for each in found.rounds] == [4, 3, 3, 3]
    assert {weight for _, weight in found.rounds[0]} == {0.5}
    # Two read two, one reads one, one none. Of those that read two, one reads readers.
    assert sorted(weight for _, weight in found.structure[0]) == [0.5, 0.5, 0.5**0.5]
    assert len(found.structure[1]) == 3


def test_a_tiny_graph_has_the_fingerprint_that_it_always_had():
    """If this fails, fingerprints on disk are worth nothing: raise FINGERPRINT_VERSION."""
    assert FINGERPRINT_VERSION == 1
    found = fingerprint(TINY)
    assert found.family == "15121c2b662a3f04"
    assert [f"{label:016x}" for label, _ in found.rounds[0]] == [
        "37ab9f63fcfe31eb",
        "7d04177a880a2a3e",
        "8fc5e2dd62399f2a",
        "db9c9823b12fb4b3",
    ]
    assert [f"{label:016x}" for label, _ in found.rounds[ROUNDS]] == [
        "3c3144c49df0a661",
        "76521ebd51007277",
        "b79049f4032733c4",
    ]
    assert [f"{label:016x}" for label, _ in found.structure[ROUNDS]] == [
        "d90cef446a3606b5",
        "e34bb69e3ef169ce",
        "f9864434fdb97596",
    ]


def test_numbers_in_prefixes_do_not_count():
    assert canonical("x12-sum-3") == "x#-sum-#"
    assert prefix_label("x1") == prefix_label("x22") != prefix_label("y1")
    assert prefix_label("\udc80")  # no text that could be written, but a key all the same


@given(acyclic())
def test_plain_python_counts_the_same(tasks: list[DagTask]):
    dag = build(*tasks)
    found = fingerprint(dag)
    for histograms, counts in zip((found.rounds, found.structure), plain_counts(dag), strict=True):
        for weights, kept in zip(histograms, counts, strict=True):
            shares = sorted((weight**2 for _, weight in weights), reverse=True)
            assert shares == pytest.approx([count / sum(kept) for count in kept])


@given(acyclic(), st.randoms(use_true_random=False))
def test_order_and_keys_do_not_count(tasks: list[DagTask], rng: random.Random):
    names = {task.key: f"{number}" for number, task in enumerate(tasks)}
    renamed = [
        replace(task, key=names[task.key], dependencies=[names[each] for each in task.dependencies])
        for task in tasks
    ]
    rng.shuffle(renamed)
    assert fingerprint(build(*renamed)) == fingerprint(build(*tasks))


@given(acyclic(), st.data())
def test_batches_come_to_the_same_as_the_whole(tasks: list[DagTask], data: st.DataObject):
    dag = build(*tasks)
    ordered = list(dag.tasks())
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ordered)), max_size=4)))
    batches = [
        data.draw(st.permutations(ordered[start:stop]))
        for start, stop in zip([0, *cuts], [*cuts, len(ordered)], strict=True)
    ]
    assert added(*batches) == fingerprint(dag)


def test_a_dag_of_thousands_comes_to_the_same_bit_by_bit():
    dag = product(12)
    tasks = list(dag.tasks())
    assert len(tasks) > 1024  # more than room is made for at first
    assert added(tasks[:700], tasks[700:]) == added(reversed(tasks)) == fingerprint(dag)


def test_tasks_that_are_there_and_unknown_dependencies_are_passed_over():
    fingerprinter = Fingerprinter()
    fingerprinter.add([("a", "x", ["unknown"], False), ("a", "y", [], False)])
    fingerprinter.add([("unknown", "y", [], False), ("a", "y", ["unknown"], False)])
    alone = build(a_task("a", prefix="x"), a_task("b", prefix="y"))
    assert fingerprinter.fingerprint == fingerprint(alone)
    assert len(fingerprinter) == 2


def test_dependencies_of_given_tasks_are_passed_over():
    fingerprinter = Fingerprinter()
    fingerprinter.add([("a", "x", [], False), ("b", "y", ["a"], True), ("c", "z", ["b"], False)])
    assert fingerprinter.fingerprint.edges == 1
    assert fingerprinter.fingerprint.depth == 1


def test_tasks_in_a_circle_are_refused_and_leave_nothing():
    fingerprinter = Fingerprinter()
    fingerprinter.add(new(TINY.tasks()))
    with pytest.raises(CircleError):
        fingerprinter.add([("p", "x", ["q"], False), ("q", "x", ["p"], False)])
    assert fingerprinter.fingerprint == fingerprint(TINY)
    fingerprinter.add([("p", "x", [], False)])
    assert fingerprinter.fingerprint.tasks == 5


def test_a_task_that_is_none_is_refused_with_those_around_it():
    fingerprinter = Fingerprinter()
    with pytest.raises(TypeError):
        fingerprinter.add([("a", "x", [], False), ("b", "x", [["unhashable"]], False)])
    assert len(fingerprinter) == 0
    fingerprinter.add(new(TINY.tasks()))
    assert fingerprinter.fingerprint == fingerprint(TINY)


def test_cleared_it_begins_anew():
    fingerprinter = Fingerprinter()
    fingerprinter.add(new(product(3).tasks()))
    fingerprinter.clear()
    assert len(fingerprinter) == 0
    assert fingerprinter.fingerprint == fingerprint(build())
    fingerprinter.add(new(TINY.tasks()))
    assert fingerprinter.fingerprint == fingerprint(TINY)


def test_labels_stay_while_a_graph_grows():
    small, large = (fingerprint(build(*list(product(4).tasks())[:n])) for n in (80, 96))
    for before, after in zip(small.rounds, large.rounds, strict=True):
        assert dict(before).keys() <= dict(after).keys()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (product(8), product(32), 0.97),
        (cholesky(tiles=20, size=64), cholesky(tiles=40, size=64), 0.98),
        (pairs(n=10), pairs(n=40), 1.00),
        (cholesky(tiles=20, size=64), lu(tiles=20, size=64), 0.20),
        (product(8), cholesky(tiles=20, size=64), 0.00),
    ],
    ids=["product", "cholesky", "pairs", "cholesky and lu", "product and cholesky"],
)
def test_similarity_is_near_one_within_a_family_and_near_nought_across(
    one: Dag, other: Dag, expected: float
):
    a, b = fingerprint(one), fingerprint(other)
    assert similarity(a, b) == similarity(b, a) == pytest.approx(expected, abs=0.02)
    assert (a.family == b.family) is (expected > 0.9)


def test_the_structure_is_the_same_under_other_names():
    dag = cholesky(tiles=10, size=64)
    named = replace(dag, prefixes=tuple(f"other-{name}" for name in dag.prefixes))
    a, b = fingerprint(dag), fingerprint(named)
    assert similarity(a, b) == 0
    assert structural_similarity(a, b) == pytest.approx(1)
    assert a.family != b.family


def test_given_and_made_data_are_one_family():
    made, there = (fingerprint(gemm(tiles=4, size=8, given=given)) for given in (False, True))
    assert made.family == there.family
    assert made.rounds[1:] == there.rounds[1:]
    assert made.tasks == there.tasks + 32


def test_programs_without_dependencies_are_told_apart_by_their_prefixes():
    one, same, other = (
        fingerprint(build(*(a_task(f"{i}", prefix=prefix) for i in range(n))))
        for n, prefix in ((3, "x"), (5, "x"), (3, "y"))
    )
    assert similarity(one, same) == 1
    assert similarity(one, other) == 0
    assert one.family == same.family != other.family


def test_without_tasks_it_is_like_none():
    nothing = fingerprint(build())
    assert similarity(nothing, nothing) == similarity(nothing, fingerprint(TINY)) == 0
    assert nothing.width_over_depth == 0
    assert Fingerprint.from_json(nothing.to_json()) == nothing


def test_only_the_heaviest_labels_are_kept():
    words = [f"p{'q' * i}" for i in range(2 * LABELS_KEPT)]
    tasks = [a_task(word, prefix=word) for word in words]
    found = fingerprint(build(*tasks, a_task("again", prefix=words[-1])))
    assert len(found.rounds[0]) == LABELS_KEPT
    assert prefix_label(words[-1]) in dict(found.rounds[0])
    assert similarity(found, found) == pytest.approx(1)


def test_the_prototype_is_nearer_to_small_and_large_than_these_to_each_other():
    several = [fingerprint(product(tiles)) for tiles in (4, 8, 20)]
    prototype = merged(several)
    assert prototype == merged(several[::-1])
    assert prototype.family == several[0].family
    assert prototype.tasks == several[1].tasks
    worst = min(similarity(prototype, each) for each in several)
    assert worst > similarity(several[0], several[-1])
    for weights in (*prototype.rounds, *prototype.structure):
        assert sum(weight**2 for _, weight in weights) == pytest.approx(1)


def test_a_prototype_takes_one_fingerprint_at_least():
    with pytest.raises(ValueError, match="no fingerprints to merge; give one"):
        merged([])


@given(acyclic())
def test_json_brings_it_back(tasks: list[DagTask]):
    found = fingerprint(build(*tasks))
    assert Fingerprint.from_json(json.loads(json.dumps(found.to_json()))) == found


def _hash_seed(seed: str) -> str:
    program = (
        "import json; from dask_mlsched.benchmarks.families.factorizations import cholesky; "
        "from dask_mlsched.learning.fingerprint import fingerprint; "
        "print(json.dumps(fingerprint(cholesky(tiles=6, size=64)).to_json()))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_it_is_the_same_in_any_process():
    expected = fingerprint(cholesky(tiles=6, size=64)).to_json()
    assert json.loads(_hash_seed("1")) == json.loads(_hash_seed("2")) == expected


def test_arrays_that_cannot_be_written_serve(tmp_path: Any):
    dag = product(3)
    for field in ("starts", "sources", "prefix", "given"):
        getattr(dag, field).setflags(write=False)
    assert fingerprint(dag) == fingerprint(product(3))
