#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what bench/ runs and builds with on Debian 12: the peers, strace, and the libraries of the bench's own programs.
# Starts no service. Needs root. Go, Java and Maven come from Debian only where there are none yet. Kafka Connect is jars, and what pulls tables is Python's packages,
# in build/bench-tools. The servers of Kafka and Postgres are the tests': deps/install-debian.sh test.
set -eu
packages="build-essential cmake ninja-build pkg-config libuv1-dev libssl-dev librdkafka-dev libzstd-dev libpq-dev node-llhttp nginx-light redis-server webdis kcat strace zstd python3 python3-venv postgresql-client"
if command -v nginx >/dev/null; then packages=$(echo "$packages" | sed 's/ nginx-light//'); fi
command -v go >/dev/null || packages="$packages golang-go"
command -v java >/dev/null || packages="$packages default-jre-headless"
command -v mvn >/dev/null || packages="$packages maven"

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

root=$(cd "$(dirname "$0")/../.." && pwd)
tools=$root/build/bench-tools
connect=4.1.1 # the newest that has connect-file beside it
"$root/deps/fetch-jars.sh" "$tools/connect-$connect" \
    "org.apache.kafka:connect-runtime:$connect" "org.apache.kafka:connect-file:$connect" org.slf4j:slf4j-simple:1.7.36

# venv NAME PACKAGES...: a Python environment of its own, since their requirements do not go together.
venv() {
    where=$tools/$1
    shift
    [ "$(cat "$where/installed" 2>/dev/null)" != "$*" ] || return 0
    rm -rf "$where"
    /usr/bin/python3 -m venv "$where" &&
        "$where/bin/pip" install -q --disable-pip-version-check --only-binary :all: "$@" </dev/null &&
        printf '%s' "$*" >"$where/installed"
}

venv pg-dlt 'dlt[sql-database,parquet]==1.31.0' connectorx==0.4.6 pyarrow==26.0.1 sqlalchemy==2.0.51 psycopg2-binary==2.9.13
venv pg-tap meltanolabs-tap-postgres==0.10.0 singer-sdk==0.54.9 sqlalchemy==2.0.51 psycopg2-binary==2.9.12
# These two are single programs, for some machines only. The package sling would download one when it is first called; this one brings it.
venv pg-ingestr ingestr==0.15.9 || echo "install-debian.sh: no ingestr, bench/postgres.py leaves it out" >&2
if venv pg-sling sling-linux-amd64==1.4.11; then
    ln -sf "$(find "$tools/pg-sling/lib" -name sling-linux-amd64 -type f)" "$tools/pg-sling/sling"
else
    echo "install-debian.sh: no Sling, bench/postgres.py leaves it out" >&2
fi
