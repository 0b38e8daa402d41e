"""The layers of the package: who may import what, and what the pure core may not touch."""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "dask_mlsched"
MODULES = sorted(PACKAGE.rglob("*.py"))
CORE = sorted((PACKAGE / "core").rglob("*.py"))

#: For each layer, the layers it may import: cli → benchmarks → extension, learning → core.
MAY_IMPORT = {
    "core": {"core"},
    "config": {"config", "core"},
    "learning": {"learning", "core"},
    "extension": {"extension", "config", "core"},
    "benchmarks": {"benchmarks", "extension", "learning", "config", "core", "__init__"},
    "cli": {"cli", "benchmarks", "extension", "learning", "config", "core", "__init__"},
    "__init__": {"extension", "config", "core"},
}

#: What the standard library offers that is not pure: clocks, files, processes, global randomness.
IMPURE = {
    "asyncio",
    "concurrent",
    "datetime",
    "glob",
    "importlib",
    "io",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "queue",
    "secrets",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
    "warnings",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}
#: Classes that hold their own state; everything else in these modules is global or reads the clock.
PURE_RANDOM = {"Random", "Generator", "SeedSequence", "BitGenerator", "PCG64"}


def layer_of(path: Path) -> str:
    """Return the layer a file belongs to: its folder, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything imported, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_layers(tree: ast.AST) -> set[str]:
    """Return the layers of this package that a module imports."""
    layers = set()
    for name in imported(tree):
        package, _, rest = name.partition(".")
        if package == "dask_mlsched":
            first = rest.partition(".")[0]
            layers.add(first if first in MAY_IMPORT else "__init__")
    return layers


def packages(tree: ast.AST) -> set[str]:
    """Return the names of the packages that a module imports."""
    return {name.partition(".")[0] for name in imported(tree)}


def impurities(tree: ast.AST) -> list[str]:
    """Return what a module does that depends on more than its arguments."""
    found = sorted(packages(tree) & IMPURE)
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                found.append(f"{name}()")
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if name not in PURE_RANDOM:
                found.append(f"random.{name}")
            case ast.Attribute(
                value=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="random"), attr=name
            ) if name not in PURE_RANDOM:
                found.append(f"np.random.{name}")
            case ast.ImportFrom(module="random" | "numpy.random", names=names):
                found += [alias.name for alias in names if alias.name not in PURE_RANDOM]
    return found


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_point_one_way(path: Path) -> None:
    layer = layer_of(path)
    assert layer in MAY_IMPORT, f"{layer} is no layer of DESIGN: give it a place in MAY_IMPORT"
    assert own_layers(parse(path)) <= MAY_IMPORT[layer]


@pytest.mark.parametrize("path", CORE, ids=named)
def test_core_imports_only_the_standard_library_numpy_and_numba(path: Path) -> None:
    allowed = sys.stdlib_module_names | {"numpy", "numba", "dask_mlsched"}
    assert packages(parse(path)) <= allowed


@pytest.mark.parametrize("path", CORE, ids=named)
def test_core_has_no_clock_no_files_and_no_global_randomness(path: Path) -> None:
    assert impurities(parse(path)) == []


@pytest.mark.parametrize(
    "path", [path for path in MODULES if layer_of(path) == "learning"], ids=named
)
def test_learning_knows_nothing_of_dask(path: Path) -> None:
    assert packages(parse(path)).isdisjoint({"dask", "distributed", "zict"})


@pytest.mark.parametrize(
    "path", [path for path in MODULES if layer_of(path) != "learning"], ids=named
)
def test_only_learning_uses_torch(path: Path) -> None:
    assert "torch" not in packages(parse(path))


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_gpu_packages_are_imported_only_when_they_are_needed(path: Path) -> None:
    at_start = ast.Module(
        [node for node in parse(path).body if isinstance(node, ast.Import | ast.ImportFrom)], []
    )
    assert packages(at_start).isdisjoint({"cupy", "cupyx", "dask_cuda", "cudf"})


@pytest.mark.parametrize(
    "path", [path for path in MODULES if layer_of(path) != "config"], ids=named
)
def test_only_config_reads_dasks_configuration(path: Path) -> None:
    assert not re.search(
        r"\bdask\.config\.(get|config)\b|from dask import config|from dask\.config",
        path.read_text(),
    )


SOURCES = sorted(
    path
    for folder in ("dask_mlsched", "tests", "examples", "ci", ".ci", "docs", ".")
    for path in (REPOSITORY / folder).glob("*" if folder == "." else "**/*")
    if path.is_file() and path.suffix in {".py", ".sh", ".md", ".toml", ".yaml", ".txt", ""}
    if path != Path(__file__).resolve() and not path.name.startswith(".coverage")
)
#: Homes, scratch folders and mounted disks of one machine; package indexes by address.
ONE_MACHINE = re.compile(r"(?<![\w.$}])/(work|root|home|tmp|opt|mnt)/\w")
INDEXES = re.compile(r"pypi\.org|pythonhosted|download\.pytorch|conda\.anaconda|index-url")


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_no_file_names_one_machine_or_a_package_index(path: Path) -> None:
    text = path.read_text()
    assert [found.group() for found in ONE_MACHINE.finditer(text)] == []
    assert [found.group() for found in INDEXES.finditer(text)] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import time", ["time"]),
        ("from os import path", ["os"]),
        ("def f():\n    import logging", ["logging"]),
        ("open('x')", ["open()"]),
        ("import random\nrandom.shuffle([])", ["random.shuffle"]),
        ("import random\nr = random.Random(0)", []),
        ("from random import choice", ["choice"]),
        ("import numpy as np\nnp.random.rand(3)", ["np.random.rand"]),
        ("import numpy as np\ndef f(rng: np.random.Generator): rng.random()", []),
        ("import math, heapq\nimport numpy as np", []),
    ],
)
def test_impurities_are_found(source: str, expected: list[str]) -> None:
    assert impurities(ast.parse(source)) == expected


def test_imports_are_found_wherever_they_stand() -> None:
    tree = ast.parse(
        textwrap.dedent("""
            from __future__ import annotations
            import dask_mlsched
            from dask_mlsched.core.graph import Graph
            if TYPE_CHECKING:
                from dask_mlsched import learning
            def late():
                import dask_mlsched.extension.tiers
        """)
    )
    assert own_layers(tree) == {"__init__", "core", "learning", "extension"}
