#!/usr/bin/env bash
# Install what is needed and run the main job: ci/demo.sh [options of `dask mlsched demo`]
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment newest
exec "$(dirname "$python")/dask" mlsched demo "$@"
