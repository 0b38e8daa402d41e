#!/usr/bin/env bash
# Fill ci/wheels with what a machine with a GPU and no network needs beside its own Python packages:
#   ci/gpu_wheels.sh [PYTHON-VERSION]     of that machine; default 3.12
# Run it where pip has its package index, and take the folder along with the repository.
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

version=${1:-3.12}
limit=$((64 * 1024 * 1024))
if (($# > 1)) || [[ ! $version =~ ^3\.[0-9]+$ ]]; then
    echo "error: got '$*'; expected the other machine's version of Python, such as 3.12" >&2
    exit 2
fi
# pip takes wheels for exactly the platforms that it is told.
platforms=()
for glibc in 17 24 26 27 28 31 34 35; do
    platforms+=(--platform "manylinux_2_${glibc}_x86_64")
done
platforms+=(--platform manylinux2014_x86_64 --platform manylinux2010_x86_64)

rm -rf ci/wheels
mkdir -p ci/wheels
base=$(find_python)
"$base" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --implementation cp --python-version "$version" "${platforms[@]}" \
    --dest ci/wheels --requirement ci/gpu-requirements.txt
size=$(du --bytes --summarize ci/wheels | cut --fields 1)
if ((size > limit)); then
    echo "error: ci/wheels has $size bytes, and $limit may travel; take something out of ci/gpu-requirements.txt" >&2
    exit 1
fi
echo "ci/wheels: $(find ci/wheels -name '*.whl' | wc --lines) wheels for Python $version, $((size / 1000000)) MB"
