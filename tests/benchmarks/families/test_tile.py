from __future__ import annotations

import pytest

from dask_mlsched.benchmarks.families.tile import (
    SquareTile,
    check_positive,
    check_share,
    operand,
    task,
)


def test_a_tile_is_made_of_doubles_and_cubes_of_its_size_take_time():
    tile = SquareTile(size=10, flop_rate=500.0)
    assert tile.nbytes == 800
    assert tile.seconds(2) == 4.0


def test_a_task_has_the_prefix_that_dask_gives_its_key():
    made = SquareTile(10).task("trsm_row-0-1", ["getrf-0"], 1, tiles=2.5)
    assert (made.prefix, made.nbytes, made.dependencies) == ("trsm_row", 2000, ("getrf-0",))
    assert task("dot1-0-1-2", (), 8, 0.5, wanted=True).prefix == "dot1"


@pytest.mark.parametrize("given", [True, False])
def test_an_operand_takes_no_time_given_or_made(given):
    made = operand("A-0-1", 64, given=given)
    assert (made.given, made.seconds, made.dependencies, made.prefix) == (given, 0.0, (), "A")


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_numbers_that_are_not_above_0_are_named(value):
    with pytest.raises(ValueError, match=rf"size is {value}; expected a number above 0"):
        check_positive(tiles=1, size=value)
    with pytest.raises(ValueError, match="flop_rate is"):
        SquareTile(1, flop_rate=value)


@pytest.mark.parametrize("value", [0, 1.01, float("nan")])
def test_shares_outside_their_range_are_named(value):
    with pytest.raises(ValueError, match=rf"fill is {value}; expected a share"):
        check_share(density=1.0, fill=value)
