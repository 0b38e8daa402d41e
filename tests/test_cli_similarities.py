"""The command `similarities`, as users and programs call it."""

from __future__ import annotations

import json
from unittest import mock

from click.testing import CliRunner

from dask_mlsched.benchmarks import similarities as measured
from dask_mlsched.benchmarks.optional import MissingDependencyError
from dask_mlsched.cli.similarities import similarities


def test_people_see_tables():
    result = CliRunner().invoke(similarities, ["--families", "2d,lu"])
    assert result.exit_code == 0, result.output
    assert "Fingerprints, small against large" in result.stdout
    assert "1 2d" in result.stdout


def test_programs_get_json():
    result = CliRunner().invoke(similarities, ["--families", "lu", "--json", "-"])
    assert result.exit_code == 0, result.output
    assert [each["name"] for each in json.loads(result.stdout)["families"]] == ["lu"]


def test_all_families_are_shown_unless_some_are_named():
    with mock.patch.object(
        measured, "measure", return_value=measured.Similarities((), (), ())
    ) as m:
        result = CliRunner().invoke(similarities, [])
    assert result.exit_code == 0, result.output
    assert m.call_args.args[0] == tuple(measured.SIZES)


def test_it_says_what_is_left_out():
    missing = mock.Mock(side_effect=MissingDependencyError("no pyamg"))
    with mock.patch.object(measured, "find", return_value=mock.Mock(dag=missing)):
        result = CliRunner().invoke(similarities, ["--families", "gallery"])
    assert "gallery is left out" in result.stdout


def test_mistakes_are_one_line():
    result = CliRunner().invoke(similarities, ["--families", "nope"])
    assert result.exit_code == 2
    assert result.output.startswith("Error: unknown workload 'nope'; expected one of")
    assert result.output.count("\n") == 1
