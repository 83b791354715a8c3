#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what bench/ runs and builds with on Debian 12: the peers, strace, and the libraries of the bench's own programs.
# Starts no service. Needs root. Go, Java and Maven come from Debian only where there are none yet. Kafka Connect is jars, in build/bench-tools.
set -eu
packages="build-essential cmake ninja-build pkg-config libuv1-dev libssl-dev librdkafka-dev libzstd-dev node-llhttp nginx-light redis-server webdis kcat strace zstd python3"
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

connect=4.1.1 # the newest that has connect-file beside it
tools=$(cd "$(dirname "$0")/../.." && pwd)/build/bench-tools
jars=$tools/connect-$connect
if [ ! -e "$jars/installed" ]; then
    mkdir -p "$tools"
    cat >"$jars.pom" <<END
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace.bench</groupId>
  <artifactId>connect</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-runtime</artifactId><version>$connect</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>connect-file</artifactId><version>$connect</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
END
    rm -rf "$jars"
    mvn -B -q -f "$jars.pom" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$jars" </dev/null
    touch "$jars/installed"
fi
