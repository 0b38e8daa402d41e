from __future__ import annotations

import numpy as np
import pytest

from dask_mlsched.benchmarks.families.stencils import stencil


def inputs(dag, key: str) -> set[str]:
    return {dag.keys[dep] for dep in dag.dependencies(dag.keys.index(key)).tolist()}


def test_each_step_has_a_task_for_each_tile():
    dag = stencil(rows=3, columns=4, steps=5, size=8)
    assert int(dag.given.sum()) == 12
    assert int((~dag.given).sum()) == 60
    last = {key for key, w in zip(dag.keys, dag.wanted, strict=True) if w}
    assert last == {f"sweep-5-{i}-{j}" for i in range(3) for j in range(4)}


def test_five_points_are_the_tile_and_those_with_a_common_edge():
    dag = stencil(rows=3, columns=3, steps=2, size=8)
    assert inputs(dag, "sweep-1-1-1") == {"U-1-1", "U-0-1", "U-2-1", "U-1-0", "U-1-2"}
    assert inputs(dag, "sweep-2-0-0") == {"sweep-1-0-0", "sweep-1-0-1", "sweep-1-1-0"}


def test_nine_points_are_those_with_a_common_corner_as_well():
    dag = stencil(rows=3, columns=3, steps=1, size=8, points=9)
    assert inputs(dag, "sweep-1-1-1") == {f"U-{i}-{j}" for i in range(3) for j in range(3)}
    assert len(inputs(dag, "sweep-1-0-1")) == 6


@pytest.mark.parametrize(("points", "readers"), [(5, 5), (9, 9)])
def test_on_a_periodic_grid_all_tiles_have_as_many_readers(points, readers):
    dag = stencil(rows=3, columns=4, steps=1, size=8, points=points, periodic=True)
    counts = [len(dag.dependents(task)) for task in np.flatnonzero(dag.given).tolist()]
    assert counts == [readers] * 12


def test_a_periodic_grid_of_one_tile_reads_itself_once():
    dag = stencil(rows=1, columns=1, steps=1, size=8, periodic=True)
    assert inputs(dag, "sweep-1-0-0") == {"U-0-0"}


def test_bytes_and_seconds_are_those_of_the_points():
    dag = stencil(rows=2, columns=2, steps=3, size=10, flops_per_point=7.0, flop_rate=100.0)
    assert set(dag.nbytes.tolist()) == {800}
    assert dag.seconds[~dag.given].tolist() == pytest.approx([7.0] * 12)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"points": 7}, "points is 7; expected 5 or 9"), ({"steps": 0}, "s")],
)
def test_other_stencils_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        stencil(**{"rows": 2, "columns": 2, "steps": 1, "size": 4, **parameters})
