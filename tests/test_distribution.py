"""What is built to be installed has all that the package needs, and works alone."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "dask_mlsched"

#: What is made in a checkout, and is no source.
MADE = (".*", "__pycache__", "*.egg-info", "build", "dist", "out", "wheels", "*.training")


def run(*command: Any, cwd: Path) -> str:
    """Run a command without anything of this checkout on its path; return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from it, as a release does."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    shutil.copytree(REPOSITORY, source, ignore=shutil.ignore_patterns(*MADE))
    out = tmp_path_factory.mktemp("built")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=out)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone; its dependencies are those of this environment. Return a Python."""
    place = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=built)
    python = place / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    options = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=built)
    (packages,) = (place / "lib").glob("python*/site-packages")
    # As a plain line of a .pth file: the .pth files that are in there do not count, so neither does
    # an editable installation of this checkout.
    (packages / "environment.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    return python


def sources() -> set[str]:
    """List the package's files, as paths from the repository."""
    return {
        str(path.relative_to(REPOSITORY))
        for path in PACKAGE.rglob("*")
        if path.is_file() and not any(path.match(f"**/{made}") for made in MADE)
        if "__pycache__" not in path.parts and ".training" not in str(path)
    }


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name for name in names if ".dist-info/" not in name} == sources()


def test_the_wheel_says_its_licence_and_has_the_readme(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name.partition(".dist-info/")[2]: name for name in archive.namelist()}
        metadata = archive.read(names["METADATA"]).decode()
    assert "licenses/LICENSE" in names
    assert "License-Expression: BSD-3-Clause" in metadata
    assert (REPOSITORY / "README.md").read_text().strip() in metadata


def test_the_sdist_has_what_tests_pages_and_examples_need(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= sources()
    wanted = ["README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "MANIFEST.in"]
    for folder, pattern in (("tests", "**/*.py"), ("docs", "*.*"), ("examples", "*.py")):
        wanted += [str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / folder).glob(pattern)]
    wanted += ["ci/docs.sh", "ci/environment.py"]
    assert [name for name in wanted if name not in names] == []
    assert [name for name in names if "__pycache__" in name or name.startswith("out/")] == []


def test_what_is_imported_is_what_was_installed(installed: Path, tmp_path: Path) -> None:
    code = "import dask_mlsched; print(dask_mlsched.__file__)"
    assert Path(run(installed, "-c", code, cwd=tmp_path).strip()).is_relative_to(
        installed.parent.parent
    )


def test_settings_and_the_model_are_found(installed: Path, tmp_path: Path) -> None:
    code = (
        "from dask_mlsched.config import Config; "
        "from dask_mlsched.learning.default_model import default_network; "
        "print(Config.read().policy, type(default_network()).__name__)"
    )
    assert run(installed, "-c", code, cwd=tmp_path).split() == ["learned", "Network"]


def test_dask_finds_the_commands(installed: Path, tmp_path: Path) -> None:
    assert "simulate" in run(installed, "-m", "dask", "mlsched", "--help", cwd=tmp_path)


def test_a_graph_is_simulated(installed: Path, tmp_path: Path) -> None:
    options = ("--workload", "cholesky", "--quick", "--memory-ratio", "2", "--policy", "greedy")
    assert "greedy" in run(installed, "-m", "dask", "mlsched", "simulate", *options, cwd=tmp_path)
