#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the contract suite against the postgres door, with a server that is started for it. Its tables' rows are numbered from 1.

usage: on_postgres.py TEST_DOORS
"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from case import Skip  # noqa: E402
from postgres import Postgres  # noqa: E402

ROWS = 3000

try:
    server = Postgres()
except Skip as skip:
    print(f"SKIP: {skip}")
    sys.exit(77)
try:
    server.psql("CREATE TABLE stamped (n int PRIMARY KEY, at timestamptz, pad text); CREATE INDEX ON stamped (at)")
    server.psql("CREATE TABLE plain (n int, pad text)")
    for first in range(1, ROWS, 500): # several transactions; some rows without a watermark
        rows = f"generate_series({first}, {first + 499}) n"
        server.psql(f"INSERT INTO stamped SELECT n, CASE WHEN n % 10 > 0 THEN '2026-01-01'::timestamptz + n * interval '1 s' END, repeat('x', 300) FROM {rows}")
        server.psql(f"INSERT INTO plain SELECT n, repeat('y', 300) FROM {rows}")
    env = {**os.environ, "MRT_POSTGRES": server.url, "MRT_POSTGRES_ROWS": str(ROWS)}
    sys.exit(subprocess.run([sys.argv[1], "postgres"], env=env).returncode)
finally:
    server.stop()
