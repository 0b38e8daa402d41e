"""Finds the structure of a block product in a graph: which task is (i, j, k).

A product task reads an array A(i, k) and an array B(k, j), and perhaps the sum
C(i, j) so far; nothing says which is which, so rows, columns and steps are told
apart by what shares what:

- arrays that some product reads together belong to the same step k, on the two
  sides of it;
- products whose results are summed, in a chain or a tree, belong to the same
  (i, j);
- two arrays of different steps that have two such sums in common are on the
  same side: a row and a column meet in one sum only.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final, Protocol

from dask_mlsched.core.events import Priority

#: An array with at most so many sums has each pair of them looked at; one with more, neighbours.
_ALL_PAIRS: Final = 24


class Edges(Protocol):
    """A graph as far as its structure goes; a `TaskGraph` is one."""

    @property
    def dependencies(self) -> Sequence[Sequence[int]]:
        """Per task: the tasks whose arrays it reads."""
        ...

    @property
    def dependents(self) -> Sequence[Collection[int]]:
        """Per task: those that read its array."""
        ...

    @property
    def priority(self) -> Sequence[Priority]:
        """Per task: Dask's priority."""
        ...


class NotAProductError(ValueError):
    """A graph that is no block product: one line with the task or array, and what was expected."""


@dataclass(frozen=True, slots=True)
class Products:
    """The structure of a block product. Rows, columns and steps are counted from 0."""

    #: product task -> (i, j, k)
    places: Mapping[int, tuple[int, int, int]]
    #: array -> (i, k); array -> (k, j)
    left: Mapping[int, tuple[int, int]]
    right: Mapping[int, tuple[int, int]]
    #: Tasks that make an array for products, or help to.
    sources: frozenset[int]


