#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""DuckDB reads the zone by the documented glob: partitions as columns, numbers as they were, one row an event.

env MILLRACE_DUCKDB_PYTHON: a Python that has the package duckdb (deps/ says how to install it); exit 77 without.
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from deliver import accepted, event  # noqa: E402
from server import landed, running, webhook  # noqa: E402

PYTHON = os.environ.get("MILLRACE_DUCKDB_PYTHON") or sys.executable
QUERY = """
import sys, duckdb
rows = duckdb.sql(f'''
    SELECT source, stream, ingest_date, data.id AS id, data.amount AS amount
    FROM read_json('{sys.argv[1]}/source=*/stream=*/ingest_date=*/*.ndjson*', hive_partitioning = true)
    ORDER BY id''').fetchall()
for row in rows:
    print(*row, sep="|")
"""


def available():
    return subprocess.run([PYTHON, "-c", "import duckdb"], capture_output=True).returncode == 0


def test_duckdb_reads_each_compression():
    for kind in ("zstd", "gzip", "none"):
        with running({"github": webhook()}, zone={"compression": kind, "roll": {"age": "1s"}}) as server:
            for n in range(3):
                accepted(server, event(f"e{n}", amount=n + 0.5))
            day = landed(server)[0].date
            done = subprocess.run([PYTHON, "-c", QUERY, server.zone], capture_output=True, text=True)
        case.equal(done.returncode, 0, done.stderr)
        case.equal(done.stdout.split("\n")[:3], [f"github|github|{day}|e{n}|{n + 0.5}" for n in range(3)], kind)


if __name__ == "__main__":
    if not available():
        sys.exit(case.skipped(f"{PYTHON} has no package duckdb"))
    case.main(globals())
