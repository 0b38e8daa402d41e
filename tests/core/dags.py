"""Whole DAGs for tests: made by hand or drawn, and compared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from dask_mlsched.core.dag import Dag, DagTask


def a_task(key: str, *dependencies: str, **fields: object) -> DagTask:
    task = DagTask(key, dependencies, nbytes=8, seconds=0.5, prefix="p")
    return replace(task, **fields)  # type: ignore[arg-type]  # each of its field's type


def build(*tasks: DagTask) -> Dag:
    return Dag.build("a graph", tasks)


@st.composite
def acyclic(draw: st.DrawFn) -> list[DagTask]:
    """Tasks that read earlier ones, some of them twice, in any order."""
    tasks = []
    keys = draw(st.lists(st.text(max_size=5), max_size=20, unique=True))
    for i, key in enumerate(keys):
        sources = draw(st.lists(st.sampled_from(keys[:i]), max_size=5)) if i else []
        is_given = not sources and draw(st.booleans())
        tasks.append(
            DagTask(
                key,
                sources,
                draw(st.integers(0, 2**63 - 1)),
                0.0 if is_given else draw(st.floats(0, allow_infinity=False)),
                draw(st.sampled_from("pqr")),
                draw(st.sampled_from([None, True, False])),
                is_given,
            )
        )
    return draw(st.permutations(tasks))


def assert_same(one: Dag, other: Dag) -> None:
    assert (one.name, one.keys, one.prefixes) == (other.name, other.keys, other.prefixes)
    for field in ("prefix", "starts", "sources", "reader_starts", "readers"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    for field in ("nbytes", "seconds", "wanted", "given"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
        assert getattr(one, field).dtype == getattr(other, field).dtype
