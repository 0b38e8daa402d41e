#!/usr/bin/env bash
# Style: ruff's rules and format (pyproject.toml says which and why), and shellcheck for the scripts.
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment newest
status=0
"$python" -m ruff check --quiet . || status=1
"$python" -m ruff format --quiet --diff . || status=1
"$(dirname "$python")/shellcheck" .ci/run ci/*.sh || status=1
if ((status)); then
    echo "error: see above; 'ruff check --fix .' and 'ruff format .' in .venv/newest mend most of it" >&2
fi
exit "$status"
