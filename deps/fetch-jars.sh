#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fetch-jars.sh FOLDER GROUP:ARTIFACT:VERSION...: these jars, and all that they need to run, by Maven. The folder is made anew and is there whole or not at all;
# what it holds is written down in FOLDER/installed: where that names the same already, nothing is done.
set -eu
[ $# -ge 2 ] || {
    echo "usage: deps/fetch-jars.sh FOLDER GROUP:ARTIFACT:VERSION..." >&2
    exit 2
}
folder=$1
shift
[ "$(cat "$folder/installed" 2>/dev/null)" != "$*" ] || exit 0
echo "fetching: $*"
rm -rf "$folder.new"
mkdir -p "$folder.new"
{
    echo "<project><modelVersion>4.0.0</modelVersion><groupId>millrace</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging><dependencies>"
    for jar in "$@"; do
        echo "$jar" | sed -E 's|^(.+):(.+):(.+)$|<dependency><groupId>\1</groupId><artifactId>\2</artifactId><version>\3</version></dependency>|'
    done
    echo "</dependencies></project>"
} >"$folder.pom"
mvn -B -q -f "$folder.pom" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$folder.new" >"$folder.log" 2>&1 </dev/null || {
    echo "fetch-jars.sh: Maven failed, see $folder.log" >&2
    exit 1
}
printf '%s' "$*" >"$folder.new/installed"
rm -rf "$folder"
mv "$folder.new" "$folder"
