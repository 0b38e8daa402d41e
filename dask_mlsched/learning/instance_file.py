"""An instance as a JSON file: its graph as a graph file has it, its machine, what Dask came to.

No code is in it or run by reading it. Whatever is wrong with a file is found here.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final

import numpy as np

from dask_mlsched.core import graph_file
from dask_mlsched.core.chooser import Settings
from dask_mlsched.core.costs import Costs
from dask_mlsched.core.dag import InvalidDagError
from dask_mlsched.core.machine import Machine
from dask_mlsched.learning.instance import Instance
from dask_mlsched.learning.whole_file import write_whole

FORMAT: Final = "mlsched-instance"
VERSION: Final = 1

#: Bytes of the largest file that is read.
SIZE_LIMIT: Final = 64_000_000

#: What reading a file raises that was not written here.
_ODD: Final = (
    *(AttributeError, KeyError, TypeError, ValueError),
    *(InvalidDagError, OverflowError, RecursionError),
)


class InstanceFileError(ValueError):
    """A file that holds no instance: one line with file, what was found, expected, cure."""


def save(path: Path, instance: Instance) -> None:
    """Write an instance whose DAG stands in Dask's order; the file is there as a whole, or not.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    assert np.array_equal(instance.order, np.arange(len(instance.dag))), "the file has no order"
    document = {
        "format": FORMAT,
        "version": VERSION,
        "name": instance.name,
        "family": instance.family,
        "machine": asdict(instance.machine),
        "settings": asdict(instance.settings),
        "stock_makespan": instance.stock_makespan,
        "stock_bytes": instance.stock_bytes,
        "graph": json.loads(graph_file.to_text(instance.dag)),
    }
    write_whole(path, json.dumps(document).encode())


def load(path: Path) -> Instance:
    """Read an instance.

    Raises
    ------
    InstanceFileError
        If it cannot be read or holds none.
    """
    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise _error(path, "is too large", f"{SIZE_LIMIT} bytes at most")
        document = json.loads(path.read_bytes())
        if (document["format"], document["version"]) != (FORMAT, VERSION):
            found = f"is of {document['format']!r}, version {document['version']!r}"
            raise _error(path, found, f"{FORMAT!r}, version {VERSION}")
        return _instance(document)
    except InstanceFileError:
        raise
    except OSError as error:
        raise _error(path, f"cannot be read ({error.strerror})", "a file") from None
    except _ODD as error:
        found = f"holds no instance ({type(error).__name__}: {error})"
        raise _error(path, found, "one as it was written") from None


def _instance(document: dict[str, Any]) -> Instance:
    dag = graph_file.from_json(document["graph"])
    makespan, moved = float(document["stock_makespan"]), int(document["stock_bytes"])
    if not (0 < makespan < math.inf and moved > 0):
        msg = f"Dask alone took {makespan} s and moved {moved} bytes"
        raise ValueError(msg)
    return Instance(
        name=str(document["name"]),
        family=str(document["family"]),
        dag=dag,
        order=np.arange(len(dag)),
        machine=_machine(document["machine"]),
        settings=_settings(document["settings"]),
        stock_makespan=makespan,
        stock_bytes=moved,
    )


def _machine(values: dict[str, Any]) -> Machine:
    return Machine(**{**values, "costs": Costs.of(values["costs"])})


def _settings(values: dict[str, Any]) -> Settings:
    # A setting that came later has its default in older files, and is unknown in older versions.
    known = {field.name for field in fields(Settings)}
    return Settings(**{name: value for name, value in values.items() if name in known})


def _error(path: Path, found: str, expected: str) -> InstanceFileError:
    msg = f"instance {str(path)!r} {found}; expected {expected}; remove it"
    return InstanceFileError(msg)
