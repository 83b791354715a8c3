#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""DuckDB reads the zone by the documented glob, in a folder and in a bucket: partitions as columns, numbers as they were, one row an event.

env MILLRACE_DUCKDB_PYTHON: a Python that has the package duckdb (deps/ says how to install it); exit 77 without.
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import case  # noqa: E402
from deliver import accepted, event  # noqa: E402
from s3 import Store  # noqa: E402
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


# As the README says; but the extension is the one of the Python environment, for tests load nothing from the network.
IN_A_BUCKET = """
import glob, os, sys, duckdb, duckdb_extension_httpfs
extension, = glob.glob(os.path.join(os.path.dirname(duckdb_extension_httpfs.__file__), "extensions", "*", "httpfs.duckdb_extension"))
duckdb.sql(f"INSTALL '{extension}'; LOAD httpfs")
host = os.environ["AWS_ENDPOINT_URL_S3"].removeprefix("http://")
duckdb.sql(f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}', "
           f"ENDPOINT '{host}', URL_STYLE 'path', USE_SSL false)")
"""


def available():
    return subprocess.run([PYTHON, "-c", "import duckdb, duckdb_extension_httpfs"], capture_output=True).returncode == 0


def test_duckdb_reads_each_compression():
    for kind in ("zstd", "gzip", "none"):
        with running({"github": webhook()}, zone={"compression": kind, "roll": {"age": "1s"}}) as server:
            for n in range(3):
                accepted(server, event(f"e{n}", amount=n + 0.5))
            day = landed(server)[0].date
            done = subprocess.run([PYTHON, "-c", QUERY, server.zone], capture_output=True, text=True)
        case.equal(done.returncode, 0, done.stderr)
        case.equal(done.stdout.split("\n")[:3], [f"github|github|{day}|e{n}|{n + 0.5}" for n in range(3)], kind)


def test_duckdb_reads_each_compression_from_a_bucket():
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="mr-s3.") as folder:
        store = Store(folder, "zone")
        os.environ.update(store.environment())
        try:
            for kind in ("zstd", "gzip", "none"):
                with running({"github": webhook()}, zone={"compression": kind}) as server:
                    for n in range(3):
                        accepted(server, event(f"e{n}", amount=n + 0.5))
                    day = landed(server)[0].date
                    env = {**os.environ, "HOME": folder}         # where DuckDB keeps extensions
                    done = subprocess.run([PYTHON, "-c", IN_A_BUCKET + QUERY, server.cfg["zone"]["url"]], capture_output=True, text=True, env=env)
                case.equal(done.returncode, 0, done.stderr)
                case.equal(done.stdout.split("\n")[:3], [f"github|github|{day}|e{n}|{n + 0.5}" for n in range(3)], kind)
        finally:
            os.environ.clear()
            os.environ.update(before)
            store.stop()


if __name__ == "__main__":
    if not available():
        sys.exit(case.skipped(f"{PYTHON} lacks the packages duckdb and duckdb-extension-httpfs"))
    case.main(globals())
