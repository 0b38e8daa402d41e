"""Make the virtual environment .venv/NAME, if need be, and print the path of its Python.

The second call returns at once: a stamp in the environment says what was installed. Without a
stamp (an installation that was interrupted) the environment is made anew. A lock lets two calls
run at the same time. Standard library only, for this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CONSTRAINTS = REPOSITORY / "ci" / "constraints.txt"

#: What pip is given for each environment, beside the constraints.
ENVIRONMENTS = {
    "newest": ["--editable", ".[dev]"],
    "2026.3.0": ["--editable", ".[test]", "dask==2026.3.0", "distributed==2026.3.0"],
    "dask-cuda": [
        "--editable",
        ".[test]",
        "dask==2026.7.1",
        "distributed==2026.7.1",
        "dask-cuda[cu13]==26.10.0",
        # Its classes are there without a GPU, its arrays are not.
        "cupy-cuda13x==14.2.*",
    ],
}

#: distributed's own tests skip what these bring when they are missing.
UPSTREAM_TESTS = ["h5py", "lz4", "paramiko", "prometheus_client", "pytest-rerunfailures"]

LOG_LINES = 15


def requirements(name: str) -> list[str]:
    """Return pip's arguments for environment `name`; ``upstream-VERSION`` is for `upstream.sh`."""
    if name.startswith("upstream-"):
        version = name.removeprefix("upstream-")
        dask = [f"dask=={version}", f"distributed=={version}"]
        return ["--editable", ".[test]", *dask, *UPSTREAM_TESTS]
    if name not in ENVIRONMENTS:
        known = ", ".join(sorted(ENVIRONMENTS))
        sys.exit(f"error: no environment is called {name!r}; use one of {known}, upstream-VERSION")
    return ENVIRONMENTS[name]


def installed(pip_arguments: list[str]) -> str:
    """Return a digest of all that decides what an installation contains."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    decisive = [
        pip_arguments,
        CONSTRAINTS.read_text(),
        project["build-system"],
        project["project"],
        project["tool"]["setuptools"],
    ]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def made_by() -> str:
    """Return what ties a virtual environment to this place and this Python."""
    return f"{sys.version} in {REPOSITORY}"


def fail(name: str, log: Path) -> None:
    """Say why the installation failed and what to do, and stop."""
    for line in log.read_text(errors="replace").splitlines()[-LOG_LINES:]:
        print("   ", line, file=sys.stderr)
    sys.exit(
        f"error: making .venv/{name} failed; above are the last lines of {log}.\n"
        "Check the network (pip needs its package index) and the space on the disk,\n"
        "then run the same command again; it starts over by itself."
    )


def make(name: str, *, place: Path, log: Path, anew: bool) -> None:
    """Install environment `name` into `place`, first emptied if `anew`."""
    pip_arguments = requirements(name)
    print(f"making .venv/{name} (a few minutes; pip's output is in {log})", file=sys.stderr)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--no-input"]
    commands = [[*pip, "--constraint", str(CONSTRAINTS), *pip_arguments]]
    if anew:
        shutil.rmtree(place, ignore_errors=True)
        commands.insert(0, [sys.executable, "-m", "venv", str(place)])
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0"}
    with log.open("w") as output:
        for command in commands:
            output.write(f"$ {' '.join(command)}\n")
            output.flush()
            result = subprocess.run(
                command,
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
            if result.returncode != 0:
                fail(name, log)


def main() -> None:
    """Bring the environment named on the command line up to date."""
    if len(sys.argv) != 2:
        sys.exit(f"error: got {len(sys.argv) - 1} arguments; usage: environment.py NAME")
    name = sys.argv[1]
    wanted = json.dumps({"made by": made_by(), "installed": installed(requirements(name))})
    place = REPOSITORY / ".venv" / name
    stamp = place / "stamp.json"
    place.parent.mkdir(exist_ok=True)
    with (place.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            anew = not stamp.exists() or json.loads(stamp.read_text())["made by"] != made_by()
            stamp.unlink(missing_ok=True)
            make(name, place=place, log=place.parent / f"{name}.log", anew=anew)
            partial = stamp.with_suffix(".partial")
            partial.write_text(wanted)
            partial.replace(stamp)
    print(place / "bin" / "python")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command will go on from here")