class _Sets:
    """Disjoint sets of numbers; each also knows its parity relative to its set's root."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self._parity: dict[int, int] = {}

    def find(self, item: int) -> tuple[int, int]:
        """Return the root, and whether the item is on the other side of it (1) or not (0)."""
        path = []
        parity = 0
        root = item
        while (parent := self._parent.setdefault(root, root)) != root:
            path.append(root)
            root = parent
        for each in reversed(path):
            parity ^= self._parity.get(each, 0)
            self._parent[each], self._parity[each] = root, parity
        return root, self._parity.get(item, 0) if item != root else 0

    def join(self, a: int, b: int, parity: int = 0) -> bool:
        """Put two in one set, on the same side (0) or not (1); False if they are otherwise."""
        root_a, side_a = self.find(a)
        root_b, side_b = self.find(b)
        if root_a == root_b:
            return side_a ^ side_b == parity
        self._parent[root_b] = root_a
        self._parity[root_b] = side_a ^ side_b ^ parity
        return True


def find_products(graph: Edges, tasks: Iterable[int]) -> Products:
    """Find the structure of a block product. Takes a few microseconds a task.

    Parameters
    ----------
    tasks
        The tasks of the graph. Arrays of others that they read are there already.

    Raises
    ------
    NotAProductError
        If there is no product, or if tasks and arrays do not fit one.
    """
    order = _topological(graph, tasks)
    sources, pairs, sums = _kinds(graph, order)
    if not pairs:
        msg = "no task reads two source arrays; expected products of A(i, k) and B(k, j)"
        raise NotAProductError(msg)
    sides = _sides(pairs)
    groups = _groups(pairs, sums, sides)
    _orient(pairs, groups, sides)
    left, right = _left_and_right(pairs, sides)
    return _numbered(graph, sources, left, right, groups)


def _topological(graph: Edges, tasks: Iterable[int]) -> list[int]:
    """Sort tasks so that dependencies stand before their dependents."""
    waits = dict.fromkeys(tasks, 0)
    for task in waits:
        waits[task] = sum(dep in waits for dep in graph.dependencies[task])
    order = [task for task, count in waits.items() if not count]
    for task in order:
        for dependent in graph.dependents[task]:
            if dependent in waits:
                waits[dependent] -= 1
                if not waits[dependent]:
                    order.append(dependent)
    return order


def _kinds(
    graph: Edges, order: Iterable[int]
) -> tuple[set[int], dict[int, tuple[int, int]], dict[int, list[int]]]:
    """Tell source tasks, products (with the two arrays they read) and what sums results."""
    sources: set[int] = set()
    pairs: dict[int, tuple[int, int]] = {}
    sums: dict[int, list[int]] = {}
    for task in order:
        results = [dep for dep in graph.dependencies[task] if dep in pairs or dep in sums]
        inputs = [dep for dep in graph.dependencies[task] if dep not in pairs and dep not in sums]
        if not results and len(inputs) < 2:
            sources.add(task)
        elif len(inputs) == 2 and len(results) < 2:
            pairs[task] = (inputs[0], inputs[1])
            if results:
                sums[task] = results
        elif not inputs:
            sums[task] = results
        else:
            msg = (
                f"task {task} reads {len(inputs)} source arrays and {len(results)} results; "
                "expected products of two arrays with at most one sum"
            )
            raise NotAProductError(msg)
    return sources, pairs, sums


def _sides(pairs: Mapping[int, tuple[int, int]]) -> _Sets:
    """Put the arrays of each step on two sides."""
    sides = _Sets()
    for task, (a, b) in pairs.items():
        if not sides.join(a, b, parity=1):
            msg = (
                f"task {task} multiplies arrays {a} and {b}, which stand on the same side of other "
                "products; expected the left arrays of products to be no right ones"
            )
            raise NotAProductError(msg)
    return sides


def _groups(
    pairs: Mapping[int, tuple[int, int]], sums: Mapping[int, list[int]], sides: _Sets
) -> dict[int, int]:
    """Give each product the number of the sum that it goes into.

    What sums two products of the same step goes on with finished sums, and joins none.
    """
    steps = {task: {sides.find(a)[0]} for task, (a, _) in pairs.items()}
    joined = _Sets()
    for task, results in sums.items():
        roots = {joined.find(each)[0] for each in (*results, task) if each in steps}
        together = [step for root in roots for step in steps[root]]
        if len(together) > len(set(together)):
            continue
        for root in roots:
            joined.join(task, root)
        root = joined.find(task)[0]
        steps[root] = set(together)
        steps.setdefault(task, steps[root])
    return {task: joined.find(task)[0] for task in pairs}


def _orient(pairs: Mapping[int, tuple[int, int]], groups: Mapping[int, int], sides: _Sets) -> None:
    """Say which sides of different steps are the same one."""
    groups_of: dict[int, set[int]] = {}
    for task, arrays in pairs.items():
        for array in arrays:
            groups_of.setdefault(array, set()).add(groups[task])
    seen: dict[tuple[int, int], int] = {}
    for array, several in groups_of.items():
        ordered = sorted(several)
        few = len(ordered) <= _ALL_PAIRS
        for pair in combinations(ordered, 2) if few else pairwise(ordered):
            other = seen.setdefault(pair, array)
            if not sides.join(other, array):
                msg = (
                    f"arrays {other} and {array} are multiplied, and both go into the same two "
                    "sums; expected a row and a column to meet in one sum"
                )
                raise NotAProductError(msg)


def _left_and_right(
    pairs: Mapping[int, tuple[int, int]], sides: _Sets
) -> tuple[dict[int, int], dict[int, int]]:
    """Return task -> left array, and task -> right array.

    What could be either is left if products mostly name it first.
    """
    votes: dict[int, int] = {}
    for a, _ in pairs.values():
        root, side = sides.find(a)
        votes[root] = votes.get(root, 0) + (1 if side == 0 else -1)
    left, right = {}, {}
    for task, (a, b) in pairs.items():
        root, side = sides.find(a)
        first_is_left = (side == 0) == (votes[root] >= 0)
        left[task], right[task] = (a, b) if first_is_left else (b, a)
    return left, right


def _numbered(
    graph: Edges,
    sources: set[int],
    left: Mapping[int, int],
    right: Mapping[int, int],
    groups: Mapping[int, int],
) -> Products:
    """Count rows and columns in the order in which their first products stand, steps by chains."""
    rows, columns, steps = _Sets(), _Sets(), _Sets()
    row_of: dict[int, int] = {}
    column_of: dict[int, int] = {}
    for task, group in groups.items():
        rows.join(row_of.setdefault(left[task], group), group)
        columns.join(column_of.setdefault(right[task], group), group)
        steps.join(left[task], right[task])
    numbers: tuple[dict[int, int], ...] = ({}, {}, {})
    places: dict[int, tuple[int, int, int]] = {}
    for task in sorted(groups, key=lambda each: (graph.priority[each], each)):
        roots = (
            rows.find(groups[task])[0],
            columns.find(groups[task])[0],
            steps.find(left[task])[0],
        )
        i, j, k = (n.setdefault(root, len(n)) for n, root in zip(numbers, roots, strict=True))
        places[task] = (i, j, k)
    turns = _turns(graph, places, len(numbers[2]))
    places = {task: (i, j, turns[k]) for task, (i, j, k) in places.items()}
    lefts = {left[task]: (i, k) for task, (i, _, k) in places.items()}
    rights = {right[task]: (k, j) for task, (_, j, k) in places.items()}
    for arrays, name in ((lefts, "A(i, k)"), (rights, "B(k, j)")):
        if len(set(arrays.values())) < len(arrays):
            msg = f"several arrays would be the same {name}; expected rows that can be told apart"
            raise NotAProductError(msg)
    return Products(places, lefts, rights, frozenset(sources))


def _turns(graph: Edges, places: Mapping[int, tuple[int, int, int]], steps: int) -> Sequence[int]:
    """Put the steps in an order in which chains go through them, as far as that can be."""
    after: list[set[int]] = [set() for _ in range(steps)]
    for task, (_, _, k) in places.items():
        for dep in graph.dependencies[task]:
            if dep in places:
                after[places[dep][2]].add(k)
    waits = [0] * steps
    for each in after:
        for k in each:
            waits[k] += 1
    ready = [k for k in range(steps) if not waits[k]]
    turns: dict[int, int] = {}
    while ready:
        k = heapq.heappop(ready)
        turns[k] = len(turns)
        for later in after[k]:
            waits[later] -= 1
            if not waits[later]:
                heapq.heappush(ready, later)
    # Sums that take the steps in different orders leave some: they keep theirs.
    return [turns.setdefault(k, len(turns)) for k in range(steps)]
