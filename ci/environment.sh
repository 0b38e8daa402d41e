# shellcheck shell=bash
# Sourced by the scripts beside it.  `use_environment NAME` sets $python to the Python of .venv/NAME,
# which environment.py makes first where it is missing or out of date.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The environments are complete in themselves: nothing of the caller's leaks in.
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
export PYTHONNOUSERSITE=1

is_suitable() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    local candidate tried=()
    for candidate in ${PYTHON:-python3 python python3.11 python3.12 python3.13 python3.14}; do
        if is_suitable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
        if command -v "$candidate" >/dev/null; then
            tried+=("$candidate ($("$candidate" --version 2>&1 | head -n 1))")
        fi
    done
    {
        echo "error: Python 3.11 or newer with its venv module is needed; found ${tried[*]:-none}."
        echo "Install it (on Debian: apt-get install python3 python3-venv), or say where it is:"
        echo "    PYTHON=/path/to/python3.11 $0"
    } >&2
    return 1
}

use_environment() {
    local base
    base=$(find_python)
    python=$("$base" ci/environment.py "$1")
    PATH="$(dirname "$python"):$PATH" # for the tools that tests start by name, such as `dask`
    export PATH
}
