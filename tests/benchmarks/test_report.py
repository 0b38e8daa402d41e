from __future__ import annotations

import copy
import json

import jsonschema
import pytest
from rich.console import Console

from dask_mlsched.benchmarks.comparison import Comparison
from dask_mlsched.benchmarks.report import as_json, table
from dask_mlsched.benchmarks.report_schema import SCHEMA
from fake_runs import a_comparison, an_arm


def text_of(*comparisons: Comparison) -> str:
    console = Console(width=100)
    with console.capture() as capture:
        console.print(table(comparisons))
    return capture.get()


def row(text: str, policy: str) -> str:
    body = text[text.index("──") :]
    return next(line for line in body.splitlines() if policy in line)


def test_a_row_has_everything_that_was_asked_for():
    compared = a_comparison(an_arm("stock", 10.0), an_arm("ours", 6.0), workload="galerkin")
    text = text_of(compared)
    stock, ours = (row(text, policy).split() for policy in ("stock", "ours"))
    assert stock == ["galerkin", "stock", "10.0", "3.0", "4.0", "–", "1.00", "yes"]
    assert ours == ["ours", "6.0", "3.0", "4.0", "5", "0.60", "yes"]


def test_the_spread_is_shown_where_there_is_one():
    arms = [an_arm("stock", 10.0, repeat=n) for n in range(3)]
    arms += [an_arm("ours", seconds, repeat=n) for n, seconds in enumerate([5.0, 6.0, 9.0])]
    assert "0.60 (0.50–0.90)" in row(text_of(a_comparison(*arms)), "ours")


def test_wrong_results_stand_out():
    compared = a_comparison(an_arm("stock"), an_arm("ours", digest="other"))
    assert row(text_of(compared), "ours").split()[-1] == "no"


def test_without_stock_there_is_a_dash_for_the_ratio():
    assert row(text_of(a_comparison(an_arm("ours"))), "ours").split()[-2] == "–"


def test_the_table_fits_a_terminal_of_80_columns():
    arms = [an_arm("stock", 10.0, repeat=n) for n in range(2)]
    arms += [an_arm("greedy-hold", s, repeat=n, bytes_loaded=10**9) for n, s in enumerate([5, 9])]
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table([a_comparison(*arms, workload="block-sparse")]))
    assert "…" not in capture.get()


def test_json_is_what_its_schema_says_also_after_being_written_and_read():
    arms = [an_arm("stock"), an_arm("ours", status={"holds": 2, "decision_seconds": {"p50": 1e-4}})]
    document = json.loads(json.dumps(as_json([a_comparison(*arms)]), allow_nan=False))
    jsonschema.validate(document, SCHEMA)


def test_json_has_every_run_and_the_summaries():
    arms = [an_arm("stock", 2.0), an_arm("ours", 1.0, status={"holds": 2, "decisions": 40})]
    (result,) = as_json([a_comparison(*arms, workload="gemm")])["results"]
    assert result["workload"] == "gemm"
    assert result["memory_ratio"] == 3.0
    assert result["tasks"] == 1
    assert [run["seconds"] for run in result["runs"]] == [2.0, 1.0]
    assert result["runs"][1]["decisions"] == 40
    assert result["summaries"][1]["ratio"] == 0.5
    assert result["results_equal"] is True


def test_json_names_policy_and_store_of_every_run_and_summary():
    compared = a_comparison(an_arm("stock"), an_arm("ours@disk"))
    document = as_json([compared])
    jsonschema.validate(document, SCHEMA)
    (result,) = document["results"]
    for rows in (result["runs"], result["summaries"]):
        names = [(row["policy"], row["store"]) for row in rows]
        assert names == [("stock", "host-file"), ("ours", "disk")]
    assert result["conditions"]["bandwidth"] == 1e7


def test_where_nothing_is_emulated_there_is_no_bandwidth():
    document = as_json([a_comparison(an_arm("stock@disk"))])
    jsonschema.validate(document, SCHEMA)
    conditions = document["results"][0]["conditions"]
    assert (conditions["bandwidth"], conditions["latency"]) == (None, None)
    assert "directory" not in conditions


def test_json_says_what_ran():
    versions = as_json([])["versions"]
    assert {"python", "dask", "distributed", "dask-mlsched"} == set(versions)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda document: document.pop("version"),
        lambda document: document.update(extra=1),
        lambda document: document["results"][0]["runs"][0].update(bytes_loaded=-1),
        lambda document: document["results"][0]["runs"][0].pop("seconds"),
        lambda document: document["results"][0]["summaries"][0].update(ratio="fast"),
    ],
    ids=["no version", "extra", "negative bytes", "no seconds", "text for a ratio"],
)
def test_the_schema_refuses_other_documents(spoil):
    document = copy.deepcopy(as_json([a_comparison(an_arm("stock"))]))
    jsonschema.validate(document, SCHEMA)
    spoil(document)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)
