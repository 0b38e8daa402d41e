"""Edges as arrays: sorted, and turned around."""

from __future__ import annotations

import numpy as np
import pytest

from dask_mlsched.core.topology import CircleError, Integers, row_starts, topological, transposed


def integers(*values: int) -> Integers:
    return np.array(values, np.int64)


def test_what_is_in_order_stays_as_it_is():
    assert topological(integers(0, 1, 0, 2), integers(0, 1, 2)).tolist() == [0, 1, 2, 3]


def test_a_node_moves_to_just_before_the_first_that_needs_it():
    # 1 needs 3, which needs 4.
    assert topological(integers(0, 1, 0, 1, 0), integers(3, 4)).tolist() == [0, 4, 3, 1, 2]


def test_dependencies_come_in_the_order_in_which_they_are_named():
    assert topological(integers(2, 0, 0), integers(2, 1)).tolist() == [2, 1, 0]


def test_a_circle_is_named_without_what_only_leads_to_it():
    # 0 needs 1, 1 needs 2, 2 needs 1.
    with pytest.raises(CircleError, match="2 nodes wait for each other") as caught:
        topological(integers(1, 1, 1), integers(1, 2, 1))
    assert list(caught.value.circle) == [1, 2]


def test_two_ways_to_a_node_are_no_circle():
    # 0 needs 1 and 2, and both need 3.
    assert topological(integers(2, 1, 1, 0), integers(1, 2, 3, 3)).tolist() == [3, 1, 2, 0]


def test_rows_without_edges_begin_where_they_end():
    assert row_starts(integers(1, 1, 3), 5).tolist() == [0, 0, 2, 2, 3, 3]


def test_edges_turned_around_twice_are_as_before():
    starts, sources = integers(0, 0, 1, 3, 5), integers(0, 0, 1, 0, 2)
    reader_starts, readers = transposed(starts, sources)
    assert reader_starts.tolist() == [0, 3, 4, 5, 5]
    assert readers.tolist() == [1, 2, 3, 2, 3]
    back_starts, back = transposed(reader_starts, readers)
    assert back_starts.tolist() == starts.tolist()
    assert back.tolist() == sources.tolist()


def test_no_nodes_have_no_edges():
    nothing = integers()
    assert topological(nothing, nothing).tolist() == []
    starts, readers = transposed(integers(0), nothing)
    assert (starts.tolist(), readers.tolist()) == ([0], [])
