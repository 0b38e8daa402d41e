#!/usr/bin/env bash
# Types: mypy, strict (pyproject.toml says where it is not, and why).
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment newest
exec "$python" -m mypy --no-error-summary "$@"
