#!/usr/bin/env bash
# Build the documentation into out/docs, with warnings as errors, and check every link in it and in the
# other pages of the repository:
#   ci/docs.sh [options of sphinx-build]
# There is no network where this runs, so of links to other sites only the form is checked.
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment newest
"$python" docs/configuration_reference.py --check
"$python" ci/check_links.py
rm -rf out/docs # what a page before this one left behind would be found, and it would not be built
"$python" -m sphinx --builder html --fail-on-warning --keep-going --nitpicky --quiet "$@" docs out/docs
"$python" ci/check_links.py --built out/docs
echo "out/docs/index.html"
