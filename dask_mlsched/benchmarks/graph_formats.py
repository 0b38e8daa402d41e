"""Files with DAGs: load one of any format that is known here, save one as a graph file."""

from __future__ import annotations

import gzip
import io
import os
import reprlib
import uuid
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from dask_mlsched.benchmarks import estee, wfcommons
from dask_mlsched.core import graph_file
from dask_mlsched.core.dag import Dag, InvalidDagError

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"


def load(path: str | os.PathLike[str], graph: str | None = None) -> Dag:
    """Read a DAG from a file: a graph file, a WfCommons trace, or a graph of estee.

    What the file is shows in its content, as does whether it is packed by gzip or zip. A DAG
    that has no name takes the file's.

    Parameters
    ----------
    path
        The file.
    graph
        Which graph of the file, by its name: only estee's data sets have more than one.

    Raises
    ------
    InvalidDagError
        If the file holds no DAG: one line with the file's name and the mistake.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    try:
        dag = _recognised(graph_file.parse_json(_unpacked(path.read_bytes())), graph)
    except InvalidDagError as error:
        msg = f"{path}: {error}"
        raise InvalidDagError(msg) from None
    return dag if dag.name else replace(dag, name=path.name.partition(".")[0])


def save(dag: Dag, path: str | os.PathLike[str]) -> None:
    """Write a graph file, packed if the name ends in `.gz`.

    It is written beside its place and then moved there, so there is never half a file.

    Raises
    ------
    OSError
        If it cannot be written; what was there before is still there.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("xb") as file:
            if path.suffix == ".gz":
                # Without the time and the name of the file: equal DAGs make equal files.
                with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                    _write(dag, cast("BinaryIO", packed))
            else:
                _write(dag, file)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write(dag: Dag, file: BinaryIO) -> None:
    file.writelines(line.encode() for line in graph_file.lines(dag))


def _unpacked(content: bytes) -> bytes:
    try:
        if content.startswith(_GZIP):
            return gzip.decompress(content)
        if content.startswith(_ZIP):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = archive.namelist()
                if len(names) != 1:
                    msg = f"the archive holds {len(names)} files; expected one with a graph"
                    raise InvalidDagError(msg)
                return archive.read(names[0])
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        msg = f"this cannot be unpacked: {error}"
        raise InvalidDagError(msg) from None
    return content


def _recognised(document: Any, graph: str | None) -> Dag:
    if estee.is_data_set(document):
        return estee.from_data_set(document, graph)
    if graph is not None:
        msg = f"there is but one graph in it; leave out the name {graph!r}"
        raise InvalidDagError(msg)
    match document:
        case {"format": _} | {"tasks": _}:
            return graph_file.from_json(document)
        case {"workflow": _}:
            return wfcommons.from_json(document)
        case list():
            return estee.from_json(document)
    msg = (
        f"this is {reprlib.repr(document)}; expected a graph file (an object with format and "
        "tasks), a WfCommons trace (with workflow), or a graph of estee (a list of tasks)"
    )
    raise InvalidDagError(msg)
