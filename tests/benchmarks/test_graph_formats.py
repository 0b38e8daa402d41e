"""Files with DAGs: recognised by their content, written whole or not at all."""

from __future__ import annotations

import gzip
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from core.dags import a_task, assert_same, build
from dask_mlsched.benchmarks import graph_formats
from dask_mlsched.benchmarks.graph_formats import load, save
from dask_mlsched.core.dag import Dag, InvalidDagError
from dask_mlsched.core.graph_file import to_text

DAG = build(a_task("a"), a_task("b", "a"), a_task("c", "a", "b"))
ESTEE = [{"d": 1, "e_d": 1, "cpus": 1, "outputs": [{"s": 1, "e_s": 1}], "inputs": []}]
WFCOMMONS = {"name": "a trace", "workflow": {"jobs": [{"name": "t_ID1", "runtime": 2}]}}
DATA_SET = {
    "graph_name": {"0": "fork", "1": "merge"},
    "graph_id": {"0": "x", "1": "y"},
    "graph": {"0": json.dumps(ESTEE), "1": json.dumps(ESTEE * 2)},
}


def zipped(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()


def written(path: Path, content: Any) -> Path:
    if not isinstance(content, bytes):
        content = (content if isinstance(content, str) else json.dumps(content)).encode()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "keys", "name"),
    [
        (to_text(DAG), ("a", "b", "c"), "a graph"),
        (WFCOMMONS, ("t_ID1",), "a trace"),
        (ESTEE, ("task-0",), "file"),
    ],
    ids=["graph file", "WfCommons", "estee"],
)
@pytest.mark.parametrize("pack", [None, gzip.compress, lambda text: zipped(inside=text)])
def test_a_file_is_recognised_by_its_content(
    tmp_path: Path, content: Any, keys: tuple[str, ...], name: str, pack: Any
):
    text = content if isinstance(content, str) else json.dumps(content)
    # The name says nothing of what is in it.
    path = written(tmp_path / "file.xyz.zz", pack(text.encode()) if pack else text)
    dag = load(path)
    assert dag.keys == keys
    assert dag.name == name


def test_one_graph_of_a_data_set_is_loaded_by_its_name(tmp_path: Path):
    path = written(tmp_path / "set.zip", zipped(inside=json.dumps(DATA_SET)))
    assert len(load(path, "merge")) == 2
    with pytest.raises(InvalidDagError, match=r"set\.zip: there are 2 graphs; choose one by its"):
        load(path)


def test_a_name_for_the_only_graph_is_refused(tmp_path: Path):
    path = written(tmp_path / "g.json", ESTEE)
    with pytest.raises(InvalidDagError, match=r"there is but one graph in it; leave out .*'fork'"):
        load(path, "fork")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "this is not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("5", "this is 5; expected a graph file (an object with format and tasks), a WfCommons"),
        ({}, "this is {}; expected a graph file (an object with format and tasks), a WfCommons"),
        ({"format": "x"}, "format is 'x'; expected 'mlsched-graph'"),
        ({"tasks": []}, "format is None; expected 'mlsched-graph'"),
        ([], "the graph is []; expected a list of at least one task"),
        ({"workflow": 5}, "the trace has workflow 5; expected an object"),
        (gzip.compress(b"[]"), "the graph is []; expected a list of at least one task"),
        (
            gzip.compress(b"[]")[:-3],
            "this cannot be unpacked: Compressed file ended before the end",
        ),
        (b"\x1f\x8bnonsense", "this cannot be unpacked: "),
        (gzip.compress(b"[]")[:10] + b"\xff" * 9, "this cannot be unpacked: Error -3 while decomp"),
        (b"PK\x03\x04nonsense", "this cannot be unpacked: File is not a zip file"),
        (zipped(a="1", b="2"), "the archive holds 2 files; expected one with a graph"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_a_mistake_is_reported_with_the_file_s_name(tmp_path: Path, content: Any, message: str):
    path = written(tmp_path / "some.json", content)
    with pytest.raises(InvalidDagError, match=f"^{re.escape(f'{path}: {message}')}[^\n]*$"):
        load(path)


def test_a_file_that_is_not_there_is_the_system_s_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.json"):
        load(tmp_path / "nothing.json")


@pytest.mark.parametrize("name", ["g.json", "g.json.gz"])
def test_what_is_saved_is_loaded(tmp_path: Path, name: str):
    save(DAG, tmp_path / name)
    assert_same(load(tmp_path / name), DAG)
    assert_same(load(str(tmp_path / name)), DAG)


def test_only_files_that_end_in_gz_are_packed_and_equal_dags_make_equal_ones(tmp_path: Path):
    for name in ("g.json", "g.json.gz", "other.gz"):
        save(DAG, tmp_path / name)
    packed = (tmp_path / "g.json.gz").read_bytes()
    assert (tmp_path / "g.json").read_text() == to_text(DAG)
    assert gzip.decompress(packed).decode() == to_text(DAG)
    assert (tmp_path / "other.gz").read_bytes() == packed


def test_a_file_takes_the_place_of_an_older_one_and_nothing_is_left_beside_it(tmp_path: Path):
    path = written(tmp_path / "g.json", "older")
    save(DAG, path)
    assert path.read_text() == to_text(DAG)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["g.json", "g.json.gz"])
def test_a_file_that_cannot_be_written_whole_leaves_what_was_there(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    def broken(dag: Dag):
        yield "{"
        raise OSError(28, "No space left on device")

    path = written(tmp_path / name, "older")
    monkeypatch.setattr(graph_formats.graph_file, "lines", broken)
    with pytest.raises(OSError, match="No space left"):
        save(DAG, path)
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_saving_to_a_folder_that_is_not_there_is_the_system_s_error(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        save(DAG, tmp_path / "nowhere" / "g.json")
