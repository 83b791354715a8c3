#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install-debian.sh [build|test]: Debian 12's packages to build millrace, or also to test it; the second adds a Python
# environment in build/venv. What is there already is not touched: a second run does nothing. deps/README.md says why each.
set -eu

build="gcc libc6-dev cmake ninja-build pkg-config libuv1-dev node-llhttp libyaml-dev libsqlite3-dev libzstd-dev zlib1g-dev libssl-dev libmbedtls-dev libcurl4-openssl-dev libexpat1-dev zstd"
test="$build clang-14 libclang-rt-14-dev libcmocka-dev libjansson-dev curl openssl python3 python3-venv sqlite3 strace faketime e2fsprogs mount nghttp2-client haproxy"
python="duckdb==1.5.6"

usage() {
    echo "usage: deps/install-debian.sh [build|test]" >&2
    exit 2
}

[ $# -le 1 ] || usage
kind=${1:-build}
case $kind in
build) packages=$build ;;
test) packages=$test ;;
*) usage ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)

# JSONTestSuite's cases come by npm. Any npm will do; Debian's own is large, so it is only taken where there is none.
if [ "$kind" = test ] && ! command -v npm >/dev/null; then
    packages="$packages npm"
fi

missing() {
    for package in $packages; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
    done
}

# retry COMMAND...: mirrors and networks have their moments.
retry() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ "$tries" -lt 4 ] || return 1
        echo "install-debian.sh: again in $((tries * 5)) s: $*" >&2
        sleep $((tries * 5))
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_install() {
    # shellcheck disable=SC2086 # a list of names
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $wanted </dev/null
}

update_and_install() {
    as_root apt-get update -q </dev/null && apt_install
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "install-debian.sh: this is no Debian. Install what these packages hold, then go on: $packages" >&2
    exit 1
fi
wanted=$(missing)
if [ -n "$wanted" ]; then
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        printf 'install-debian.sh: not root, and there is no sudo. Run as root:\n\n    apt-get update && apt-get install -y --no-install-recommends %s\n\n' "$wanted" >&2
        exit 1
    fi
    echo "installing: $wanted"
    apt_install >/dev/null 2>&1 || retry update_and_install # the lists of packages may be absent or old
fi

[ "$kind" = test ] || exit 0
venv=$root/build/venv
if [ "$(cat "$venv/installed" 2>/dev/null)" != "$python" ]; then
    mkdir -p "$root/build"
    rm -rf "$venv"
    /usr/bin/python3 -m venv "$venv"
    # shellcheck disable=SC2086 # a list of names
    retry "$venv/bin/pip" install -q --disable-pip-version-check --only-binary :all: $python </dev/null
    printf '%s' "$python" >"$venv/installed"
fi
