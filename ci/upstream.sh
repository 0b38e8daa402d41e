#!/usr/bin/env bash
# distributed's own tests with the plugin in every scheduler, against the same tests without it:
#   ci/upstream.sh CHECKOUT [--forced] [--slow] [FILE...]
# CHECKOUT is a checkout of distributed's repository at a released version; it stays as it is.
# `ci/upstream.sh --help` lists the options. The counts go into ci/UPSTREAM.md.
# shellcheck source=environment.sh
called_from=$PWD
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

checkout=
for argument in "$@"; do
    case "$argument" in
    -*) ;;
    *)
        checkout=$(cd "$called_from" && realpath -m "$argument")
        break
        ;;
    esac
done
# Each release of distributed asks for its own version of dask, which tells the two apart from all others.
version=
if [[ -f "$checkout/pyproject.toml" ]]; then
    version=$(sed -nE 's/^ *"dask *>= *([0-9.]+),.*/\1/p' "$checkout/pyproject.toml" | head -n 1)
fi
case " $* " in
*" --help "* | *" -h "*)
    use_environment newest
    ;;
*)
    if [[ -z "$version" ]]; then
        echo "error: '${checkout:-}' is no checkout of distributed's repository at a release" >&2
        echo "usage: ci/upstream.sh CHECKOUT [--forced] [--slow] [FILE...]" >&2
        exit 2
    fi
    use_environment "upstream-$version"
    ;;
esac
cd "$called_from"
exec "$python" "$OLDPWD/ci/upstream.py" "$@"
