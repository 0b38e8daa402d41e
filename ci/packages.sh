#!/usr/bin/env bash
# Install the Debian packages that some tests need: Chromium for the dashboard's pages, an SSH server for
# SSHCluster.  Nothing is done where they are there already.
set -euo pipefail

packages=(chromium chromium-driver openssh-client openssh-server)

missing=()
for package in "${packages[@]}"; do
    if [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true) != installed ]]; then
        missing+=("$package")
    fi
done
if ((!${#missing[@]})); then
    exit
fi
as_root=()
if ((EUID)); then
    as_root=(sudo -n)
fi
log=$(mktemp)
if ! {
    "${as_root[@]}" apt-get update &&
        DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
} >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    echo "error: cannot install ${missing[*]}; above are the last lines of $log. As root, run: apt-get install ${missing[*]}" >&2
    exit 1
fi
rm -f "$log"
