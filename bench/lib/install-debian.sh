#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what bench/ runs and builds with on Debian 12: the peers, strace, and the libraries of the bench's own programs.
# Starts no service. Needs root. Go comes from Debian only if there is no `go` yet.
set -eu
packages="build-essential cmake ninja-build pkg-config libuv1-dev libssl-dev node-llhttp nginx-light redis-server webdis strace zstd python3"
if command -v nginx >/dev/null; then packages=$(echo "$packages" | sed 's/ nginx-light//'); fi
command -v go >/dev/null || packages="$packages golang-go"

# Debian starts a service after installing it, unless policy-rc.d says no. Ours is taken away again at the end.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -q
# shellcheck disable=SC2086 # a list of names
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
