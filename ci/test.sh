#!/usr/bin/env bash
# The tests, in environments that are made on the first run.
#   ci/test.sh               the fast tier, for every day
#   ci/test.sh --all         everything: style, types, all tests, on each supported version of Dask
#   ci/test.sh ARGUMENT...   pytest with these arguments
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

failures=()

# The tests that start no cluster, need nothing but this machine, and take moments.
fast='not slow and not integration and not dask_cuda and not gpu'

# step NAME COMMAND...: go on after a failure, so that one run shows all of them.
step() {
    local name=$1 started=$SECONDS
    shift
    echo "== $name"
    # A subshell of its own, with errexit: inside `if` or `||` bash would ignore it.
    set +e
    (
        set -e
        "$@"
    )
    local status=$?
    set -e
    if ((status)); then
        failures+=("$name")
        echo "== $name: FAILED (exit status $status) after $((SECONDS - started)) s" >&2
    fi
}

# pytest, and an error if no test passed: all skipped is not a success.
run_pytest() {
    local log status=0
    log=$(mktemp)
    "$@" --quiet </dev/null 2>&1 | tee "$log" || status=$?
    if ((status == 5)); then
        echo "error: pytest found no test; is a marker misspelt?" >&2
    elif ((!status)) && ! grep -qE '^=* ?([0-9]+ [a-z]+, )*[0-9]+ passed' "$log"; then
        echo "error: every test was skipped; the reasons are above" >&2
        status=1
    fi
    rm -f "$log"
    return "$status"
}

with_coverage() {
    local status=0
    use_environment newest
    rm -f .coverage .coverage.*
    run_pytest "$python" -m coverage run --rcfile ci/coverage_of_many.toml -m pytest -n auto --dist worksteal \
        -m "$fast" || status=$?
    run_pytest "$python" -m coverage run --parallel-mode -m pytest \
        -m '(slow or integration) and not dask_cuda and not gpu' || status=$?
    "$python" -m coverage combine --quiet
    "$python" -m coverage report
    return "$status"
}

on_oldest() {
    use_environment 2026.3.0
    run_pytest "$python" -m pytest -m integration
}

# dask-cuda's store on a machine without a GPU: these let its worker start there.
on_dask_cuda() {
    use_environment dask-cuda
    export DASK_CUDA_TEST_DISABLE_DEVICE_SPECIFIC=1 DASK_CUDA_TEST_SINGLE_GPU=1 CUDA_VISIBLE_DEVICES=0
    run_pytest "$python" -m pytest -m 'integration or dask_cuda'
}

case "${1:-}" in
--all)
    if (($# > 1)); then
        echo "error: --all takes no further argument, got: ${*:2}" >&2
        exit 2
    fi
    # Without these some tests would be skipped; here that is a failure.
    step "Debian packages" ci/packages.sh
    export MLSCHED_SKIP_NOTHING=1
    step "style" ci/lint.sh
    step "types" ci/types.sh
    step "documentation" ci/docs.sh
    step "all tests, newest Dask, with coverage" with_coverage
    step "integration tests, Dask 2026.3.0" on_oldest
    step "integration tests, Dask 2026.7.1 with dask-cuda" on_dask_cuda
    if ((${#failures[@]})); then
        printf 'FAILED: %s\n' "${failures[@]}" >&2
        exit 1
    fi
    ;;
"")
    use_environment newest
    # On all processors: nothing in this tier starts a cluster or looks at a clock.
    run_pytest "$python" -m pytest -n auto --dist worksteal -m "$fast"
    ;;
*)
    use_environment newest
    exec "$python" -m pytest "$@"
    ;;
esac
