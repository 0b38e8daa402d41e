#!/usr/bin/env bash
# The measurements on a GPU, on a machine that has one and no network: ci/bench_gpu.sh [options; --help lists them]
# With --quick: tiny, on emulated devices, on any machine. ci/GPU.md says how to prepare it.
case " $* " in
*" --quick "* | *" --help "* | *" -h "* | *" --list "* | *" --page-only "*)
    # shellcheck source=environment.sh
    source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
    use_environment newest
    ;;
*)
    # shellcheck source=gpu_environment.sh
    source "$(dirname "${BASH_SOURCE[0]}")/gpu_environment.sh"
    use_gpu_environment
    ;;
esac
exec "$python" ci/bench_gpu.py "$@"
