from __future__ import annotations

import pytest

from dask_mlsched.benchmarks.clusters import STORES
from dask_mlsched.benchmarks.contender import Contender, check_policy, contender


@pytest.mark.parametrize("name", ["stock", "greedy", "greedy-hold"])
def test_policies_that_exist_are_accepted(name):
    assert check_policy(name) == name


def test_a_policy_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(ValueError, match=r"'best'.*greedy-hold") as info:
        check_policy("best")
    assert "\n" not in str(info.value)


def test_a_policy_alone_is_on_the_store_of_the_others():
    assert contender("greedy") == Contender("greedy", "host-file")
    assert contender("greedy", "disk") == Contender("greedy", "disk")


def test_a_policy_may_name_its_store():
    assert contender("stock@disk") == Contender("stock", "disk")
    assert contender("stock@host-file", "disk") == Contender("stock")


@pytest.mark.parametrize("store", STORES)
def test_what_is_written_is_read_again(store):
    assert contender(str(Contender("greedy", store))) == Contender("greedy", store)


@pytest.mark.parametrize("text", ["greedy@", "greedy@tape", "greedy@disk@disk"])
def test_a_store_that_does_not_exist_is_named_with_those_that_do(text):
    with pytest.raises(ValueError, match=r"unknown store '.*'.*host-file, device, disk"):
        contender(text)


def test_a_policy_is_missed_before_a_store():
    with pytest.raises(ValueError, match="'best'"):
        contender("best@disk")
