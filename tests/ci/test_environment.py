"""The environments of the scripts are made when, and only when, what they contain has changed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

CI = Path(__file__).resolve().parent.parent.parent / "ci"


@pytest.fixture
def environment(tmp_path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("ci_env", CI / "environment.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    module.REPOSITORY = tmp_path
    module.CONSTRAINTS = tmp_path / "constraints.txt"
    module.CONSTRAINTS.write_text("torch==2.13.0\n")
    write_project(tmp_path)
    return module


def write_project(folder: Path, *, dependency: str = "dask", line_length: int = 100) -> None:
    (folder / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['setuptools']\n"
        f"[project]\nname = 'x'\ndependencies = ['{dependency}']\n"
        "[tool.setuptools]\npackages = []\n"
        f"[tool.ruff]\nline-length = {line_length}\n"
    )


def test_a_new_dependency_changes_what_is_installed(environment: ModuleType) -> None:
    before = environment.installed(["-e", "."])
    write_project(environment.REPOSITORY, dependency="numpy")
    assert environment.installed(["-e", "."]) != before


def test_a_new_constraint_changes_what_is_installed(environment: ModuleType) -> None:
    before = environment.installed(["-e", "."])
    environment.CONSTRAINTS.write_text("torch==2.14.0\n")
    assert environment.installed(["-e", "."]) != before


def test_the_settings_of_a_checker_do_not(environment: ModuleType) -> None:
    before = environment.installed(["-e", "."])
    write_project(environment.REPOSITORY, line_length=80)
    assert environment.installed(["-e", "."]) == before


def test_upstream_environments_have_the_version_in_their_name(environment: ModuleType) -> None:
    assert "distributed==2026.7.1" in environment.requirements("upstream-2026.7.1")


def test_an_unknown_environment_is_refused_with_the_known_ones(environment: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"'oldest'; use one of 2026.3.0, dask-cuda, newest"):
        environment.requirements("oldest")
