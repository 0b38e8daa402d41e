#!/usr/bin/env bash
# The tests that need a GPU, on a machine that has one and no network: ci/test_gpu.sh [pytest's arguments]
# ci/GPU.md says how to prepare it.
# shellcheck source=gpu_environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/gpu_environment.sh"
use_gpu_environment
exec "$python" -m pytest -m gpu "$@"
