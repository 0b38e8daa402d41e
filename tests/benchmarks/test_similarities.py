"""Each family at two sizes, and all against all."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from rich.console import Console

from dask_mlsched.benchmarks import similarities
from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.benchmarks.similarities import SIZES, as_json, measure, tables
from dask_mlsched.benchmarks.workloads import WORKLOADS
from dask_mlsched.learning.fingerprint import similarity

FAMILIES = ("gemm", "block-sparse", "cholesky", "lu", "2d", "2d-sparse")

#: Families whose key depends on the size: there is a reduction of more levels, or Dask fuses one
#: chain more.
OTHER_KEYS = {"array-qr", "array-svd", "array-tensordot", "block-sparse-tree"}

#: Families of the same tasks that read the same, of which one is at another density or order, or
#: does what the other does and more.
RELATED = (
    {"gemm", "block-sparse"},
    {"gemm-tree", "block-sparse-tree"},
    {"2d", "2d-shuffled", "2d-sparse"},
    {"matvec", "gallery-matvec"},
    {"array-qr", "array-svd"},
)


def test_every_workload_has_two_sizes():
    assert SIZES.keys() == WORKLOADS.keys()


def test_the_diagonal_is_small_against_large_and_the_rest_large_against_large():
    told: list[str] = []
    found = measure(("gemm", "2d"), told.append)
    assert told == ["gemm", "2d"]
    assert found.matrix(similarity) == [
        [similarity(found.small[0], found.large[0]), similarity(found.large[0], found.large[1])],
        [similarity(found.large[1], found.large[0]), similarity(found.small[1], found.large[1])],
    ]
    assert all(
        small.tasks < large.tasks for small, large in zip(found.small, found.large, strict=True)
    )


def test_tables_have_a_row_for_each_family():
    console = Console(record=True, width=110)
    for table in tables(measure(FAMILIES)):
        console.print(table)
    text = console.export_text()
    assert "640 / 34,816" in text
    assert "block-sparse 0.78" in text
    assert "2d-sparse 1.00" in text
    assert "4 lu " in text


def test_json_has_all_figures():
    found = as_json(measure(("cholesky", "lu")))
    first: dict[str, Any] = found["families"][0]
    assert first["name"] == "cholesky"
    assert first["small"]["parameters"] == {"tiles": 20}
    assert first["small"]["key"] == first["large"]["key"]
    assert first["large"]["tasks"] == 11_480
    assert found["similarity"][0][1] == found["similarity"][1][0] < 0.3
    assert found["structural_similarity"][0][0] > 0.9
    assert found["left_out"] == []


def test_families_whose_packages_are_not_installed_are_left_out():
    missing = mock.Mock(side_effect=MissingDependencyError("no pyamg"))
    with mock.patch.object(similarities, "find", return_value=mock.Mock(dag=missing)):
        found = measure(("gallery",))
    assert found.left_out == ("gallery",)
    assert found.families == ()


def test_an_unknown_family_is_a_mistake():
    with pytest.raises(ValueError, match="unknown workload 'nope'"):
        measure(("nope",))


@pytest.mark.slow
def test_a_program_is_like_itself_at_other_sizes_and_like_no_other():
    found = measure()
    alike = found.matrix(similarity)
    for i, one in enumerate(found.families):
        assert alike[i][i] >= (0.65 if one == "tensordot" else 0.9), one
        keys_differ = found.small[i].family != found.large[i].family
        assert keys_differ is (one in OTHER_KEYS), one
        for j, other in enumerate(found.families[:i]):
            related = any({one, other} <= families for families in RELATED)
            assert (alike[i][j] >= similarities.NEAR) is related, (one, other)
