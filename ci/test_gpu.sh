#!/usr/bin/env bash
# The tests that need a GPU, on a machine that has one and no network: ci/test_gpu.sh [pytest's arguments]
# ci/GPU.md says how to prepare it.
# shellcheck source=gpu_environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/gpu_environment.sh"
use_gpu_environment
# Not of all folders: others import what only the tests without a GPU need.
exec "$python" -m pytest tests/gpu tests/extension/test_cupy_classes.py "$@"
