"""Graphs for tests: drawn as ASCII, or made by a formula."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Bytes of an array when nothing else is said.
NBYTES = 10


@dataclass
class Drawn:
    """A graph: key -> dependencies, in the order in which Dask would like to run them."""

    dependencies: dict[str, list[str]] = field(default_factory=dict)
    #: key -> bytes, where the drawing says so.
    nbytes: dict[str, int] = field(default_factory=dict)


def draw(text: str) -> Drawn:
    """Read a graph such as `a:20 b -> c -> d`: everything left of an arrow feeds what is right.

    One chain of arrows a line; a key's order is that of its first mention; `:20` is its size.
    """
    drawn = Drawn()
    for line in text.splitlines():
        inputs: list[str] = []
        for part in line.split("->"):
            outputs = [_name(word, drawn) for word in part.split()]
            for output in outputs:
                known = drawn.dependencies[output]
                known += [name for name in inputs if name not in known]
            inputs = outputs
    return drawn


def _name(word: str, drawn: Drawn) -> str:
    name, _, nbytes = word.partition(":")
    drawn.dependencies.setdefault(name, [])
    if nbytes:
        drawn.nbytes[name] = int(nbytes)
    return name


def in_order(dependencies: Mapping[str, Iterable[str]]) -> list[str]:
    """Sort keys so that dependencies come first; otherwise in the order in which they stand.

    Keys that are mentioned as dependencies only are known from an earlier graph, and left out.
    """
    done: dict[str, None] = {}

    def visit(key: str) -> None:
        if key in dependencies and key not in done:
            for dep in dependencies[key]:
                visit(dep)
            done[key] = None

    for key in dependencies:
        visit(key)
    return list(done)


def gemm(size: int) -> Drawn:
    """Draw a product of `size` by `size` blocks, each block of C summed up in a chain."""
    drawn = Drawn()
    blocks = range(size)
    for i in blocks:
        for j in blocks:
            for k in blocks:
                for name in (f"a-{i}-{k}", f"b-{k}-{j}"):
                    drawn.dependencies.setdefault(name, [])
                before = [f"c-{i}-{j}-{k - 1}"] if k else []
                drawn.dependencies[f"c-{i}-{j}-{k}"] = [f"a-{i}-{k}", f"b-{k}-{j}", *before]
    drawn.nbytes = {key: 16 if key[0] == "c" else 8 for key in drawn.dependencies}
    return drawn


def wavefront(size: int) -> Drawn:
    """Draw a square in which each cell needs its upper and its left neighbour."""
    drawn = Drawn()
    for i in range(size):
        for j in range(size):
            above = [f"w-{i - 1}-{j}"] if i else []
            left = [f"w-{i}-{j - 1}"] if j else []
            drawn.dependencies[f"w-{i}-{j}"] = above + left
    return drawn


def tree(leaves: int) -> Drawn:
    """Draw a sum of `leaves` arrays by pairs."""
    drawn = Drawn()
    names = [f"leaf-{i}" for i in range(leaves)]
    drawn.dependencies.update((name, []) for name in names)
    level = 0
    while len(names) > 1:
        pairs = [names[i : i + 2] for i in range(0, len(names), 2)]
        names = [f"sum-{level}-{i}" for i in range(len(pairs))]
        drawn.dependencies.update(zip(names, pairs, strict=True))
        level += 1
    return drawn


def random_graph(rng: random.Random, tasks: int) -> Drawn:
    """Draw up to three inputs for each task from the ten before it."""
    drawn = Drawn()
    for i in range(tasks):
        before = {max(0, i - 1 - int(rng.random() * 10)) for _ in range(int(rng.random() * 4))}
        drawn.dependencies[f"r-{i}"] = [f"r-{j}" for j in sorted(before - {i})]
        drawn.nbytes[f"r-{i}"] = 1 + int(rng.random() * 30)
    return drawn
