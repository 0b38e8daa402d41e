"""The graph file: what is written is read again, and every mistake has one clear line."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from dask.utils import key_split
from hypothesis import given
from hypothesis import strategies as st

from core.dags import acyclic, assert_same, build
from dask_mlsched.core.dag import Dag, DagTask, InvalidDagError
from dask_mlsched.core.graph_file import from_json, lines, parse, prefix_of, to_text

#: The example of the design, made whole.
EXAMPLE = """
{"format": "mlsched-graph", "version": 1, "name": "one product",
 "tasks": [{"key": "C-0-0-1", "prefix": "gemm", "deps": ["A-0-1", "B-1-0", "C-0-0-0"],
            "nbytes": 1048576, "seconds": 0.0012, "wanted": false},
           {"key": "A-0-1", "deps": [], "nbytes": 10, "seconds": 0, "given": true},
           {"key": "B-1-0", "deps": [], "nbytes": 20, "seconds": 0.5, "wanted": true},
           {"key": "C-0-0-0", "deps": [], "nbytes": 30, "seconds": 1, "made by": "hand"}]}
"""


def a_document(*tasks: Any, **fields: Any) -> dict[str, Any]:
    return {"format": "mlsched-graph", "version": 1, "tasks": list(tasks), **fields}


def fields_of(key: str = "b", **others: Any) -> dict[str, Any]:
    return {"key": key, "deps": [], "nbytes": 1, "seconds": 0.5, **others}


def without(field: str) -> dict[str, Any]:
    task = fields_of()
    del task[field]
    return task


def test_the_example_is_read_as_it_is_meant():
    dag = parse(EXAMPLE)
    assert dag.name == "one product"
    assert list(dag.tasks()) == [
        DagTask("A-0-1", (), 10, 0.0, "A", wanted=False, given=True),
        DagTask("B-1-0", (), 20, 0.5, "B", wanted=True),
        DagTask("C-0-0-0", (), 30, 1.0, "C", wanted=False),
        DagTask("C-0-0-1", ("A-0-1", "B-1-0", "C-0-0-0"), 1048576, 0.0012, "gemm", wanted=False),
    ]


def test_what_nobody_reads_is_wanted_where_the_file_does_not_say():
    assert from_json(a_document(fields_of())).wanted.tolist() == [True]
    assert from_json(a_document(fields_of(wanted=False))).wanted.tolist() == [False]


def test_a_field_that_may_be_left_out_may_be_null():
    dag = from_json(a_document(fields_of("x-1", prefix=None, wanted=None, given=None), name=None))
    assert dag.name == ""
    assert list(dag.tasks()) == [DagTask("x-1", (), 1, 0.5, "x", wanted=True)]


def test_bytes_are_read_like_text():
    assert_same(parse(EXAMPLE.encode()), parse(EXAMPLE))
    assert_same(parse(EXAMPLE.encode("utf-8-sig")), parse(EXAMPLE))


@given(acyclic().filter(bool), st.text())
def test_a_dag_that_is_written_is_read_again_exactly(tasks: list[DagTask], name: str):
    dag = Dag.build(name, tasks)
    assert_same(parse(to_text(dag)), dag)


@given(acyclic().filter(bool))
def test_a_file_that_is_read_is_written_again_exactly(tasks: list[DagTask]):
    text = to_text(build(*tasks))
    assert to_text(parse(text)) == text


def test_every_task_is_a_line_with_the_fields_of_the_design():
    first, *tasks, last = "".join(lines(parse(EXAMPLE))).splitlines()
    assert first == '{"format": "mlsched-graph", "version": 1, "name": "one product", "tasks": ['
    assert tasks[0] == (
        '{"key": "A-0-1", "prefix": "A", "deps": [], "nbytes": 10, "seconds": 0.0, '
        '"wanted": false, "given": true},'
    )
    assert list(json.loads(tasks[-1])) == ["key", "prefix", "deps", "nbytes", "seconds", "wanted"]
    assert last == "]}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "this is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ('{"format": ', "this is not JSON: Expecting value: line 1 column 12 (char 11)"),
        (b"\xff\xfe\xfd", "this is not JSON: 'utf-16-le' codec can't decode"),
        ("[" * 1_000_000, "this is not JSON: maximum recursion depth exceeded"),
        ("[1]", "this is [1]; expected an object with format, version and tasks"),
    ],
    ids=["empty", "cut off", "not a text", "too deep", "a list"],
)
def test_text_that_is_no_graph_file_is_refused(text: str | bytes, message: str):
    with pytest.raises(InvalidDagError, match=f"^{re.escape(message)}[^\n]*$"):
        parse(text)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": "other"}, "format is 'other'; expected 'mlsched-graph'"),
        ({"format": None}, "format is None; expected 'mlsched-graph'"),
        ({"version": 2}, "version is 2; expected 1, or a newer dask_mlsched that reads the other"),
        ({"version": True}, "version is True; expected 1, or a newer dask_mlsched that reads"),
        ({"version": "1"}, "version is '1'; expected 1, or a newer dask_mlsched that reads"),
        ({"name": 5}, "name is 5; expected a text"),
        ({"tasks": None}, "tasks is None; expected a list of at least one task"),
        ({"tasks": {"b": 1}}, "tasks is {'b': 1}; expected a list of at least one task"),
        ({"tasks": []}, "tasks is []; expected a list of at least one task"),
    ],
    ids=repr,
)
def test_what_stands_around_the_tasks_is_checked(fields: dict[str, Any], message: str):
    with pytest.raises(InvalidDagError, match=f"^{re.escape(message)}"):
        from_json(a_document(fields_of()) | fields)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (5, "task number 1 is 5; expected an object with key, deps, nbytes, seconds"),
        ("key", "task number 1 is 'key'; expected an object with key, deps, nbytes, seconds"),
        (without("key"), "task number 1 has no key; expected a text"),
        (without("deps"), "task 'b' has no deps; expected a list of keys, [] for a task that"),
        (without("nbytes"), "task 'b' has no nbytes; expected a whole number, 0 or more"),
        (without("seconds"), "task 'b' has no seconds; expected a finite number, 0 or more"),
        (fields_of(key=5), "task number 1 has key 5; expected a text"),
        (fields_of(key=None), "task number 1 has key None; expected a text"),
        (fields_of(deps="a"), "task 'b' has deps 'a'; expected a list of keys, [] for a task that"),
        (fields_of(deps=None), "task 'b' has deps None; expected a list of keys, [] for a task"),
        (fields_of(deps=["a", 5]), "task 'b' depends on 5; expected a key, which is a text"),
        (fields_of(deps=[["a"]]), "task 'b' depends on ['a']; expected a key, which is a text"),
        (fields_of(prefix=5), "task 'b' has prefix 5; expected a text"),
        (fields_of(wanted=1), "task 'b' has wanted 1; expected true or false"),
        (fields_of(wanted="no"), "task 'b' has wanted 'no'; expected true or false"),
        (fields_of(given=0), "task 'b' has given 0; expected true or false"),
        (fields_of(nbytes=True), "task 'b' has nbytes True; expected a whole number, 0 or more"),
        (fields_of(nbytes=1e6), "task 'b' has nbytes 1000000.0; expected a whole number, 0 or"),
        (fields_of(nbytes="1"), "task 'b' has nbytes '1'; expected a whole number, 0 or more"),
        (fields_of(nbytes=-1), "task 'b' has nbytes -1; expected a whole number, 0 or more"),
        (fields_of(nbytes=2**70), "task 'b' has nbytes 1180591620717411303424; expected less than"),
        (fields_of(seconds=False), "task 'b' has seconds False; expected a finite number, 0 or"),
        (fields_of(seconds=None), "task 'b' has seconds None; expected a finite number, 0 or more"),
        (fields_of(seconds=[1]), "task 'b' has seconds [1]; expected a finite number, 0 or more"),
        (fields_of(seconds=-0.5), "task 'b' has seconds -0.5; expected a finite number, 0 or more"),
        (fields_of(deps=["z"]), "task 'b' depends on 'z', which is not there; add it as a task"),
        (fields_of(deps=["b"]), "task 'b' waits for itself ('b' → 'b'); remove one of these"),
        (fields_of("a"), "task 'a' is there twice; give every task a key of its own"),
        (fields_of(given=True), "task 'b' is given, but has 0 dependencies and 0.5 seconds;"),
    ],
    ids=repr,
)
def test_a_mistake_in_a_task_is_named_with_what_is_expected(task: Any, message: str):
    with pytest.raises(InvalidDagError, match=f"^{re.escape(message)}"):
        from_json(a_document(fields_of("a"), task, fields_of("c")))


@pytest.mark.parametrize(
    ("number", "shown"), [("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf")]
)
def test_numbers_that_json_does_not_have_are_refused(number: str, shown: str):
    text = json.dumps(a_document(fields_of())).replace("0.5", number)
    expected = f"^task 'b' has seconds {shown}; expected a finite number, 0 or more$"
    with pytest.raises(InvalidDagError, match=expected):
        parse(text)


def test_a_message_stays_a_line_however_long_the_value_is():
    with pytest.raises(InvalidDagError) as caught:
        from_json(a_document(fields_of(deps={str(i): list(range(i)) for i in range(1000)})))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("key", "prefix"),
    [
        ("C-0-0-1", "C"),
        ("x", "x"),
        ("('getitem-sum-ae05086432ca935f', 0, 1)", "getitem-sum"),
        ("('x', 1)", "x"),
        ("read-csv-0", "read-csv"),
        ("x-abcdefab", "x"),
        ("ae05086432ca935f6eba409a8ecd4896", "data"),
        ("_(x)", "x"),
        ("", "Other"),
        ("-a", "Other"),
        ("'", "Other"),
    ],
)
def test_a_prefix_is_the_words_before_the_first_number(key: str, prefix: str):
    assert prefix_of(key) == prefix


@given(
    st.text("abfgz019-_,() '\"é", max_size=20) | st.from_regex(r"[a-f0-9]{31,33}", fullmatch=True)
)
def test_a_prefix_is_what_dask_takes_for_it(key: str):
    assert prefix_of(key) == key_split(key)
