# shellcheck shell=bash
# Sourced by the scripts for a machine with a GPU and no network. Makes .venv/gpu of the machine's own
# packages (CuPy, PyTorch, …) and of the wheels that ci/gpu_wheels.sh has put into ci/wheels, and sets
# $python to its Python. PYTHON says which Python has CuPy; default python3.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

use_gpu_environment() {
    local base=${PYTHON:-python3} place=.venv/gpu wheels=ci/wheels stamp wanted
    if ! "$base" -c 'import cupy' 2>/dev/null; then
        echo "error: $base has no CuPy; install it there, or name a Python that has it: PYTHON=... $0" >&2
        return 1
    fi
    if ! "$base" -c 'import cupy; cupy.cuda.runtime.getDeviceCount() or exit(1)' 2>/dev/null; then
        echo "error: no NVIDIA GPU can be used here; run it on a machine with one" >&2
        return 1
    fi
    if ! compgen -G "$wheels/*.whl" >/dev/null; then
        echo "error: $wheels has no wheels; run ci/gpu_wheels.sh where there is a network, and bring the folder" >&2
        return 1
    fi
    stamp=$place/wheels
    wanted=$(
        "$base" --version
        ls "$wheels"
        pwd
    )
    if [[ ! -e $stamp || $(<"$stamp") != "$wanted" ]]; then
        make_gpu_environment "$base" "$place" "$wheels"
        printf '%s\n' "$wanted" >"$stamp"
    fi
    # shellcheck disable=SC2034 # for the scripts that source this
    python=$PWD/$place/bin/python
}

make_gpu_environment() {
    local base=$1 place=$2 wheels=$3
    rm -rf "$place"
    "$base" -m venv --system-site-packages --without-pip "$place"
    # Where Python is itself an environment, `--system-site-packages` means those of what that was made from.
    "$place/bin/python" - "$("$base" -c 'import site; print(*site.getsitepackages(), sep="\n")')" <<'PYTHON'
import pathlib, site, sys
(pathlib.Path(site.getsitepackages()[0]) / "machine.pth").write_text(sys.argv[1] + "\n")
PYTHON
    "$base" -m pip --python "$place/bin/python" install --quiet --disable-pip-version-check --no-index \
        --no-deps "$wheels"/*.whl
    "$base" -m pip --python "$place/bin/python" install --quiet --disable-pip-version-check --no-index \
        --no-deps --no-build-isolation --editable .
    "$place/bin/python" -c 'import cupy, torch, numba.cuda, dask_cuda, dask_mlsched'
}
